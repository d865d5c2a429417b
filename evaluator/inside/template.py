"""Template process of one program. Behind all fences, it compiles the source once, then forks a fresh process per test.

It talks to the owner over a channel of packets. Its first message is ``["ready"]``, ``["compile_error", reason]``, or
``["failed", reason]`` if a fence failed. Then the owner sends words: ``run`` (with the descriptors of stdin, stdout,
stderr, and of the private channel of calls) starts a test, ``delay TIME`` asks how much of the time since then does not
count towards the wall limit, and ``end`` stops the test. Each test is answered by one ``Report``, or by ``failed`` if
no process could be started. Candidates are descendants of this process. They cannot signal it (Landlock, or the
system-call filter) and cannot trace it (not dumpable).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import resource
import select
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

from evaluator.inside import at_fork, functional, kernel, landlock, process_tree, resource_monitor, stdio
from evaluator.inside import checking as checking  # imported for programs, which cannot read it behind the fences
from evaluator.inside import published as published  # likewise
from evaluator.inside.fences import Fences
from evaluator.inside.output import OutputPipe
from evaluator.inside.report import Report
from evaluator.inside.resource_monitor import ResourceMonitor

CHANNEL = 3  # descriptor of the channel to the owner: the template's, or the own one of a candidate that answers calls
OUTPUT = 4  # descriptor of the file for the standard output of a test, which the owner reads
SIGNAL_RULESET = 5  # descriptor of the Landlock ruleset for signals, by which a candidate restricts itself
MAX_DESCRIPTORS = 64  # more than a template ever has
THREAD_STACK = 8 << 20  # bytes; the usual stack of a thread, since RLIMIT_STACK is raised here
MAX_LITERAL_DIGITS = 50_000  # of integers in a source: compiling one takes quadratic time, which is not the candidate's
VIRTUAL_HEADROOM_MB = 1024  # address space beyond memory_mb: raised thread stacks reserve far more than they use
COMPILE_CPU_S = 5  # for compiling a program; the largest real ones take less than one
SPARE_PROCESSES = 1024  # of the user of this host that may start while a program runs, without a limit of its own
WARM_MODULES = frozenset(
    {
        *(
            "array",
            "ast",
            "bisect",
            "calendar",
            "cmath",
            "collections",
            "contextlib",
            "copy",
            "dataclasses",
            "datetime",
        ),
        *(
            "decimal",
            "enum",
            "fractions",
            "functools",
            "heapq",
            "io",
            "itertools",
            "json",
            "math",
            "numbers",
            "operator",
        ),
        *("pprint", "queue", "random", "re", "statistics", "string", "struct", "textwrap", "threading", "time"),
        *("traceback", "types", "typing", "zlib"),
    }
)
_IMPORT = re.compile(rb"^[ \t]*(?:from|import)[ \t](.*)", re.MULTILINE)
_NAME = re.compile(rb"\w+")
_STARTS_INTERPRETERS = re.compile(rb"multiprocessing|ProcessPoolExecutor")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Program to load, as sent by the evaluator process. Times are in seconds; see ``evaluator.sandbox.Limits``."""

    wall_s: float
    cpu_s: float
    memory_mb: int
    output_bytes: int
    processes: int
    files: int
    budget_s: float
    func_name: str | None
    starter_code: str
    values: str


def run_template(
    job: Job, scratch: str, descriptors: list[int], fences: Fences, prelude: functional.Prelude | None
) -> NoReturn:
    """Run the template in the process forked for its program. Never returns.

    Args:
        job: the program's limits and kind.
        scratch: path of the program's working directory.
        descriptors: file with the source, channel to the owner, and file for the output.
        fences: fences of the zygote.
        prelude: names for functional problems, if already loaded.
    """
    fences.restrict_files(scratch)
    channel = arrange_descriptors([*descriptors[:1] * 3, *descriptors[1:], *fences.signal_rulesets])
    try:
        candidate_fences = build_program_fences(job, scratch, fences)
        source = os.pread(0, os.fstat(0).st_size, 0)
    except Exception as error:  # noqa: BLE001 - a failure of the sandbox, which must not look like the program's
        send(channel, ["failed", repr(error)])
        os._exit(1)
    code = compile_program(source, job, channel)
    run = prepare_run(job, code, source, prelude)
    at_fork.allow_registration()
    send(channel, ["ready"])
    whole_namespace = "pid namespace" in fences.built
    directory_state = read_directory_state()
    while True:
        packet, passed_descriptors, _, _ = socket.recv_fds(channel, 64, 4)
        if not packet:
            os._exit(0)
        if packet != b"run":
            continue  # about a test that has already ended
        stdin, stderr, *private = passed_descriptors
        os.dup2(stdin, 0)
        os.close(stdin)
        os.dup2(stderr, 2)
        os.close(stderr)
        gc.freeze()
        start_time = time.monotonic()
        # Nothing reads the output of calls.
        output = OutputPipe(OUTPUT, job.output_bytes if job.func_name is None else None)
        try:
            pid = os.fork()
        except OSError as error:
            send(channel, ["failed", f"cannot start a process: {error}"])
            output.close()
            continue
        if pid == 0:
            run_candidate(candidate_fences, run, private)
        for descriptor in private:
            os.close(descriptor)
        report = supervise_candidate(
            pid, job, channel, output=output, start_time=start_time, whole_namespace=whole_namespace
        )
        if directory_state is None or read_directory_state() != directory_state:
            report = replace(report, dirty=True)
        channel.send(report.pack())


def read_directory_state() -> list[int] | None:
    """Return what a program can change in its working directory, or None if it has left files or locked it."""
    state: list[int] = []
    try:
        names = os.listdir(".")
        names.append(".")
        for name in names:
            status = os.stat(name)
            state += status.st_mode, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    except OSError:
        return None
    return state if names in (["."], [stdio.MAIN_FILE, "."]) else None


def arrange_descriptors(descriptors: list[int]) -> socket.socket:
    """Move the standard files to descriptors 0-2, and the others to those from ``CHANNEL`` on; close all the rest."""
    # First move them to numbers which are not overwritten below. The limit on descriptors may be low.
    first = max(*descriptors, len(descriptors)) + 1
    moved = [os.dup2(fd, first + i, inheritable=False) for i, fd in enumerate(descriptors)]
    for target, source in enumerate(moved):
        os.dup2(source, target)
    os.closerange(len(moved), 1 << 20)
    return socket.socket(fileno=CHANNEL)


def build_program_fences(job: Job, scratch: str, fences: Fences) -> list[Callable[[], object]]:
    """Build the fences of one program, and return those that each test's process must build for itself."""
    os.setsid()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    os.chdir(scratch)
    last = prepare_candidate_fences(job, fences)
    set_resource_limits(job, "process limit" in fences.built)
    # The capability is over programs in this user namespace only: their memory can be measured, even if they hide it.
    kernel.drop_capabilities(kernel.CAP_SYS_PTRACE if "user namespace" in fences.built else None)
    if fences.seccomp is not None:
        fences.seccomp.install()
    return last


def prepare_candidate_fences(job: Job, fences: Fences) -> list[Callable[[], object]]:
    """Return the fences that a candidate builds first, in order. Each raises OSError on failure."""
    # The template is not dumpable. If its children were not either, /proc/self (used by /dev/stdin) would be root's.
    steps: list[Callable[[], object]] = [os.setsid, kernel.PreparedCall("prctl", kernel.PR_SET_DUMPABLE, 1, 0, 0, 0)]
    if "user namespace" in fences.built:
        steps.append(kernel.prepare_drop_capabilities())
    if "pid namespace" not in fences.built:  # a pid namespace would end all processes when the cell dies
        steps.append(kernel.PreparedCall("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if fences.signal_rulesets:
        steps.append(landlock.prepare_restriction(SIGNAL_RULESET))
    if (signal_filter := fences.make_template_filter()) is not None:
        steps.append(signal_filter.install)
    # The hard limit is a second higher, so that the soft limit can end the process with SIGXCPU.
    seconds = -int(-job.cpu_s // 1)
    max_limit = resource.getrlimit(resource.RLIMIT_CPU)[1]
    max_limit = max_limit if max_limit != resource.RLIM_INFINITY else seconds + 1
    cpu = min(seconds, max_limit), min(seconds + 1, max_limit)
    return [*steps, partial(resource.setrlimit, resource.RLIMIT_CPU, cpu)]


def set_resource_limits(job: Job, limit_processes: bool) -> None:
    """Set the rlimits, never above what the host allows."""
    limits = {
        resource.RLIMIT_AS: (job.memory_mb + VIRTUAL_HEADROOM_MB) << 20,
        resource.RLIMIT_FSIZE: job.output_bytes,
        resource.RLIMIT_NOFILE: job.files,
        resource.RLIMIT_CORE: 0,
    }
    if limit_processes:
        limits[resource.RLIMIT_NPROC] = job.processes
    else:  # it counts all processes of the user; ResourceMonitor counts those of the program
        limits[resource.RLIMIT_NPROC] = count_threads_of_host() + SPARE_PROCESSES + job.processes
    for resource_id, value in limits.items():
        set_rlimit(resource_id, value, value)
    threading.stack_size(THREAD_STACK)  # otherwise glibc would use RLIMIT_STACK, which is raised, for every thread


def count_threads_of_host() -> int:
    """Return the number of threads of all users, or a large number if it is unknown."""
    try:
        with open("/proc/loadavg") as handle:
            return int(handle.read().split()[3].partition("/")[2])
    except OSError:
        return 1 << 15


def set_rlimit(resource_id: int, soft: int, hard: int) -> None:
    """Call setrlimit, with both values capped at the hard limit in force."""
    max_limit = resource.getrlimit(resource_id)[1]
    if max_limit != resource.RLIM_INFINITY:
        soft, hard = min(soft, max_limit), min(hard, max_limit)
    resource.setrlimit(resource_id, (soft, hard))


def compile_program(source: bytes, job: Job, channel: socket.socket) -> types.CodeType:
    """Compile the source. If it is not a program, report the reason to the owner and exit.

    A few lines can expand to gigabytes of code. A compiler that uses up its CPU time is killed by SIGXCPU; the cell
    reports this to the owner.
    """
    sys.set_int_max_str_digits(MAX_LITERAL_DIGITS)
    address_space = resource.getrlimit(resource.RLIMIT_AS)
    cpu_s = resource.getrlimit(resource.RLIMIT_CPU)
    max_bytes = measure_own_address_space() + (job.memory_mb << 20)
    set_rlimit(resource.RLIMIT_AS, min(address_space[0], max_bytes), address_space[1])
    set_rlimit(resource.RLIMIT_CPU, COMPILE_CPU_S, cpu_s[1])
    try:
        code = compile(source, "main.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        send(channel, ["compile_error", f"{type(error).__name__}: {error}"[:1000]])
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_AS, address_space)
    resource.setrlimit(resource.RLIMIT_CPU, cpu_s)
    return code


def measure_own_address_space() -> int:
    """Return the size of this process in bytes; more if it is unknown."""
    try:
        with open("/proc/self/statm", "rb") as handle:
            return int(handle.read().split()[0]) * resource_monitor.PAGE_BYTES
    except OSError:
        return VIRTUAL_HEADROOM_MB << 20


def prepare_run(
    job: Job, code: types.CodeType, source: bytes, prelude: functional.Prelude | None
) -> Callable[[], NoReturn]:
    """Do everything that is needed only once for all tests. Returns the function that runs one test."""
    if job.func_name is None:
        import_used_modules(source)
        if _STARTS_INTERPRETERS.search(source):
            stdio.write_main_file(source)
        return stdio.prepare_program(code)
    functional_prelude = functional.load_prelude() if prelude is None else prelude
    func_name = job.func_name
    starter_code = job.starter_code
    values = job.values

    def answer_calls() -> NoReturn:
        functional.answer_calls(
            code=code,
            func_name=func_name,
            prelude=functional_prelude,
            channel=CHANNEL,
            starter_code=starter_code,
            values=values,
        )

    return answer_calls


def import_used_modules(source: bytes) -> None:
    """Import modules that the program names, once instead of in each test.

    Only modules of the standard library without side effects are imported. ``random`` starts from the same state in
    every test of every run, so that verdicts are reproducible.
    """
    module_names = {name for line in _IMPORT.findall(source) for name in _NAME.findall(line)}
    if b"random" in source:
        module_names.add(b"random")
    for name in WARM_MODULES & {name.decode() for name in module_names}:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "random" in sys.modules:
        sys.modules["random"].seed(0)


def send(channel: socket.socket, message: list[object]) -> None:
    """Send one packet to the owner."""
    channel.send(json.dumps(message).encode())


def supervise_candidate(
    pid: int, job: Job, channel: socket.socket, output: OutputPipe, start_time: float, whole_namespace: bool
) -> Report:
    """Wait for the candidate's end, its limits or a word from the owner; then kill its process tree.

    Returns the report of the test.
    """
    poll = select.poll()
    handle = os.pidfd_open(pid)
    poll.register(handle, select.POLLIN)
    poll.register(channel, select.POLLIN)
    monitor: ResourceMonitor | None = None  # most candidates end before it is needed
    timed_out = False
    # The owner limits the time of each call. Between calls, the candidate waits for the owner, which may take long.
    max_wall_s = job.wall_s if job.func_name is None else job.budget_s
    wait_s = min(max_wall_s, resource_monitor.INTERVAL_S)
    while True:
        ready = [number for number, _ in output.wait(poll, max(0.0, wait_s))]
        request = receive_delay_request(ready, channel)
        if output.is_full or (ready and request is None):
            break
        if monitor is None:
            monitor = ResourceMonitor(start_time, job.memory_mb << 20)
        own_cpu_s = time.process_time()
        monitor.sample()
        if request is not None:
            send(channel, ["delay", monitor.get_uncounted_since(request)])
        # At the time of the sample: this process may have waited for a processor since, which is not yet counted.
        remaining_s = start_time + max_wall_s + monitor.get_uncounted_s() - monitor.sample_time
        timed_out = remaining_s <= 0 or monitor.cpu_s > job.cpu_s
        if timed_out or monitor.memory > job.memory_mb << 20 or monitor.threads > job.processes:
            break
        # A tree that is slow to read must not keep a processor busy.
        interval_s = max(resource_monitor.INTERVAL_S, 4 * (time.process_time() - own_cpu_s))
        wait_s = min(remaining_s, interval_s)
    wall_s = time.monotonic() - start_time
    os.close(handle)
    reaped = process_tree.kill_below(whole_namespace)
    output.close()
    exit_code = None
    cpu_s = 0.0
    memory = 0
    for process in reaped:
        cpu_s += process.cpu_s
        memory = max(memory, process.memory)
        if process.pid == pid:
            exit_code = process.exit_code
    if monitor is not None:
        cpu_s = max(monitor.cpu_s, monitor.lost_cpu_s + cpu_s)
        memory = max(memory, monitor.memory)
    return Report(
        exit_code=exit_code,
        timed_out=timed_out,
        is_stopped=handle not in ready,
        dirty=False,
        wall_s=wall_s,
        cpu_s=cpu_s,
        memory_mb=memory / (1 << 20),
    )


def receive_delay_request(ready: list[int], channel: socket.socket) -> float | None:
    """Return the time in the owner's request for the uncounted time since then; None if ``ready`` is anything else."""
    if ready != [channel.fileno()] or not channel.recv(64, socket.MSG_PEEK).startswith(b"delay "):
        return None
    return float(channel.recv(64)[6:])


def run_candidate(
    candidate_fences: list[Callable[[], object]], run: Callable[[], NoReturn], private: list[int]
) -> NoReturn:
    """Build the last fences and run the program, in the process forked for a test. Never returns.

    Args:
        candidate_fences: fences to build.
        run: runs the program.
        private: descriptor of the channel of calls, if it has one. It takes the place of the template's channel.
    """
    try:
        for build in candidate_fences:
            build()
        if private:
            os.dup2(private[0], CHANNEL, inheritable=False)
        os.closerange(CHANNEL + len(private), MAX_DESCRIPTORS)
        at_fork.register_for_candidate()
        sys.set_int_max_str_digits(0)  # judges have no such limit; the candidate pays for long integers with its time
        gc.enable()
        run()
    finally:
        os._exit(1)  # only reached if the candidate broke the functions above; must not return into the template code
