"""Process tree below this process: finding, killing and reaping it, including processes that tried to escape."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from dataclasses import dataclass

_PARENT = 1  # field of /proc/PID/stat, counted from the one after the command name
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
        for pid in list_descendant_stats():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reaped += reap(os.WNOHANG)[0]
        if not list_descendant_stats():
            break
        time.sleep(0.001)
    return reaped


def read_stat(process: str) -> list[bytes]:
    """Return the fields of /proc/PROCESS/stat after the command name. Raises OSError."""
    with open(f"/proc/{process}/stat", "rb") as handle:
        # The command name may contain blanks and brackets, so fields are counted from its closing bracket.
        return handle.read().rpartition(b")")[2].split()


def list_descendant_stats() -> dict[int, list[bytes]]:
    """Return the fields of ``read_stat`` of all processes below this one.

    Process ids are those of /proc, which differ from this namespace's if /proc belongs to another one.
    """
    stats: dict[int, list[bytes]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            stats[int(name)] = read_stat(name)
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    descendants: dict[int, list[bytes]] = {}
    pending = [int(os.readlink("/proc/self"))]
    while pending:
        for pid in children.get(pending.pop(), ()):
            if pid not in descendants:  # ids may be reused while /proc is read
                descendants[pid] = stats[pid]
                pending.append(pid)
    return descendants


def _describe_reaped(pid: int, status: int, usage: resource.struct_rusage) -> ReapedProcess:
    return ReapedProcess(
        pid=pid,
        exit_code=os.waitstatus_to_exitcode(status),
        cpu_s=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss << 10,
    )
