"""Rehearsal of a test in the cell, before any program is loaded, so that processes forked later copy fewer pages.

When the interpreter runs a function for the first times, it writes into the function's code, into the table of method
lookups, and into tables of argument names. Without a rehearsal, the process of each test would do this, and copy every
page on which it writes. Nothing else of what is done here lasts.
"""

from __future__ import annotations

import builtins
import gc
import os
import resource
import socket
import sys
import time
import types
from typing import TextIO

from evaluator.inside import kernel, stdio, template
from evaluator.inside.output import OutputPipe

REPEATS = 12  # the interpreter adapts a function to its arguments after eight calls
PROGRAM = """
import sys

def main():
    n, m = map(int, input().split())
    values = list(map(int, input().split()))
    print(n + m, max(values))
    print(*values, sep=" ", end="\\n")

main()
"""
INPUT = b"2 3\n4 5\n"
JOB = template.Job(
    wall_s=60.0,
    cpu_s=60.0,
    memory_mb=1024,
    output_bytes=1 << 20,
    processes=64,
    files=64,
    budget_s=60.0,
    func_name=None,
    starter_code="",
    values="json",
)


def rehearse() -> None:
    """Run the functions of a test, as its process and as its template. Raises OSError."""
    code = compile(PROGRAM, stdio.MAIN_FILE, "exec", dont_inherit=True)
    main = sys.modules["__main__"]
    standard_files = sys.stdin, sys.stdout
    for _ in range(REPEATS):
        with make_file(INPUT) as sys.stdin, make_file(b"") as sys.stdout:
            run_as_process(code)
        sys.stdin, sys.stdout = standard_files
        run_as_template()
    sys.modules["__main__"] = main


def make_file(contents: bytes) -> TextIO:
    """Return an open file without a name."""
    descriptor = os.memfd_create("rehearsal")
    os.pwrite(descriptor, contents, 0)
    return open(descriptor, "r+")


def run_as_process(code: types.CodeType) -> None:
    """Do what the process of a test does, except what cannot be undone."""
    kernel.PreparedCall("getpid")()
    resource.setrlimit(resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU))
    stdio.run_main_module(code, {"__builtins__": builtins, "__cached__": None})
    stdio.flush_standard_files()
    gc.freeze()
    stdio.has_finalisers()


def run_as_template() -> None:
    """Supervise a process that ends at once."""
    channel, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with channel, other_end, make_file(b"") as target:
        template.read_directory_state()
        output = OutputPipe(target.fileno(), JOB.output_bytes)
        pid = os.fork()
        if pid == 0:
            os.write(1, INPUT)
            os._exit(0)
        report = template.supervise_candidate(
            pid, JOB, channel, output=output, start_time=time.monotonic(), whole_namespace=False
        )
        channel.send(report.pack())
