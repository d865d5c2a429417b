"""The floor: the CPU that programs use by themselves; a child of ``benchmarks.evaluator``.

Each program gets one forked process, compiles once, and runs test after test in it, with plain files as standard input
and output: no isolation, no limits, no comparison, no fork a test. Only the CPU clock around compiling and running is
summed; the fork, the decoding of arguments and the opening of files are not in it. Which tests run is told: those up to
the first failure, in the problem's order. Two programs run at a time, as in the evaluators, so that caches and clock
speed are shared alike.

The request is ``{"workers", "programs": [{"inputs", "func_name", "code", "tests_run"}]}``, the result ``{"cpu_s",
"tests", "unfinished"}``; unfinished programs died, or were ended after a minute, and count with the tests they did.
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

PATIENCE_S = 60.0  # for one program
RECURSION = 550_000
SLOT = struct.Struct("ddd")  # CPU seconds, tests done, 1.0 when finished

# What functional solutions take for granted, as on LeetCode.
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
def session(request: dict[str, Any]) -> Iterator[Callable[[], dict[str, float]]]:
    """The prelude is imported and the heap is set aside before the first fork."""
    programs = request["programs"]
    workers = request["workers"]
    prelude: dict[str, Any] = {}
    exec(PRELUDE, prelude)
    import numpy  # noqa: F401 - some programs import it, and importing is not running

    gc.collect()
    gc.freeze()

    def work() -> dict[str, float]:
        slots = mmap.mmap(-1, SLOT.size * len(programs))
        lanes = [start_lane(programs, range(lane, len(programs), workers), prelude, slots) for lane in range(workers)]
        for pid in lanes:
            if os.waitpid(pid, 0)[1] != 0:
                raise RuntimeError("a lane failed")
        rows = [SLOT.unpack_from(slots, SLOT.size * index) for index in range(len(programs))]
        return {
            "cpu_s": sum(cpu for cpu, _, _ in rows),
            "tests": sum(tests for _, tests, _ in rows),
            "unfinished": sum(1 - finished for _, _, finished in rows),
        }

    yield work


def start_lane(programs: list[dict[str, Any]], indices: range, prelude: dict[str, Any], slots: mmap.mmap) -> int:
    """Fork a process that runs the programs at ``indices`` one after another; its pid."""
    lane = os.fork()
    if lane:
        return lane
    for index in indices:
        pid = os.fork()
        if pid == 0:
            try:
                run_program(programs[index], prelude, slots, SLOT.size * index)
            finally:
                os._exit(1)  # whatever went wrong, this process must not return into the lane
        watch = select.poll()
        handle = os.pidfd_open(pid)
        watch.register(handle, select.POLLIN)
        if not watch.poll(PATIENCE_S * 1000):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(handle)
    os._exit(0)


def run_program(program: dict[str, Any], prelude: dict[str, Any], slots: mmap.mmap, offset: int) -> NoReturn:
    """In a forked process: all its tests, each one's CPU added to the slot as soon as it is known. Never returns."""
    threading.excepthook = lambda _: None  # a thread's failure is the program's own, and printing it is ours
    sys.setrecursionlimit(RECURSION)
    cpu = 0.0
    done = 0
    clock = time.process_time
    leave, save = os._exit, SLOT.pack_into  # a program may patch either name
    began = clock()
    try:
        code = compile(program["code"], "main.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        leave(1)
    cpu += clock() - began
    run = standard_runs(code) if program["func_name"] is None else calls(code, program["func_name"], prelude)
    for text in program["inputs"][: program["tests_run"]]:
        cpu, done = cpu + run(text, clock), done + 1
        save(slots, offset, cpu, done, 0.0)
    save(slots, offset, cpu, done, 1.0)
    leave(0)


def standard_runs(code: Any) -> Callable[[str, Callable[[], float]], float]:
    """A function that runs a whole program on a text and gives the CPU seconds of that."""

    def run(text: str, clock: Callable[[], float]) -> float:
        feed(text)
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


def feed(text: str) -> None:
    """Fresh files behind descriptors 0 and 1 and the streams above them."""
    for number, data in ((0, text.encode("utf-8", "surrogateescape")), (1, b"")):
        file = os.memfd_create("floor")
        os.write(file, data)
        os.lseek(file, 0, os.SEEK_SET)
        if file != number:  # the same where a program closed that descriptor
            os.dup2(file, number)
            os.close(file)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - the program's
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115


def calls(code: Any, func_name: str, prelude: dict[str, Any]) -> Callable[[str, Callable[[], float]], float]:
    """A function that calls the solution with one JSON value a line and gives the CPU seconds of that."""
    names = {**prelude, "__name__": "__main__"}
    feed("")
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
    """Lift the main thread's stack limit as far as allowed, by exec, for programs that recurse deeply; then serve."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
        os.execv(sys.executable, sys.orig_argv)
    serve(session)


if __name__ == "__main__":
    main()
