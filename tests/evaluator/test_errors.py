"""Exception classes of package ``evaluator``: exit statuses, base classes and pickling."""

import importlib
import pickle
import pkgutil
import signal

import pytest

import evaluator
from evaluator import ProblemError, SandboxError
from evaluator.descriptors import DescriptorLimitError
from evaluator.errors import RunFailed, UserError
from evaluator.inside import functional, values
from evaluator.row_files import RowFileError
from evaluator.score.__main__ import StoppedBySignal


class BadNumber(UserError, ValueError):
    pass


class DiskFull(RunFailed, RuntimeError):
    pass


def find_error_classes():
    """Return every exception class that a module of ``evaluator`` defines, by its qualified name."""
    names = [module.name for module in pkgutil.walk_packages(evaluator.__path__, "evaluator.")]
    # Only the modules of evaluator.inside that other processes import as well: at_fork changes its interpreter.
    names = [name for name in names if not name.startswith("evaluator.inside.")]
    classes = {}
    for module in [*map(importlib.import_module, names), functional, values]:
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == module.__name__:
                classes[f"{module.__name__}.{name}"] = value
    return classes


ERROR_CLASSES = find_error_classes()


@pytest.mark.parametrize(
    ("error_class", "status"),
    [
        (UserError, 2),
        (RunFailed, 1),
        (BadNumber, 2),
        (DiskFull, 1),
        (ProblemError, 2),
        (RowFileError, 2),
        (SandboxError, 1),
    ],
)
def test_exit_status_of_error_classes(error_class, status):
    assert error_class("reason").exit_status == status


@pytest.mark.parametrize(
    ("error_class", "bases"),
    [
        (ProblemError, (UserError, ValueError)),
        (RowFileError, (UserError, ValueError)),
        (DescriptorLimitError, (UserError, ValueError)),
        (SandboxError, (RunFailed, RuntimeError)),
    ],
)
def test_errors_can_be_caught_by_their_builtin_base(error_class, bases):
    for base in bases:
        with pytest.raises(base, match="reason"):
            raise error_class("reason")


def test_error_classes_include_the_known_ones():
    known = {UserError, RunFailed, ProblemError, RowFileError, SandboxError, StoppedBySignal}
    assert known <= set(ERROR_CLASSES.values())


@pytest.mark.parametrize("name", ERROR_CLASSES)
def test_pickling_preserves_type_message_and_attributes(name):
    error_class = ERROR_CLASSES[name]
    error = error_class(signal.SIGTERM if error_class is StoppedBySignal else "reason")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class
    assert str(copy) == str(error) == ("SIGTERM" if error_class is StoppedBySignal else "reason")
    assert vars(copy) == vars(error)
