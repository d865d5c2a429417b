"""Run benchmark work in a child process: the child takes the wall time, the parent counts CPU time from /proc.

    benchmark ──request──► child: start, imports, warm-up ────ready───► benchmark: reads CPU time from /proc
              ──"go"─────► child: the work, on its own clock ──result──► benchmark: reads CPU time again

Start-up time never counts, for any side. CPU time covers the whole process tree: all living descendants of the child,
and all dead ones that their parent has waited for. Children run under different interpreters, so this module imports
the standard library only.
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
READY_TIMEOUT_S = 120.0  # for a child to start and warm up
WORK_TIMEOUT_S = 1800.0  # for one run of the work
LOG_TAIL_BYTES = 3000  # shown of a failed child's output

OpenSession = Callable[[Any], AbstractContextManager[Callable[[], Any]]]
"""Takes the request; its context is the prepared state and gives the function that does the measured work."""


class ChildError(RuntimeError):
    """A child process failed; the message ends with the tail of its output."""


@dataclass(frozen=True)
class WorkMeasurement:
    """Cost and result of one run of a child's work.

    Attributes:
        wall_s: wall seconds by the child's clock.
        cpu_s: CPU seconds (user and system) of the child's whole process tree.
        result: JSON value that the work returned.
    """

    wall_s: float
    cpu_s: float
    result: Any


class ChildProcess:
    """A child process that has warmed up; ``start_s`` is the seconds that its start took."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, log: Path) -> None:
        self._process = process
        self._log = log
        self._control = control
        self._replies = control.makefile("rb")
        began = time.monotonic()
        self._read_reply(READY_TIMEOUT_S)
        self.start_s = time.monotonic() - began

    def run_work(self) -> WorkMeasurement:
        """Run the child's work once and measure it. Raises ChildError if the child dies or times out."""
        cpu_before = measure_tree_cpu_seconds(self._process.pid)
        self._control.sendall(b"go\n")
        reply = self._read_reply(WORK_TIMEOUT_S)
        return WorkMeasurement(
            reply["wall_s"], measure_tree_cpu_seconds(self._process.pid) - cpu_before, reply["result"]
        )

    def _read_reply(self, timeout: float) -> Any:
        self._control.settimeout(timeout)
        try:
            line = self._replies.readline()
        except TimeoutError as error:
            raise ChildError(f"child process gave no reply in {timeout:.0f} s; output: {self._log_tail()}") from error
        if not line.endswith(b"\n"):
            raise ChildError(f"child process died; output: {self._log_tail()}")
        return json.loads(line)

    def _log_tail(self) -> str:
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


@contextmanager
def start_child(python: Path, module: str, request: Any, root: Path = ROOT) -> Iterator[ChildProcess]:
    """Start a child process and end it when the block is left.

    Args:
        python: interpreter to use.
        module: module of this repository whose main block calls ``serve``.
        request: JSON value that the child's session function receives.
        root: checkout whose modules it imports.

    Raises:
        ChildError: the child died or was not ready in time.
    """
    parent_socket, child_socket = socket.socketpair()
    with parent_socket, tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        log = Path(scratch, "log")
        request_file = Path(scratch, "request.json")
        request_file.write_text(json.dumps(request), encoding="utf-8")
        with child_socket, log.open("wb") as output:
            process = subprocess.Popen(
                [str(python), "-m", module, str(child_socket.fileno()), str(request_file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[child_socket.fileno()],
                cwd=scratch,  # programs under test that write files write them here
                env={**os.environ, "PYTHONPATH": str(root)},
            )
        try:
            yield ChildProcess(process, parent_socket, log)
        finally:
            parent_socket.shutdown(socket.SHUT_RDWR)  # the child sees end of file and leaves its session
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def serve(open_session: OpenSession) -> None:
    """Run the child's side of the protocol: open the session, then do the work at each "go" from the parent."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    orders = control.makefile("rb")
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    with open_session(request) as work:
        control.sendall(b"{}\n")
        while orders.readline() == b"go\n":
            began = time.perf_counter()
            result = work()
            wall = time.perf_counter() - began
            control.sendall(json.dumps({"wall_s": wall, "result": result}).encode() + b"\n")


def measure_tree_cpu_seconds(root: int) -> float:
    """Sum CPU seconds (user and system) of process ``root``, its descendants and the dead children they waited for."""
    # Not counted: children that nobody waited for, and processes adopted outside the tree. Every side of a benchmark
    # waits for its children, so there are none.
    processes = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path("/proc", name, "stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # the process ended after the listing
            continue
        # The command name may contain blanks and brackets, so fields are counted from its closing bracket.
        fields = stat.rpartition(b")")[2].split()
        processes[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))
    tree = {root}
    grown = True
    while grown:
        children = {pid for pid, (parent, _) in processes.items() if parent in tree} - tree
        tree |= children
        grown = bool(children)
    return sum(processes[pid][1] for pid in tree if pid in processes) / os.sysconf("SC_CLK_TCK")
