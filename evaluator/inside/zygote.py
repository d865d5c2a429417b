"""The guard and the cell: fences once a worker, warm modules, a template for each program, and the end of it all."""

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

from evaluator.inside import functional, kernel, tree
from evaluator.inside.fences import Fences, Scratch, remove_tree
from evaluator.inside.template import Job, be_template

# What most programs import, and loads few libraries: see ``template.import_named`` for the rest.
COMMON_MODULES = ("bisect", "collections", "functools", "heapq", "io", "itertools", "math", "operator", "re", "typing")


def main() -> NoReturn:
    """Build the fences, fork the cell, and guard it."""
    raise_stack_and_restart()
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
    control.close()  # only the cell may hold it, or the owner would never see that the cell died
    guard(cell, config["owner"], fences)


def raise_stack_and_restart() -> None:
    """Lift the main thread's stack limit as far as allowed; by exec, as a program's start fixes its memory layout."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
        os.execv(sys.executable, sys.orig_argv)


def guard(cell: int, owner: int, fences: Fences) -> NoReturn:
    """Wait for the owner or the cell to die, then end the other side. Never returns."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    watch = select.poll()
    try:
        owner_handle = os.pidfd_open(owner)
    except ProcessLookupError:
        os._exit(0)  # the cell dies with us, by its parent-death signal
    watch.register(owner_handle, select.POLLIN)
    watch.register(os.pidfd_open(cell), select.POLLIN)
    if os.getppid() == owner:  # else the owner died before it could be watched, and the number may be another's
        watch.poll()
    if "pid namespace" in fences.built:
        os.kill(cell, signal.SIGKILL)  # cannot miss: it is ours to reap
        os.waitpid(cell, 0)
    else:
        tree.kill_below(False)
    if fences.scratch_root is not None:
        with contextlib.suppress(OSError):
            remove_tree(fences.scratch_root)
    os._exit(0)


def serve(control: socket.socket, fences: Fences, preload: list[str], calls: bool) -> NoReturn:
    """Fork a template for each program the owner sends, until the owner closes its end; that ends the namespace.

    ``preload`` names modules, and ``calls`` says that the functional prelude is wanted: what is loaded here, all forks
    share; and each pays for its libraries, so a program's own imports are the business of its template.
    """
    import_warm([*COMMON_MODULES, *preload])
    prelude = functional.load_prelude() if calls else None
    site.setquit()
    gc.collect()
    gc.freeze()
    scratch = Scratch(fences)
    control.send(json.dumps({"missing": fences.missing}).encode())
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 8)
        if not packet:
            tree.kill_below("pid namespace" in fences.built)
            os._exit(0)
        run_program(Job(**json.loads(packet)), scratch, descriptors, fences, prelude)
        control.send(b"done")


def import_warm(names: list[str]) -> None:
    """Import what is there of ``names``; all later forks share it."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads do not survive a fork
    for name in names:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    os.environ.clear()


def run_program(
    job: Job, scratch: Scratch, descriptors: list[int], fences: Fences, prelude: functional.Prelude | None
) -> None:
    """Fork the program's template and wait for its end, or for the program's budget to run out; leave nothing of it."""
    path = scratch.make(job.output_bytes)
    pid = os.fork()
    if pid == 0:
        try:
            be_template(job, path, descriptors, fences, prelude)
        finally:
            os._exit(1)
    for descriptor in descriptors:
        os.close(descriptor)  # the last copy of the channel is then the template's: its death shows at once
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + job.budget_s
    poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
    os.close(handle)
    tree.kill_below("pid namespace" in fences.built)
    scratch.remove()
