"""Run a complete program on its real standard descriptors, as ``python main.py`` would, in a warm interpreter."""

from __future__ import annotations

import _thread
import atexit
import builtins
import gc
import os
import sys
import threading
import types
from typing import NoReturn


def create_main_module() -> types.ModuleType:
    """Create an empty ``__main__`` module and install it in ``sys.modules``."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__="main.py")
    sys.modules["__main__"] = main
    sys.argv[:] = ["main.py"]
    return main


def run_program(code: types.CodeType, main: types.ModuleType) -> NoReturn:
    """Run ``code`` in ``main`` and end the process as the interpreter would."""
    status = 0
    try:
        exec(code, main.__dict__)
    except SystemExit as error:
        status = resolve_exit_status(error)
    except BaseException:  # noqa: BLE001 - any failure of the program
        sys.excepthook(*sys.exc_info())
        status = 1
    finish_process(main, status)


def resolve_exit_status(error: SystemExit) -> int:
    """Return the interpreter's exit status for a SystemExit.

    None is 0, an int is itself, and anything else is printed to stderr and is 1.
    """
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def finish_process(main: types.ModuleType, status: int) -> NoReturn:
    """Do the interpreter's last steps (threads, exit hooks, flushes, globals) without tearing down the warm modules."""
    if _thread._count():
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    status = status or flush_standard_files()
    # Restored first, because a stream that the program put here may need its globals, which are cleared below.
    sys.stdout = sys.__stdout__
    sys.stderr = sys.__stderr__
    # Files that the program never closed are flushed when they are collected.
    for name in [name for name in main.__dict__ if name != "__builtins__"]:
        main.__dict__[name] = None
    gc.collect(2 if gc.get_objects(2) else 1)  # a full collection also clears caches, which touches many pages
    status = status or flush_standard_files()
    os._exit(status)


def flush_standard_files() -> int:
    """Flush standard output and error. Returns 0, or the interpreter's exit status 120 if that fails."""
    try:
        for stream in (sys.stdout, sys.__stdout__, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except Exception:  # noqa: BLE001 - the stream may be an object of the program, whose flush may raise anything
        return 120
    return 0
