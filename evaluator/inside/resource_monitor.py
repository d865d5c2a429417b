"""Resources that a process tree uses: CPU time, memory, threads and waiting for a processor, sampled from /proc.

Covered: processes that are alive, that were waited for, and that ended without being waited for (up to what they had
used at the last sample); memory that is resident, or held by descriptors, shared mappings, sockets and pipes.
Not covered: CPU time and memory that come and go between two samples, and files on their way through a socket.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass, replace

from evaluator.inside.process_tree import list_descendant_stats, read_stat

INTERVAL_S = 0.05  # between samples
SCAN_INTERVAL_S = 0.2  # between scans of descriptors and mappings, which are slower to read
STALL_S = 1.0  # a longer time between two samples is one in which the whole sandbox was stopped
SOCKET_BYTES = 512 << 10  # that the buffer of a socket can hold, with the kernel's overhead
PIPE_BYTES = 64 << 10
BLOCK_BYTES = 512  # unit of st_blocks
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of ``process_tree.read_stat``.
_USER_TIME = 11
_SYSTEM_TIME = 12
_CHILDREN_USER_TIME = 13
_CHILDREN_SYSTEM_TIME = 14
_NICE = 16
_THREADS = 17
_START = 19
_RESIDENT = 21
_POLICY = 38

ProcessKey = tuple[int, int]
"""Process id and start time, since ids are reused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessSample:
    """State of one process.

    Attributes:
        pid: process id.
        cpu_s: its CPU time in seconds, and that of the descendants it waited for.
        children_cpu_s: the part of those descendants.
        threads: number of threads.
        resident: resident memory in bytes.
    """

    pid: int
    cpu_s: float
    children_cpu_s: float
    threads: int
    resident: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ThreadSample:
    """State of one thread.

    Attributes:
        cpu_s: its CPU time in seconds.
        waited_s: seconds for which it waited for a processor, without a wait that has not ended yet.
        is_runnable: it runs or waits for a processor.
        sleeps: number of times it gave up its processor by itself.
    """

    cpu_s: float
    waited_s: float
    is_runnable: bool
    sleeps: int


_NEW_THREAD = ThreadSample(cpu_s=0.0, waited_s=0.0, is_runnable=True, sleeps=0)  # the first, when it was started


class ResourceMonitor:
    """Usage of the descendants of this process since ``start_time``. Each call of ``sample`` updates it.

    Args:
        start_time: monotonic time at which the first descendant was started.
        max_memory: limit on memory in bytes. Below it, memory is measured only roughly: too high.

    Attributes:
        sample_time: monotonic time of the last sample.
        cpu_s: CPU time in seconds of all descendants.
        lost_cpu_s: the part of descendants that ended without being waited for.
        memory: memory in bytes of all descendants together.
        threads: number of threads of all descendants.
    """

    def __init__(self, start_time: float, max_memory: int) -> None:
        self._max_memory = max_memory
        self.sample_time = start_time
        self._scan_time = start_time
        self._has_proc = os.path.exists("/proc/self/stat")
        self._scheduling = read_scheduling(read_stat("self")) if self._has_proc else None
        self._standard_files = {_get_identity(os.fstat(number)) for number in (0, 1, 2)}
        self._processes: dict[ProcessKey, ProcessSample] = {}
        self._threads: dict[tuple[int, str], ThreadSample] = {}
        self._waited_s = 0.0  # waiting of the thread that mattered most in each interval
        self._selected_cpu_s = 0.0  # CPU time of these threads in these intervals
        self._elapsed_s = 0.0
        self._stalled_s = 0.0
        self._object_bytes = 0  # in files without a name
        self._buffer_bytes = 0  # in sockets and pipes
        self._history = [(start_time, 0.0)]  # times of samples and the uncounted time until then
        self.cpu_s = 0.0
        self.lost_cpu_s = 0.0
        self.memory = 0
        self.threads = 0

    def sample(self) -> None:
        """Read the state of all descendants."""
        now = time.monotonic()
        stats = list_descendant_stats() if self._has_proc else {}
        processes = {(pid, int(fields[_START])): _make_sample(pid, fields) for pid, fields in stats.items()}
        self.lost_cpu_s += _find_lost_cpu_s(self._processes, processes)
        cpu_before_s = self.cpu_s
        self.cpu_s = max(cpu_before_s, self.lost_cpu_s + sum(process.cpu_s for process in processes.values()))
        self._processes = processes
        self.threads = sum(process.threads for process in processes.values())
        self._update_waiting(stats, now - self.sample_time, self.cpu_s - cpu_before_s)
        self.sample_time = now
        self._history.append((now, self.get_uncounted_s()))
        if now - self._scan_time >= SCAN_INTERVAL_S:
            self._scan_time = now
            self._object_bytes, self._buffer_bytes = measure_hidden_memory(list(stats), self._standard_files)
        self.memory = self._measure_memory()

    def get_uncounted_s(self) -> float:
        """Return the wall time in seconds that does not count: waiting for a processor, and stalls of the sandbox.

        What the descendants themselves may have caused, by using processors, is subtracted.
        """
        others_cpu_s = max(0.0, self.cpu_s - self._selected_cpu_s)
        return self._stalled_s + max(0.0, self._waited_s - others_cpu_s)

    def get_uncounted_since(self, start_time: float) -> float:
        """Return the part of ``get_uncounted_s`` that was added after the monotonic time ``start_time``."""
        earlier = [uncounted_s for sample_time, uncounted_s in self._history if sample_time <= start_time]
        return self._history[-1][1] - (earlier[-1] if earlier else 0.0)

    def _update_waiting(self, stats: dict[int, list[bytes]], interval_s: float, tree_cpu_s: float) -> None:
        """Add the interval since the last sample, in which all descendants used ``tree_cpu_s``."""
        threads = {}
        most_waited_s = 0.0
        most_cpu_s = 0.0
        for pid, fields in stats.items():
            # A thread of lower priority waits longer than it would have to.
            is_lowered = read_scheduling(fields) != self._scheduling
            for name, read in read_threads(pid):
                before = self._threads.get((pid, name), None if self._threads else _NEW_THREAD)
                after = threads[pid, name] = _add_unfinished_wait(before, read, interval_s)
                cpu_s = after.cpu_s - (before.cpu_s if before else 0.0)
                waited_s = after.waited_s - (before.waited_s if before else 0.0)
                waited_s = 0.0 if is_lowered else waited_s
                if cpu_s + waited_s > most_cpu_s + most_waited_s:
                    most_cpu_s = cpu_s
                    most_waited_s = waited_s
        self._threads = threads
        self._selected_cpu_s += most_cpu_s
        self._elapsed_s += interval_s
        # Waits of two threads at the same time may end, and so be counted, in different intervals.
        self._waited_s = min(self._waited_s + most_waited_s, max(0.0, self._elapsed_s - self._selected_cpu_s))
        if interval_s > STALL_S:
            self._stalled_s += max(0.0, interval_s - INTERVAL_S - tree_cpu_s - most_waited_s)

    def _measure_memory(self) -> int:
        """Return the memory of all descendants.

        A process that ends meanwhile counts too much: all that was resident, as its map cannot be read any more; and
        its share of common pages goes to the processes that are read after it. So a result above the limit is measured
        again.
        """
        memory = self._measure_memory_of(list(self._processes.values()))
        if memory <= self._max_memory:
            return memory
        again = [_make_sample(pid, fields) for pid, fields in list_descendant_stats().items()]
        return min(memory, self._measure_memory_of(again))

    def _measure_memory_of(self, processes: list[ProcessSample]) -> int:
        resident = sum(process.resident for process in processes)
        rough = resident + self._object_bytes + self._buffer_bytes
        if rough <= self._max_memory or (len(processes) == 1 and not self._object_bytes):
            return rough
        private = 0
        shared = 0
        for process in processes:
            proportional, of_objects = read_proportional_memory(process)
            private += proportional - of_objects
            shared += of_objects
        return private + max(shared, self._object_bytes) + self._buffer_bytes


def read_scheduling(fields: list[bytes]) -> tuple[bytes, bytes]:
    """Return the scheduling policy and the nice value from the fields of ``read_stat``."""
    return fields[_POLICY], fields[_NICE]


def read_threads(pid: int) -> list[tuple[str, ThreadSample]]:
    """Return the id and the state of each thread of a process."""
    threads = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{name}/schedstat", "rb") as handle:
                cpu_ns, waited_ns, _ = handle.read().split()
            with open(f"/proc/{pid}/task/{name}/status", "rb") as handle:
                status = handle.read()
            sample = ThreadSample(
                cpu_s=int(cpu_ns) / 1e9,
                waited_s=int(waited_ns) / 1e9,
                is_runnable=b"\nState:\tR" in status,
                sleeps=int(status.partition(b"\nvoluntary_ctxt_switches:")[2].split()[0]),
            )
            threads.append((name, sample))
    return threads


def read_proportional_memory(process: ProcessSample) -> tuple[int, int]:
    """Return the bytes of a process with shared pages divided by their users, and the part of them in shared objects.

    For a process whose memory map cannot be read, all resident memory counts.
    """
    amounts = {b"Pss:": 0, b"Pss_Shmem:": 0}
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as handle:
            for line in handle:
                name, _, rest = line.partition(b" ")
                if name in amounts:
                    amounts[name] = int(rest.split()[0]) << 10
    except OSError:
        return process.resident, 0
    return amounts[b"Pss:"], amounts[b"Pss_Shmem:"]


def measure_hidden_memory(pids: list[int], excluded: set[tuple[int, int]]) -> tuple[int, int]:
    """Measure memory that belongs to processes but is not resident in them.

    Args:
        pids: processes.
        excluded: device and inode numbers of files that do not count.

    Returns:
        Bytes of files without a name, such as those of memfd_create and of shared mappings, and of buffers of sockets
        and pipes.
    """
    objects: dict[tuple[int, int], int] = {}
    buffers: dict[tuple[int, int], int] = {}
    for pid in pids:
        for status in read_descriptors(pid):
            if stat.S_ISSOCK(status.st_mode):
                buffers[_get_identity(status)] = SOCKET_BYTES
            elif stat.S_ISFIFO(status.st_mode):
                buffers[_get_identity(status)] = PIPE_BYTES
            elif stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                objects[_get_identity(status)] = status.st_blocks * BLOCK_BYTES
    for pid in pids:
        for identity, size in read_shared_mappings(pid):
            objects.setdefault(identity, size)
    return sum(size for identity, size in objects.items() if identity not in excluded), sum(buffers.values())


def read_descriptors(pid: int) -> list[os.stat_result]:
    """Return the status of the open files of a process."""
    statuses = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed since
                statuses.append(os.stat(f"/proc/{pid}/fd/{name}"))
    return statuses


def read_shared_mappings(pid: int) -> list[tuple[tuple[int, int], int]]:
    """Return the device and inode number and the size in bytes of the files without a name that a process has mapped.

    The size is that of the mapping: the kernel does not tell how much of the file is in use.
    """
    mappings = []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb") as handle:
        for line in handle:
            if not line.endswith(b"(deleted)\n"):
                continue
            addresses, permissions, _, device, inode = line.split(None, 5)[:5]
            if permissions.endswith(b"s"):
                start, end = (int(address, 16) for address in addresses.split(b"-"))
                major, minor = (int(number, 16) for number in device.split(b":"))
                mappings.append(((os.makedev(major, minor), int(inode)), end - start))
    return mappings


def _add_unfinished_wait(before: ThreadSample | None, after: ThreadSample, interval_s: float) -> ThreadSample:
    """Return ``after`` with the time for which the thread has waited so far, if it is still waiting.

    On a very crowded machine, a thread may wait for seconds, which the kernel counts only when it runs again. A thread
    that was runnable at both samples and did not sleep in between has waited whenever it did not run.
    """
    if before is None:
        return after
    waited_s = before.waited_s
    if before.is_runnable and after.is_runnable and before.sleeps == after.sleeps:
        waited_s += max(0.0, interval_s - (after.cpu_s - before.cpu_s))
    return replace(after, waited_s=max(waited_s, after.waited_s))


def _make_sample(pid: int, fields: list[bytes]) -> ProcessSample:
    children_ticks = int(fields[_CHILDREN_USER_TIME]) + int(fields[_CHILDREN_SYSTEM_TIME])
    own_ticks = int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
    return ProcessSample(
        pid=pid,
        cpu_s=(own_ticks + children_ticks) / _TICKS_PER_S,
        children_cpu_s=children_ticks / _TICKS_PER_S,
        threads=int(fields[_THREADS]),
        resident=int(fields[_RESIDENT]) * PAGE_BYTES,
    )


def _find_lost_cpu_s(before: dict[ProcessKey, ProcessSample], now: dict[ProcessKey, ProcessSample]) -> float:
    """Return the CPU time of processes that are gone and that no other process has added to its own by waiting."""
    gone_s = sum(process.cpu_s for key, process in before.items() if key not in now)
    if gone_s == 0:
        return 0.0
    added_s = sum(
        process.children_cpu_s - (before[key].children_cpu_s if key in before else 0.0) for key, process in now.items()
    )
    return max(0.0, gone_s - added_s)


def _get_identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
