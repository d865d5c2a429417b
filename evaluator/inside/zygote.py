"""Guard and cell of a sandbox: build the fences once, import modules, fork a template per program, and clean up."""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import site
import socket
import sys
import time
from typing import NoReturn

from evaluator.inside import functional, kernel, process_tree
from evaluator.inside.fences import Fences, ScratchDirectory, remove_tree
from evaluator.inside.rehearsal import rehearse
from evaluator.inside.template import Job, run_template

# Modules that most programs import and that load few libraries. ``template.import_used_modules`` imports others.
COMMON_MODULES = ("bisect", "collections", "functools", "heapq", "io", "itertools", "math", "operator", "re", "typing")


def main() -> NoReturn:
    """Build the fences, fork the cell, and guard it."""
    raise_stack_limit_and_restart()
    config = json.loads(sys.argv[1])
    os.environ.clear()
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    sys.path += config["library"]
    gc.disable()
    fences = Fences(without=tuple(config["without"]))
    fences.build_outside()
    cell = os.fork()
    control = socket.socket(fileno=config["control"])
    if cell == 0:
        try:
            fences.build_inside()
            serve(control, fences, config["preload"], config["calls"])
        finally:
            os._exit(1)
    control.close()  # only the cell may keep it open, or the owner would not notice the cell's death
    guard(cell, config["owner"], fences)


def raise_stack_limit_and_restart() -> None:
    """Raise the main thread's stack limit to the hard limit and restart, because memory layout is fixed at exec."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
        os.execv(sys.executable, sys.orig_argv)


def guard(cell: int, owner: int, fences: Fences) -> NoReturn:
    """Wait until the owner or the cell dies, then kill the other side. Never returns."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    watch = select.poll()
    try:
        owner_handle = os.pidfd_open(owner)
    except ProcessLookupError:
        os._exit(0)  # the cell dies with this process, by its parent-death signal
    watch.register(owner_handle, select.POLLIN)
    watch.register(os.pidfd_open(cell), select.POLLIN)
    if os.getppid() == owner:  # otherwise the owner died before it could be watched, and its id may be reused
        watch.poll()
    if "pid namespace" in fences.built:
        os.kill(cell, signal.SIGKILL)  # its id cannot be reused, because this process has not reaped it yet
        os.waitpid(cell, 0)
    else:
        process_tree.kill_below(False)
    if fences.scratch_root is not None:
        with contextlib.suppress(OSError):
            remove_tree(fences.scratch_root)
    os._exit(0)


def serve(control: socket.socket, fences: Fences, preload: list[str], calls: bool) -> NoReturn:
    """Fork a template for each program that the owner sends, until the owner closes its end; then end the namespace.

    Whatever is loaded here is shared by all forks, but each fork pays for its libraries. Modules that only some
    programs import are therefore left to their templates.

    Args:
        control: control socket to the owner.
        fences: fences that were built.
        preload: modules to import.
        calls: load the prelude for functional problems.
    """
    import_modules([*COMMON_MODULES, *preload])
    prelude = functional.load_prelude() if calls else None
    site.setquit()
    rehearse(fences, prelude)
    gc.collect()
    gc.freeze()
    scratch = ScratchDirectory(fences)
    limits = read_resource_limits()
    control.send(json.dumps({"missing": fences.missing, "unreadable": fences.find_unreadable_libraries()}).encode())
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 8)
        if not packet:
            process_tree.kill_below("pid namespace" in fences.built)
            os._exit(0)
        if read_resource_limits() != limits:
            print("another process changed the resource limits of the sandbox", file=sys.stderr, flush=True)
            os._exit(1)
        exit_code = run_job(Job(**json.loads(packet)), scratch, descriptors, fences, prelude)
        control.send(json.dumps({"exit_code": exit_code}).encode())


def read_resource_limits() -> list[tuple[int, int]]:
    """Return all resource limits of this process, which programs inherit."""
    return [resource.getrlimit(number) for number in range(resource.RLIMIT_RTTIME + 1)]


def import_modules(names: list[str]) -> None:
    """Import those of ``names`` that are installed. All later forks share them."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads do not survive a fork
    for name in names:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    os.environ.clear()


def run_job(
    job: Job, scratch: ScratchDirectory, descriptors: list[int], fences: Fences, prelude: functional.Prelude | None
) -> int | None:
    """Fork the program's template and wait until it ends or the program's budget runs out.

    Afterwards, nothing of the program is left. Returns the exit code of the template; negative for a signal, None if
    unknown.
    """
    path = scratch.make(job.output_bytes)
    pid = os.fork()
    if pid == 0:
        try:
            run_template(job, path, descriptors, fences, prelude)
        finally:
            os._exit(1)
    for descriptor in descriptors:
        os.close(descriptor)  # the template then has the only copy of the channel, so its death is noticed at once
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + job.budget_s
    poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
    os.close(handle)
    reaped = process_tree.kill_below("pid namespace" in fences.built)
    scratch.remove()
    return next((process.exit_code for process in reaped if process.pid == pid), None)
