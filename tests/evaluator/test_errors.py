import pickle

import pytest

from evaluator.errors import RunFailed, UserError


class BadNumber(UserError, ValueError):
    pass


class DiskFull(RunFailed, RuntimeError):
    pass


@pytest.mark.parametrize(("kind", "status"), [(UserError, 2), (BadNumber, 2), (RunFailed, 1), (DiskFull, 1)])
def test_exit_status(kind, status):
    assert kind("why").exit_status == status


@pytest.mark.parametrize("builtin", [ValueError, UserError])
def test_callers_may_catch_either_base(builtin):
    with pytest.raises(builtin, match="why"):
        raise BadNumber("why")


@pytest.mark.parametrize("kind", [UserError, BadNumber, RunFailed, DiskFull])
def test_pickling_keeps_type_and_message(kind):
    copy = pickle.loads(pickle.dumps(kind("why")))
    assert type(copy) is kind
    assert str(copy) == "why"
