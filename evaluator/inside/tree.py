"""The end of a process tree: everything below this process, however it tried to get away."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from dataclasses import dataclass

PAGE = os.sysconf("SC_PAGE_SIZE")
DEADLINE_S = 5.0  # for processes that must be found one by one; a whole namespace dies in one call


@dataclass(frozen=True, kw_only=True, slots=True)
class Dead:
    """A reaped process. ``memory`` is its peak resident size in bytes."""

    pid: int
    exit_code: int
    cpu_s: float
    memory: int


def reap(flags: int) -> tuple[list[Dead], bool]:
    """Dead children, and whether there are no others; without WNOHANG in ``flags`` it waits until there are none."""
    dead: list[Dead] = []
    while True:
        try:
            pid, status, usage = os.wait4(-1, flags)
        except ChildProcessError:
            return dead, True
        if pid == 0:
            return dead, False
        dead.append(_dead(pid, status, usage))


def kill_below(whole_namespace: bool) -> list[Dead]:
    """Kill and reap all processes below this one, including those that escaped by double fork or setsid.

    The caller must be a child subreaper. ``whole_namespace``: all other processes of the pid namespace but its first
    are below this one.
    """
    dead, childless = reap(os.WNOHANG)
    if childless:  # the orphans of the dead would have become ours
        return dead
    if whole_namespace:
        # One atomic sweep: the kernel restarts no fork that has a signal pending, so nothing is born behind it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return dead + reap(0)[0]
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        dead += reap(os.WNOHANG)[0]
        if not descendants():
            break
        time.sleep(0.001)
    return dead


def descendants() -> list[int]:
    """All processes below this one, by /proc."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as handle:
            # The command name may hold blanks and brackets, so fields are counted from its closing bracket.
            parents[int(name)] = int(handle.read().rpartition(b")")[2].split()[1])
    mine = {os.getpid()}
    found = []
    grown = True
    while grown:
        grown = False
        for pid, parent in parents.items():
            if parent in mine and pid not in mine:
                mine.add(pid)
                found.append(pid)
                grown = True
    return found


def queued_s(pid: int) -> float:
    """Seconds that the process could have run but got no processor, by its longest-waiting thread; 0 if unknown."""
    longest = 0
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as handle:
                longest = max(longest, int(handle.read().split()[1]))
    return longest / 1e9


def memory_in_use(pids: list[int]) -> int:
    """Bytes of memory that ``pids`` hold together; what they share counts once. A rough figure for one process."""
    if len(pids) == 1:
        with contextlib.suppress(OSError), open(f"/proc/{pids[0]}/statm", "rb") as handle:
            return int(handle.read().split()[1]) * PAGE
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as handle:
            total += next((int(line.split()[1]) << 10 for line in handle if line.startswith(b"Pss:")), 0)
    return total


def _dead(pid: int, status: int, usage: resource.struct_rusage) -> Dead:
    return Dead(
        pid=pid,
        exit_code=os.waitstatus_to_exitcode(status),
        cpu_s=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss << 10,
    )
