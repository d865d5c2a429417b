"""Work in a process of its own, timed inside and its CPU counted from outside.

    benchmark ──request──► child: start, imports, warm-up ────ready───► benchmark: looks at /proc
              ──"go"─────► child: the work, on its own clock ──result──► benchmark: looks at /proc again

Start-up never counts, for nobody. The CPU is that of the whole tree: all processes below the child, and all that they
waited for. Both hold for whatever interpreter the child runs under, so this module imports the standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY_S = 120.0  # for a child to start and warm up
WORK_S = 1800.0  # for one piece of work
LOG_TAIL = 3000  # bytes of a failed child's output that are shown

Session = Callable[[Any], AbstractContextManager[Callable[[], Any]]]


class ChildError(RuntimeError):
    """A child failed; the message ends with the end of its output."""


@dataclass(frozen=True)
class Measured:
    """One piece of work: wall seconds by the child's clock, CPU seconds (user and system) of its whole tree."""

    wall_s: float
    cpu_s: float
    result: Any


class Child:
    """A child that is ready to work; ``start_s`` is the seconds that getting there took."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, log: Path) -> None:
        self._process = process
        self._log = log
        self._control = control
        self._replies = control.makefile("rb")
        began = time.monotonic()
        self._reply(READY_S)
        self.start_s = time.monotonic() - began

    def work(self) -> Measured:
        """Let it work once. Raises ChildError."""
        before = tree_cpu_seconds(self._process.pid)
        self._control.sendall(b"go\n")
        reply = self._reply(WORK_S)
        return Measured(reply["wall_s"], tree_cpu_seconds(self._process.pid) - before, reply["result"])

    def _reply(self, timeout: float) -> Any:
        self._control.settimeout(timeout)
        try:
            line = self._replies.readline()
        except TimeoutError as error:
            raise ChildError(f"no answer in {timeout:.0f} s: {self._tail()}") from error
        if not line.endswith(b"\n"):
            raise ChildError(f"died: {self._tail()}")
        return json.loads(line)

    def _tail(self) -> str:
        return self._log.read_bytes()[-LOG_TAIL:].decode(errors="replace")


@contextmanager
def child(python: Path, module: str, request: Any) -> Iterator[Child]:
    """``python -m module``, a module of this repository that calls ``serve``; ended when the block is left.

    Raises ChildError.
    """
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        log = Path(scratch, "log")
        wanted = Path(scratch, "request.json")
        wanted.write_text(json.dumps(request), encoding="utf-8")
        with theirs, log.open("wb") as output:
            process = subprocess.Popen(
                [str(python), "-m", module, str(theirs.fileno()), str(wanted)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                cwd=scratch,  # a program that writes files writes them here
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        try:
            yield Child(process, ours, log)
        finally:
            ours.shutdown(socket.SHUT_RDWR)  # the child sees the end and leaves its session
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def serve(session: Session) -> None:
    """The child's side: enter ``session(request)``, and call what it gives each time the benchmark says so."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    orders = control.makefile("rb")
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    with session(request) as work:
        control.sendall(b"{}\n")
        while orders.readline() == b"go\n":
            began = time.perf_counter()
            result = work()
            wall = time.perf_counter() - began
            control.sendall(json.dumps({"wall_s": wall, "result": result}).encode() + b"\n")


def tree_cpu_seconds(root: int) -> float:
    """CPU seconds, user and system, of process ``root``, all below it, and all that any of them waited for."""
    # A child nobody waited for, or that was adopted outside the tree, would be missed: both sides keep their dead.
    table = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path("/proc", name, "stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # ended while we looked
            continue
        # The command name may hold blanks and brackets, so fields are counted from its closing bracket.
        fields = stat.rpartition(b")")[2].split()
        table[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))
    tree = {root}
    grown = True
    while grown:
        below = {pid for pid, (parent, _) in table.items() if parent in tree} - tree
        tree |= below
        grown = bool(below)
    return sum(table[pid][1] for pid in tree if pid in table) / os.sysconf("SC_CLK_TCK")
