"""Template process of one program. Behind all fences, it compiles the source once, then forks a fresh process per test.

It talks to the owner over a channel of packets. Its first message is ``["ready"]``, ``["compile_error", reason]``, or
``["failed", reason]`` if a fence failed. Then the owner sends words: ``run`` (with a descriptor: the private channel of
calls) starts a test, ``delay`` asks how long the test's process has waited for a processor, and ``end`` stops the test.
Each test is answered by one ``Report``. Candidates are descendants of this process. They cannot signal it (Landlock, or
the system-call filter) and cannot trace it (not dumpable).
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
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from evaluator.inside import at_fork, functional, kernel, landlock, process_tree, stdio
from evaluator.inside import checking as checking  # imported for programs, which cannot read it behind the fences
from evaluator.inside import published as published  # likewise
from evaluator.inside.fences import Fences
from evaluator.inside.output import OutputPipe
from evaluator.inside.report import Report

CHANNEL = 3  # descriptor of the channel to the owner: the template's, or the own one of a candidate that answers calls
SIGNAL_RULESET = 4  # descriptor of the Landlock ruleset for signals, by which a candidate restricts itself
THREAD_STACK = 8 << 20  # bytes; the usual stack of a thread, since RLIMIT_STACK is raised here
MAX_LITERAL_DIGITS = 50_000  # of integers in a source: compiling one takes quadratic time, which is not the candidate's
VIRTUAL_HEADROOM_MB = 1024  # address space beyond memory_mb: raised thread stacks reserve far more than they use
MAX_SCHEDULING_DELAY_FACTOR = (
    2.0  # how far waiting for a processor can extend the wall limit, as a multiple of that limit
)
WATCH_INTERVAL_S = 0.05  # between checks of the memory of a running program
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
        descriptors: files for stdin, stdout and stderr, and the channel to the owner.
        fences: fences of the zygote.
        prelude: names for functional problems, if already loaded.
    """
    fences.restrict_files(scratch)
    channel = arrange_descriptors([*descriptors, *fences.signal_rulesets])
    try:
        candidate_fences = build_program_fences(job, scratch, fences)
        source = os.pread(2, os.fstat(2).st_size, 0)  # the owner put the source into the file for stderr
    except Exception as error:  # noqa: BLE001 - a failure of the sandbox, which must not look like the program's
        send(channel, ["failed", repr(error)])
        os._exit(1)
    code = compile_program(source, channel)
    run = prepare_run(job, code, source, prelude)
    at_fork.enable_for_candidates()
    send(channel, ["ready"])
    whole_namespace = "pid namespace" in fences.built
    while True:
        packet, passed_descriptors, _, _ = socket.recv_fds(channel, 64, 1)
        if not packet:
            os._exit(0)
        if packet != b"run":
            continue  # an "end" for a test that has already ended
        for number in (1, 2):
            os.ftruncate(number, 0)
        for number in (0, 1, 2):
            os.lseek(number, 0, os.SEEK_SET)
        gc.freeze()
        start_time = time.monotonic()
        output = OutputPipe(job.output_bytes if job.func_name is None else None)  # nothing reads the output of calls
        pid = os.fork()
        if pid == 0:
            output.connect()
            run_candidate(candidate_fences, run, passed_descriptors)
        output.close_writer()
        for descriptor in passed_descriptors:
            os.close(descriptor)
        channel.send(supervise_candidate(pid, job, channel, output, start_time, whole_namespace).pack())


def arrange_descriptors(descriptors: list[int]) -> socket.socket:
    """Move the standard files to descriptors 0-2, the channel to 3, a signal ruleset to 4, and close all others."""
    # First move them to high numbers, which are not overwritten below.
    moved = [os.dup2(fd, 100 + i, inheritable=False) for i, fd in enumerate(descriptors)]
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
    kernel.drop_capabilities()
    if fences.seccomp is not None:
        fences.seccomp.install()
    return last


def prepare_candidate_fences(job: Job, fences: Fences) -> list[Callable[[], object]]:
    """Return the fences that a candidate builds first, in order. Each raises OSError on failure."""
    # The template is not dumpable. If its children were not either, /proc/self (used by /dev/stdin) would be root's.
    steps: list[Callable[[], object]] = [os.setsid, kernel.PreparedCall("prctl", kernel.PR_SET_DUMPABLE, 1, 0, 0, 0)]
    if "pid namespace" not in fences.built:  # a pid namespace would end all processes when the cell dies
        steps.append(kernel.PreparedCall("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if fences.signal_rulesets:
        steps += [landlock.prepare_restriction(SIGNAL_RULESET), partial(os.close, SIGNAL_RULESET)]
    if fences.signal_seccomp is not None:
        steps.append(fences.signal_seccomp.install)
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
    for resource_id, value in limits.items():
        set_rlimit(resource_id, value, value)
    threading.stack_size(THREAD_STACK)  # otherwise glibc would use RLIMIT_STACK, which is raised, for every thread


def set_rlimit(resource_id: int, soft: int, hard: int) -> None:
    """Call setrlimit, with both values capped at the hard limit in force."""
    max_limit = resource.getrlimit(resource_id)[1]
    if max_limit != resource.RLIM_INFINITY:
        soft, hard = min(soft, max_limit), min(hard, max_limit)
    resource.setrlimit(resource_id, (soft, hard))


def compile_program(source: bytes, channel: socket.socket) -> types.CodeType:
    """Compile the source. If it is not a program, report the reason to the owner and exit."""
    sys.set_int_max_str_digits(MAX_LITERAL_DIGITS)
    try:
        return compile(source, "main.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        send(channel, ["compile_error", f"{type(error).__name__}: {error}"[:1000]])
        os._exit(0)


def prepare_run(
    job: Job, code: types.CodeType, source: bytes, prelude: functional.Prelude | None
) -> Callable[[list[int]], NoReturn]:
    """Do everything that is needed only once for all tests.

    Returns the function that runs one test, given the descriptors passed for it.
    """
    if job.func_name is None:
        import_used_modules(source)
        return stdio.prepare_program(code)
    functional_prelude = functional.load_prelude() if prelude is None else prelude
    func_name = job.func_name
    starter_code = job.starter_code
    values = job.values

    def answer_calls(passed_descriptors: list[int]) -> NoReturn:
        os.dup2(passed_descriptors[0], CHANNEL, inheritable=False)
        os.close(passed_descriptors[0])
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
    poll.register(CHANNEL, select.POLLIN)
    memory = 0
    timed_out = False
    remaining = job.wall_s
    while not (ready := output.wait(poll, max(0.0, min(remaining, WATCH_INTERVAL_S)))) or answer_delay_request(
        ready, channel, pid
    ):
        if output.is_full:
            break
        # RLIMIT_AS limits each process; this check limits all of them together.
        memory = max(memory, process_tree.measure_memory(process_tree.list_descendants()))
        if memory > job.memory_mb << 20:
            break
        remaining = start_time + job.wall_s - time.monotonic()
        if remaining <= 0:
            remaining += min(process_tree.get_scheduling_delay_s(pid), MAX_SCHEDULING_DELAY_FACTOR * job.wall_s)
            timed_out = remaining <= 0
            if timed_out:
                break
    wall = time.monotonic() - start_time
    os.close(handle)
    reaped = process_tree.kill_below(whole_namespace)
    output.close()
    return Report(
        exit_code=next((process.exit_code for process in reaped if process.pid == pid), None),
        timed_out=timed_out,
        dirty=bool(os.listdir(".")),
        wall_s=wall,
        cpu_s=sum(process.cpu_s for process in reaped),
        memory_mb=max([memory, *(process.memory for process in reaped)]) / (1 << 20),
    )


def answer_delay_request(ready: list[tuple[int, int]], channel: socket.socket, pid: int) -> bool:
    """Answer the owner's request for the candidate's scheduling delay. Returns False if ``ready`` is anything else."""
    if [number for number, _ in ready] != [CHANNEL] or channel.recv(64, socket.MSG_PEEK) != b"delay":
        return False
    channel.recv(64)
    send(channel, ["delay", process_tree.get_scheduling_delay_s(pid)])
    return True


def run_candidate(
    candidate_fences: list[Callable[[], object]], run: Callable[[list[int]], NoReturn], passed_descriptors: list[int]
) -> NoReturn:
    """Build the last fences and run the program, in the process forked for a test. Never returns."""
    try:
        os.close(CHANNEL)
        for build in candidate_fences:
            build()
        sys.set_int_max_str_digits(0)  # judges have no such limit; the candidate pays for long integers with its time
        gc.enable()
        run(passed_descriptors)
    finally:
        os._exit(1)  # only reached if the candidate broke the functions above; must not return into the template code
