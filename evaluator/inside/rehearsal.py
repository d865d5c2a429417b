"""Rehearsal of a test in the cell, before any program is loaded, so that processes forked later copy fewer pages.

When the interpreter runs a function for the first times, it writes into the function's code, into the table of method
lookups, and into tables of argument names. Without a rehearsal, the process of each test would do this, and copy every
page on which it writes. Nothing else of what is done here lasts.
"""

from __future__ import annotations

import builtins
import gc
import json
import os
import resource
import socket
import sys
import time
import types
from typing import TextIO

from evaluator.inside import functional, kernel, landlock, stdio, template
from evaluator.inside.fences import Fences
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
STARTER_CODE = """
class Solution:
    def add(self, numbers: List[int], text: str) -> int:
        """
SOLUTION = f"{STARTER_CODE}return sum(numbers)\n"
CALL = json.dumps({"nonce": "0" * 16, "input": '[2, 3]\n"a"'}).encode()
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


def rehearse(fences: Fences, prelude: functional.Prelude | None) -> None:
    """Run the functions of a test, as its process and as its template. Raises OSError.

    Args:
        fences: fences of the cell.
        prelude: names for functional problems, if they are loaded: then calls are rehearsed, too.
    """
    code = compile(PROGRAM, stdio.MAIN_FILE, "exec", dont_inherit=True)
    main = sys.modules["__main__"]
    standard_files = sys.stdin, sys.stdout
    for _ in range(REPEATS):
        with make_file(INPUT) as sys.stdin, make_file(b"") as sys.stdout:
            run_as_process(code)
        sys.stdin, sys.stdout = standard_files
        run_as_template()
        prepare_template(fences)
    if prelude is not None:
        for _ in range(REPEATS):
            answer_calls(prelude)
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


def prepare_template(fences: Fences) -> None:
    """Do what a new template does, except what cannot be undone, or could end this process."""
    channel, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with channel, other_end:
        template.measure_own_address_space()
        template.set_rlimit(resource.RLIMIT_CPU, *resource.getrlimit(resource.RLIMIT_CPU))
        template.import_used_modules(PROGRAM.encode())
        template.prepare_candidate_fences(JOB, fences)
        template.send(channel, ["ready"])
        socket.send_fds(channel, [b"run"], [channel.fileno(), channel.fileno()])
        other_end.recv(64)
        for descriptor in socket.recv_fds(other_end, 64, 4)[1]:
            os.close(descriptor)
    if "landlock" in fences.built:
        os.close(landlock.create_file_ruleset(["/"], ["/dev"]))


def answer_calls(prelude: functional.Prelude) -> None:
    """Answer calls of a function, in a namespace of its own."""
    owner_end, candidate_end = socket.socketpair()
    with owner_end, candidate_end:
        owner_end.sendall(len(CALL).to_bytes(4, "big") + CALL)
        signature = functional.parse_starter_signature(STARTER_CODE, "add")
        own_prelude = functional.Prelude(prelude.names, dict(prelude.main))
        program = functional.CandidateProgram("add", own_prelude, signature)
        serve = functional.make_server(program, candidate_end.fileno())
        program.load(compile(SOLUTION, stdio.MAIN_FILE, "exec", dont_inherit=True))
        owner_end.shutdown(socket.SHUT_WR)
        serve()


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
