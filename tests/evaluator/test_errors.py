import importlib
import pickle
import pkgutil
import signal

import pytest

import evaluator
from evaluator import ProblemError, SandboxError
from evaluator.errors import RunFailed, UserError
from evaluator.inside import functional, values
from evaluator.score.__main__ import Stopped
from evaluator.solutions import SolutionsError


class BadNumber(UserError, ValueError):
    pass


class DiskFull(RunFailed, RuntimeError):
    pass


def error_classes():
    """Every exception class that a module of evaluator defines."""
    names = [module.name for module in pkgutil.walk_packages(evaluator.__path__, "evaluator.")]
    # Of evaluator.inside only what other processes import too: its at_fork changes the interpreter that imports it.
    names = [name for name in names if not name.startswith("evaluator.inside.")]
    found = {}
    for module in [*map(importlib.import_module, names), functional, values]:
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == module.__name__:
                found[f"{module.__name__}.{name}"] = value
    return found


ERRORS = error_classes()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (UserError, 2),
        (RunFailed, 1),
        (BadNumber, 2),
        (DiskFull, 1),
        (ProblemError, 2),
        (SolutionsError, 2),
        (SandboxError, 1),
    ],
)
def test_exit_status(kind, status):
    assert kind("why").exit_status == status


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (ProblemError, (UserError, ValueError)),
        (SolutionsError, (UserError, ValueError)),
        (SandboxError, (RunFailed, RuntimeError)),
    ],
)
def test_callers_may_catch_the_builtin_base_too(kind, bases):
    for base in bases:
        with pytest.raises(base, match="why"):
            raise kind("why")


def test_all_error_classes_are_found():
    assert {UserError, RunFailed, ProblemError, SolutionsError, SandboxError, Stopped} <= set(ERRORS.values())


@pytest.mark.parametrize("name", ERRORS)
def test_pickling_keeps_type_message_and_attributes(name):
    kind = ERRORS[name]
    error = kind(signal.SIGTERM if kind is Stopped else "why")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == ("SIGTERM" if kind is Stopped else "why")
    assert vars(copy) == vars(error)
