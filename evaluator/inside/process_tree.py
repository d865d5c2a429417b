"""Killing a process tree: every process below this one, including those that tried to escape."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from dataclasses import dataclass

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
DEADLINE_S = 5.0  # for killing processes one by one; a whole namespace is killed in one call


@dataclass(frozen=True, kw_only=True, slots=True)
class ReapedProcess:
    """Reaped process. ``memory`` is its peak resident size in bytes."""

    pid: int
    exit_code: int
    cpu_s: float
    memory: int


def reap(flags: int) -> tuple[list[ReapedProcess], bool]:
    """Reap dead children. Returns them, and whether no children are left.

    Without WNOHANG in ``flags``, waits until all children have ended.
    """
    reaped: list[ReapedProcess] = []
    while True:
        try:
            pid, status, usage = os.wait4(-1, flags)
        except ChildProcessError:
            return reaped, True
        if pid == 0:
            return reaped, False
        reaped.append(_describe_reaped(pid, status, usage))


def kill_below(whole_namespace: bool) -> list[ReapedProcess]:
    """Kill and reap all processes below this one, including those that escaped by double fork or setsid.

    The caller must be a child subreaper. ``whole_namespace`` means that all processes of the pid namespace, except its
    first, are below this one.
    """
    reaped, childless = reap(os.WNOHANG)
    if childless:  # orphans of dead processes would have become children of this one
        return reaped
    if whole_namespace:
        # Atomic: the kernel does not restart a fork with a signal pending, so no new process escapes.
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return reaped + reap(0)[0]
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for pid in list_descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reaped += reap(os.WNOHANG)[0]
        if not list_descendants():
            break
        time.sleep(0.001)
    return reaped


def list_descendants() -> list[int]:
    """Return the ids of all processes below this one, from /proc."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as handle:
            # The command name may contain blanks and brackets, so fields are counted from its closing bracket.
            parents[int(name)] = int(handle.read().rpartition(b")")[2].split()[1])
    family = {os.getpid()}
    descendants = []
    has_grown = True
    while has_grown:
        has_grown = False
        for pid, parent in parents.items():
            if parent in family and pid not in family:
                family.add(pid)
                descendants.append(pid)
                has_grown = True
    return descendants


def get_scheduling_delay_s(pid: int) -> float:
    """Return the seconds that the thread of the process that waited longest was ready to run but got no processor.

    0 if unknown.
    """
    longest = 0
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as handle:
                longest = max(longest, int(handle.read().split()[1]))
    return longest / 1e9


def measure_memory(pids: list[int]) -> int:
    """Return the bytes of memory that ``pids`` use together, counting shared memory once.

    The result for a single process is approximate.
    """
    if len(pids) == 1:
        with contextlib.suppress(OSError), open(f"/proc/{pids[0]}/statm", "rb") as handle:
            return int(handle.read().split()[1]) * PAGE_BYTES
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as handle:
            total += next((int(line.split()[1]) << 10 for line in handle if line.startswith(b"Pss:")), 0)
    return total


def _describe_reaped(pid: int, status: int, usage: resource.struct_rusage) -> ReapedProcess:
    return ReapedProcess(
        pid=pid,
        exit_code=os.waitstatus_to_exitcode(status),
        cpu_s=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss << 10,
    )
