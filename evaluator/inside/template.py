"""The template of one program: behind all fences it compiles the source once, then forks a fresh process a test.

It speaks with the owner over a channel of packets. First it says ``["ready"]``, or ``["compile_error", why]``, or
``["failed", why]`` when a fence broke. Then a packet ``run`` (with a descriptor: the private channel of calls) starts a
test, ``delay`` asks how long its process has waited for a processor, ``end`` cuts it short, and each test is answered
by one ``Report``. Any candidate is below this process, cannot signal it (Landlock, or a filter) and cannot
trace it (not dumpable).
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

from evaluator.inside import at_fork, functional, kernel, landlock, stdio, tree
from evaluator.inside import published as published  # for programs that import it: behind the fences none can read it
from evaluator.inside.fences import Fences
from evaluator.inside.report import Report

CHANNEL = 3  # the template's descriptor to its owner; in a candidate that answers calls, its own
SIGNAL_RULESET = 4  # the template's descriptor of what a candidate puts itself behind
THREAD_STACK = 8 << 20  # bytes; what a thread gets on an ordinary host, whatever RLIMIT_STACK says here
VIRTUAL_HEADROOM_MB = 1024  # address space beyond memory_mb: raised thread stacks reserve far more than they touch
PATIENCE = 2.0  # times the wall limit: the most that waiting for a processor may add to it
WATCH_S = 0.05  # between looks at the memory of a program that is still running
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
    """One program, as its owner describes it. Times in seconds; see ``evaluator.sandbox.Limits``."""

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


def be_template(
    job: Job, scratch: str, descriptors: list[int], fences: Fences, prelude: functional.Prelude | None
) -> NoReturn:
    """In a process forked for the program; never returns. ``descriptors``: stdin, stdout, stderr, channel."""
    fences.restrict_files(scratch)
    channel = settle_descriptors([*descriptors, *fences.signal_rulesets])
    try:
        last_fences = settle(job, scratch, fences)
        source = os.pread(2, os.fstat(2).st_size, 0)  # its place until the first test
    except Exception as error:  # noqa: BLE001 - whatever fails here is ours, and must not look like the program's
        send(channel, ["failed", repr(error)])
        os._exit(1)
    code = compile_program(source, channel)
    run = prepare(job, code, source, prelude)
    at_fork.for_candidates()
    send(channel, ["ready"])
    whole_namespace = "pid namespace" in fences.built
    while True:
        packet, passed, _, _ = socket.recv_fds(channel, 64, 1)
        if not packet:
            os._exit(0)
        if packet != b"run":
            continue  # an "end" for a test that ended by itself
        for number in (1, 2):
            os.ftruncate(number, 0)
        for number in (0, 1, 2):
            os.lseek(number, 0, os.SEEK_SET)
        gc.freeze()
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            be_candidate(last_fences, run, passed)
        for descriptor in passed:
            os.close(descriptor)
        channel.send(watch(pid, job, channel, began, whole_namespace).pack())


def settle_descriptors(descriptors: list[int]) -> socket.socket:
    """Standard descriptors 0-2, the channel at 3, the ruleset for signals (if any) at 4; everything else closed."""
    # First far away from the numbers that are overwritten below.
    high = [os.dup2(fd, 100 + i, inheritable=False) for i, fd in enumerate(descriptors)]
    for target, source in enumerate(high):
        os.dup2(source, target)
    os.closerange(len(high), 1 << 20)
    return socket.socket(fileno=CHANNEL)


def settle(job: Job, scratch: str, fences: Fences) -> list[Callable[[], object]]:
    """The fences of one program. Returns those that stand between its tests' processes and this one, still to build."""
    os.setsid()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    os.chdir(scratch)
    last = last_fences(job, fences)
    settle_limits(job, "process limit" in fences.built)
    kernel.drop_capabilities()
    if fences.seccomp is not None:
        fences.seccomp.install()
    return last


def last_fences(job: Job, fences: Fences) -> list[Callable[[], object]]:
    """What a candidate does first, in order. Each raises OSError if it fails."""
    # The template is not dumpable, and then /proc/self (the way to /dev/stdin) would belong to root.
    steps: list[Callable[[], object]] = [os.setsid, kernel.Prepared("prctl", kernel.PR_SET_DUMPABLE, 1, 0, 0, 0)]
    if "pid namespace" not in fences.built:  # which else ends all when the cell dies
        steps.append(kernel.Prepared("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if fences.signal_rulesets:
        steps += [landlock.prepare_restriction(SIGNAL_RULESET), partial(os.close, SIGNAL_RULESET)]
    if fences.signal_seccomp is not None:
        steps.append(fences.signal_seccomp.install)
    # The hard limit is a second later, so that the soft one can end the process with a telling signal.
    seconds = -int(-job.cpu_s // 1)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = most if most != resource.RLIM_INFINITY else seconds + 1
    cpu = min(seconds, most), min(seconds + 1, most)
    return [*steps, partial(resource.setrlimit, resource.RLIMIT_CPU, cpu)]


def settle_limits(job: Job, limit_processes: bool) -> None:
    """rlimits; never above what the host lets us have."""
    wanted = {
        resource.RLIMIT_AS: (job.memory_mb + VIRTUAL_HEADROOM_MB) << 20,
        resource.RLIMIT_FSIZE: job.output_bytes,
        resource.RLIMIT_NOFILE: job.files,
        resource.RLIMIT_CORE: 0,
    }
    if limit_processes:
        wanted[resource.RLIMIT_NPROC] = job.processes
    for which, value in wanted.items():
        limit(which, value, value)
    threading.stack_size(THREAD_STACK)  # else glibc would take RLIMIT_STACK, which is raised, for every thread


def limit(which: int, soft: int, hard: int) -> None:
    """setrlimit, with the hard limit that is in force as the highest value."""
    most = resource.getrlimit(which)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))


def compile_program(source: bytes, channel: socket.socket) -> types.CodeType:
    """The source's code object; says why there is none, and exits, if it is no program."""
    try:
        return compile(source, "main.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        send(channel, ["compile_error", f"{type(error).__name__}: {error}"[:1000]])
        os._exit(0)


def prepare(
    job: Job, code: types.CodeType, source: bytes, prelude: functional.Prelude | None
) -> Callable[[list[int]], NoReturn]:
    """All that can be done once for all tests. Returns what each then does, given the descriptors passed for it."""
    if job.func_name is None:
        import_named(source)
        main = stdio.fresh_main()
        return lambda _: stdio.run_program(code, main)
    loaded = functional.load_prelude() if prelude is None else prelude
    func_name = job.func_name
    starter_code = job.starter_code
    values = job.values

    def answer_calls(passed: list[int]) -> NoReturn:
        os.dup2(passed[0], CHANNEL, inheritable=False)
        os.close(passed[0])
        functional.answer_calls(
            code=code, func_name=func_name, prelude=loaded, channel=CHANNEL, starter_code=starter_code, values=values
        )

    return answer_calls


def import_named(source: bytes) -> None:
    """Import what the program will import, if it is of the standard library and has no effects: once, not in each test.

    ``random`` starts from the same state in every test of every run, so that a verdict is the same.
    """
    named = {name for line in _IMPORT.findall(source) for name in _NAME.findall(line)}
    if b"random" in source:
        named.add(b"random")
    for name in WARM_MODULES & {name.decode() for name in named}:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "random" in sys.modules:
        sys.modules["random"].seed(0)


def send(channel: socket.socket, message: list[object]) -> None:
    """One packet to the owner."""
    channel.send(json.dumps(message).encode())


def watch(pid: int, job: Job, channel: socket.socket, began: float, whole_namespace: bool) -> Report:
    """Wait for the candidate's end, its limits, or the owner's word; then end its tree and say how it went."""
    poll = select.poll()
    handle = os.pidfd_open(pid)
    poll.register(handle, select.POLLIN)
    poll.register(CHANNEL, select.POLLIN)
    memory = 0
    timed_out = False
    left = job.wall_s
    while not (ready := poll.poll(max(0.0, min(left, WATCH_S)) * 1000)) or asks_delay(ready, channel, pid):
        # Each process has a limit of its own; this one is for all of them together.
        memory = max(memory, tree.memory_in_use(tree.descendants()))
        if memory > job.memory_mb << 20:
            break
        left = began + job.wall_s - time.monotonic()
        if left <= 0:
            left += min(tree.queued_s(pid), PATIENCE * job.wall_s)
            timed_out = left <= 0
            if timed_out:
                break
    wall = time.monotonic() - began
    os.close(handle)
    dead = tree.kill_below(whole_namespace)
    return Report(
        exit_code=next((one.exit_code for one in dead if one.pid == pid), None),
        timed_out=timed_out,
        dirty=bool(os.listdir(".")),
        wall_s=wall,
        cpu_s=sum(one.cpu_s for one in dead),
        memory_mb=max([memory, *(one.memory for one in dead)]) / (1 << 20),
    )


def asks_delay(ready: list[tuple[int, int]], channel: socket.socket, pid: int) -> bool:
    """Answer the owner's question how long the candidate has waited for a processor; False if it was something else."""
    if [number for number, _ in ready] != [CHANNEL] or channel.recv(64, socket.MSG_PEEK) != b"delay":
        return False
    channel.recv(64)
    send(channel, ["delay", tree.queued_s(pid)])
    return True


def be_candidate(
    last_fences: list[Callable[[], object]], run: Callable[[list[int]], NoReturn], passed: list[int]
) -> NoReturn:
    """In the process forked for a test: step behind the last fences and run the program. Never returns."""
    try:
        os.close(CHANNEL)
        for build in last_fences:
            build()
        gc.enable()
        run(passed)
    finally:
        os._exit(1)  # only reached if the candidate broke the functions above; it must not return into the template
