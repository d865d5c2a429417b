"""Run a complete program on its real standard descriptors, as ``python main.py`` would, in a warm interpreter.

The end of a program is that of CPython (``Py_FinalizeEx``), step by step:

1. Errors of a first flush are ignored; an exception is printed.
2. Threads are awaited, then exit hooks run.
3. Whatever ``sys.stdout`` and ``sys.stderr`` now are is flushed. If that fails, the exit status is 120.
4. The original streams return. The program's objects are destroyed while the globals that their finalisers use are
   still complete. Files that were never closed are flushed on that occasion.

Not covered: the modules of the warm interpreter stay, so an object that one of them holds may be destroyed after the
globals; daemon threads run on until the process ends.
"""

from __future__ import annotations

import _thread
import atexit
import builtins
import contextlib
import gc
import os
import sys
import threading
import types
from _weakref import ref
from collections.abc import Callable
from typing import Any, NoReturn

from evaluator.inside import kernel

MAIN_FILE = "main.py"
FRAMES_ADDED = 2  # run_candidate, run_program, run_main_module, but not prepare_run
MAX_RECURSION_LIMIT = (1 << 31) - 1
FLUSH_FAILED = 120  # exit status of an interpreter that cannot flush its standard files

# A program may delete or replace builtins. CPython takes a function's builtins from its module's ``__builtins__`` when
# the function is created, so everything defined below keeps this copy.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]
WITHOUT_FINALISERS = frozenset({dict, list, tuple, set, types.CellType, types.FunctionType, types.ModuleType})
USED_BY_FINALISERS = (int, float, str, bytes, type(None), types.FunctionType, types.ModuleType, type)

_flush_c_streams = kernel.PreparedCall("fflush", 0)
_own_excepthook = sys.excepthook
_output_buffer = sys.stdout.buffer


def prepare_program(code: types.CodeType) -> Callable[[], NoReturn]:
    """Do in the template what needs to be done only once. Returns the function that runs the program after a fork."""
    # Until the program starts, there will be FRAMES_ADDED more frames than now, and exec() counts as one more level.
    hide_frames(count_frames() + FRAMES_ADDED + 1)
    sys.argv[:] = [MAIN_FILE]
    names = {
        "__annotations__": {},
        "__builtins__": builtins,
        "__file__": os.path.join(os.getcwd(), MAIN_FILE),
        "__cached__": None,
    }

    def run_program() -> NoReturn:
        finish_process(run_main_module(code, names))  # no frame may hold the module when its objects are destroyed

    return run_program


def write_main_file(source: bytes) -> None:
    """Write the program to its ``__file__``, which the processes of multiprocessing's method ``spawn`` import.

    Other programs find an empty working directory, and cost no file.
    """
    with contextlib.suppress(OSError), open(MAIN_FILE, "wb") as file:  # if it is too large, spawn fails
        file.write(source)


def run_main_module(code: types.CodeType, names: dict[str, Any]) -> int:
    """Run ``code`` in a new main module with ``names``, report its exception, and return the exit status."""
    # Created after the fork, because the collector does not collect what is created before.
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    namespace = main.__dict__
    del main
    namespace.update(names)
    try:
        try:
            # A call with * is never specialised. A specialised one would not count as a level of recursion.
            exec(*(code, namespace))
        finally:
            flush_quietly(sys.__dict__.get("stderr"))
            flush_quietly(sys.__dict__.get("stdout"))
    except BaseException as error:  # noqa: BLE001 - any failure of the program
        return report_exception(error)
    return 0


def hide_frames(count: int) -> None:
    """Let recursion limits not count the ``count`` frames below the main module, which a new process does not have."""
    set_limit = sys.setrecursionlimit
    get_limit = sys.getrecursionlimit

    def setrecursionlimit(limit: int, /) -> None:
        set_limit(limit + count if 0 < limit <= MAX_RECURSION_LIMIT - count else limit)

    def getrecursionlimit() -> int:
        limit = get_limit()
        return limit - count if limit <= MAX_RECURSION_LIMIT - count else limit

    setrecursionlimit(get_limit())
    sys.setrecursionlimit = setrecursionlimit
    sys.getrecursionlimit = getrecursionlimit


def count_frames() -> int:
    """Return the number of frames on the stack, without those of this function and its caller."""
    frame = sys._getframe(1).f_back
    count = 0
    while frame is not None:
        frame = frame.f_back
        count += 1
    return count


def report_exception(error: BaseException) -> int:
    """Print an exception by ``sys.excepthook``, and return the exit status."""
    if isinstance(error, SystemExit):
        return resolve_exit_status(error)
    traceback = error.__traceback__ and error.__traceback__.tb_next  # without the frame of this module
    try:
        sys.excepthook(type(error), error, traceback)
    except SystemExit as hook_error:
        return resolve_exit_status(hook_error)
    except BaseException:  # noqa: BLE001 - the hook may be the program's
        with contextlib.suppress(BaseException):
            _own_excepthook(*sys.exc_info())
            _own_excepthook(type(error), error, traceback)
    return 1


def resolve_exit_status(error: SystemExit) -> int:
    """Return the interpreter's exit status for a SystemExit.

    None is 0, an int is itself (255 if it is beyond 64 bits), and anything else is printed to stderr and is 1.
    """
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF if -(1 << 63) <= error.code < 1 << 63 else 0xFF
    if sys.__dict__.get("stderr") is not None:
        with contextlib.suppress(BaseException):
            print(error.code, file=sys.stderr)
    return 1


def finish_process(status: int) -> NoReturn:
    """End the process as the interpreter would, see the module's docstring."""
    if _thread._count():
        try:
            threading._shutdown()  # type: ignore[attr-defined]
        except BaseException:  # noqa: BLE001 - raised by a signal handler of the program
            _own_excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    if not flush_standard_files():
        status = FLUSH_FAILED
    if _thread._count() == 0:  # a daemon thread may use anything
        destroy_objects()
    flush_quietly(sys.__dict__.get("__stdout__"))
    flush_quietly(_output_buffer)  # the program may have detached it
    try:
        _flush_c_streams()  # os._exit does not, but a program may have printed by ctypes
    finally:
        os._exit(status)


def flush_standard_files() -> bool:
    """Flush standard output and error, where they are open. Returns False if that fails."""
    has_succeeded = True
    for name in ("stdout", "stderr"):
        stream = sys.__dict__.get(name)
        if stream is not None and not is_closed(stream):
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001 - the stream may be an object of the program
                has_succeeded = False
    return has_succeeded


def is_closed(stream: object) -> bool:
    """Return True if ``stream.closed`` is true. Without that attribute, or if reading it fails, a stream is open."""
    try:
        return bool(stream.closed)  # type: ignore[attr-defined]
    except BaseException:  # noqa: BLE001 - such as the ValueError of a detached stream
        return False


def flush_quietly(stream: object) -> None:
    """Flush ``stream``, ignoring errors."""
    try:
        stream.flush()  # type: ignore[attr-defined]
    except BaseException:  # noqa: BLE001 - the stream may be an object of the program
        return


def has_finalisers() -> bool:
    """Return True if an object of the program has a finaliser, as files, generators and classes with ``__del__`` do.

    Objects of the warm interpreter are frozen, so the collector does not list them.
    """
    try:
        for kind in set(map(type, gc.get_objects())).difference(WITHOUT_FINALISERS):
            for base in type.mro(kind):
                if "__del__" in base.__dict__:
                    return True
    except BaseException:  # noqa: BLE001 - out of memory, or a metaclass of the program raises
        return True
    return False


def destroy_objects() -> None:
    """Restore the standard files and destroy the program's objects, in the interpreter's order.

    Without a finaliser, none of this has an effect, and the objects are left to the end of the process.
    """
    if not has_finalisers():
        return
    gc.collect()  # also sorts files before the buffers that they flush into
    for name in ("stdin", "stdout", "stderr"):
        sys.__dict__[name] = sys.__dict__.get(f"__{name}__")
    main = sys.modules.pop("__main__", None)
    if not isinstance(main, types.ModuleType):
        return
    main.__dict__["__spec__"] = main  # so the module lives as long as its namespace
    reference = ref(main)
    del main
    gc.collect()
    main = reference()
    if main is not None:
        clear_namespace(main.__dict__)
        gc.collect()


def clear_namespace(namespace: dict[str, object]) -> None:
    """Set the variables in ``namespace`` to None: first those whose values may have finalisers that need the others."""
    names = [name for name in namespace if name != "__builtins__"]
    first = [name for name in names if not isinstance(namespace[name], USED_BY_FINALISERS)]
    for name in [*first, *names]:
        namespace[name] = None
