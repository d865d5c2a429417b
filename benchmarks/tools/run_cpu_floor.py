"""Child process of ``benchmarks.evaluator``: the CPU floor, i.e. the CPU time that the programs themselves use.

Each program has one forked process, in which it is compiled once and run on test after test, with plain files as
standard input and output: no isolation, no limits, no comparison of outputs, no fork per test. Only CPU time of
compiling and running is summed; forking, decoding arguments and opening files are excluded. The request says how many
tests to run: those up to the first failure, in the problem's order. As many programs run at a time as in the
evaluators, so that they share caches and clock speed in the same way.

The request is ``{"workers", "programs": [{"inputs", "func_name", "code", "tests_run"}]}``, the result ``{"cpu_s",
"tests", "unfinished"}``. Unfinished programs died or were killed after a minute; the tests that they completed count.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import resource
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from benchmarks.tools.processes import serve

PROGRAM_TIMEOUT_S = 60.0
RECURSION_LIMIT = 550_000
RESULT_SLOT = struct.Struct("ddd")  # CPU seconds, tests completed, 1.0 when finished

# Imports that functional solutions rely on, as on LeetCode.
PRELUDE = """
import array, bisect, collections, copy, datetime, functools, heapq, itertools, json, math, operator, random, re, string
from string import *
from re import *
from collections import *
from heapq import *
from bisect import *
from math import *
from random import *
from itertools import *
from functools import *
from operator import *
from typing import *
from builtins import *
"""


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], dict[str, float]]]:
    """Import the prelude and freeze the heap for the garbage collector, before the first fork."""
    programs = request["programs"]
    workers = request["workers"]
    prelude: dict[str, Any] = {}
    exec(PRELUDE, prelude)
    import numpy  # noqa: F401 - some programs import it, and the floor does not count imports

    gc.collect()
    gc.freeze()

    def work() -> dict[str, float]:
        slots = mmap.mmap(-1, RESULT_SLOT.size * len(programs))
        worker_pids = [
            fork_worker(programs, range(worker, len(programs), workers), prelude, slots) for worker in range(workers)
        ]
        for pid in worker_pids:
            if os.waitpid(pid, 0)[1] != 0:
                raise RuntimeError("a worker process of the CPU floor failed")
        rows = [RESULT_SLOT.unpack_from(slots, RESULT_SLOT.size * index) for index in range(len(programs))]
        return {
            "cpu_s": sum(cpu for cpu, _, _ in rows),
            "tests": sum(tests for _, tests, _ in rows),
            "unfinished": sum(1 - finished for _, _, finished in rows),
        }

    yield work


def fork_worker(programs: list[dict[str, Any]], indices: range, prelude: dict[str, Any], slots: mmap.mmap) -> int:
    """Fork a worker process that runs some programs one after another, each in a process of its own.

    Args:
        programs: all programs of the request.
        indices: programs that this worker runs.
        prelude: namespace for functional solutions.
        slots: shared memory with one ``RESULT_SLOT`` per program.

    Returns:
        The worker's process id.
    """
    worker_pid = os.fork()
    if worker_pid:
        return worker_pid
    for index in indices:
        pid = os.fork()
        if pid == 0:
            try:
                run_program(programs[index], prelude, slots, RESULT_SLOT.size * index)
            finally:
                os._exit(1)  # after any error: this process must not go on as a second worker
        watch = select.poll()
        handle = os.pidfd_open(pid)
        watch.register(handle, select.POLLIN)
        if not watch.poll(PROGRAM_TIMEOUT_S * 1000):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(handle)
    os._exit(0)


def run_program(program: dict[str, Any], prelude: dict[str, Any], slots: mmap.mmap, offset: int) -> NoReturn:
    """Run a program's tests in this forked process and exit.

    The slot is updated after every test, so that the tests completed by a program that dies count.

    Args:
        program: row of the request.
        prelude: namespace for functional solutions.
        slots: shared memory with one ``RESULT_SLOT`` per program.
        offset: byte offset of this program's slot.
    """
    threading.excepthook = lambda _: None  # printing a thread's traceback would cost CPU that is not the program's
    sys.setrecursionlimit(RECURSION_LIMIT)
    cpu = 0.0
    completed = 0
    clock = time.process_time
    # Local copies, because a program may patch these names.
    exit_process = os._exit
    save = RESULT_SLOT.pack_into
    began = clock()
    try:
        code = compile(program["code"], "main.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        exit_process(1)
    cpu += clock() - began
    if program["func_name"] is None:
        run = make_stdin_runner(code)
    else:
        run = make_function_runner(code, program["func_name"], prelude)
    for text in program["inputs"][: program["tests_run"]]:
        cpu += run(text, clock)
        completed += 1
        save(slots, offset, cpu, completed, 0.0)
    save(slots, offset, cpu, completed, 1.0)
    exit_process(0)


def make_stdin_runner(code: Any) -> Callable[[str, Callable[[], float]], float]:
    """Make a function that runs a whole program with a text as standard input and returns its CPU seconds."""

    def run(text: str, clock: Callable[[], float]) -> float:
        redirect_standard_streams(text)
        names = {"__name__": "__main__", "__builtins__": __builtins__}
        began = clock()
        with contextlib.suppress(BaseException):  # the program's own failure, SystemExit included
            exec(code, names)
        for thread in threading.enumerate():
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join()
        with contextlib.suppress(BaseException):  # it may have closed or replaced its standard output
            sys.stdout.flush()
        return clock() - began

    return run


def redirect_standard_streams(text: str) -> None:
    """Replace standard input by a new file with ``text`` and standard output by an empty one, with their streams."""
    for number, data in ((0, text.encode("utf-8", "surrogateescape")), (1, b"")):
        file = os.memfd_create("floor")
        os.write(file, data)
        os.lseek(file, 0, os.SEEK_SET)
        if file != number:  # they are equal if the program closed that descriptor
            os.dup2(file, number)
            os.close(file)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - the program's
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115


def make_function_runner(
    code: Any, func_name: str, prelude: dict[str, Any]
) -> Callable[[str, Callable[[], float]], float]:
    """Make a function that calls the solution with one JSON argument per line and returns its CPU seconds."""
    names = {**prelude, "__name__": "__main__"}
    redirect_standard_streams("")
    loaded = False

    def run(text: str, clock: Callable[[], float]) -> float:
        nonlocal loaded
        arguments = [json.loads(line) for line in text.split("\n") if line.strip()]
        began = clock()
        with contextlib.suppress(BaseException):  # the program's own failure, SystemExit included
            if not loaded:
                exec(code, names)
                loaded = True
            owner = names.get("Solution")
            (names[func_name] if owner is None else getattr(owner(), func_name))(*arguments)
        return clock() - began

    return run


def main() -> None:
    """Raise the stack limit to the hard limit, for programs that recurse deeply, then serve.

    The main thread's stack only follows a new limit in a new process image, hence the ``execv``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
        os.execv(sys.executable, sys.orig_argv)
    serve(open_session)


if __name__ == "__main__":
    main()
