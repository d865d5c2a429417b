"""The program inside the sandbox's interpreter: builds the fences, forks one child a job, ends every process tree.

    owner ──control (SOCK_SEQPACKET)──► cell ──fork──► candidate
      └───── starts ─────► guard ──fork──┘

It is run as a script by ``evaluator.sandbox`` in a fresh interpreter and imports nothing but the standard library.
The *guard* lives outside the new pid namespace and watches the owner; the *cell* is process 1 of that namespace, so the
kernel kills whatever is left when it dies. A candidate cannot signal process 1 and cannot trace it (not dumpable).
A job is one packet, ``{"kind", "func_name", "wall_s", "cpu_s", "memory_mb", "output_bytes", "processes", "files"}``,
with the descriptors [program, stdin, stdout, stderr, (channel)]; every job is answered by exactly one report.
No expected output ever comes here.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import marshal
import math
import os
import resource
import select
import shutil
import signal
import site
import socket
import stat
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
CAP_VERSION_3 = 0x20080522

NOBODY = 65534
SCRATCH = "/tmp"  # becomes a private tmpfs of each job: the working directory
THREAD_STACK = 8 << 20  # bytes; what a thread gets on an ordinary host, whatever RLIMIT_STACK says here
VIRTUAL_HEADROOM_MB = 1024  # address space beyond memory_mb: raised thread stacks reserve far more than they touch
FUNCTIONAL_RECURSION = 550_000  # LeetCode's own limit
CHANNEL_FD = 3

# Imported before the first fork, because a candidate that imports them then pays nothing.
COMMON_MODULES = (
    *("array", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools"),
    *("heapq", "io", "itertools", "json", "math", "operator", "queue", "random", "re", "statistics", "string"),
    *("struct", "textwrap", "time", "traceback", "typing"),
)
# Too dear to import always; imported in the cell once a program mentions them, off that program's clock.
MENTIONED_MODULES = ("numpy", "sortedcontainers")

# What LeetCode, and LiveCodeBench's runner, put in front of a solution. ``builtins`` comes last so that math.pow,
# re.compile and io.open do not shadow the built-in functions of those names.
PRELUDE = """
import array, bisect, collections, copy, datetime, decimal, fractions, functools, heapq, io, itertools, json, math
import operator, os, queue, random, re, statistics, string, sys, time, typing
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from typing import *
from builtins import *
import copy, datetime, random, time, bisect
"""

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """A libc function that returns -1 on failure; raises OSError then."""
    result: int = libc[name](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2); raises OSError."""
    call("mount", source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), options.encode())


# --- fences, built once -------------------------------------------------------------------------------------------


class Fences:
    """Builds what the host allows and remembers by name what it refused (``missing``)."""

    def __init__(self, without: list[str]) -> None:
        self.without = without
        self.missing: list[str] = []
        self.built: set[str] = set()
        self.scratch: str | None = None  # where jobs get their directories if no private tmpfs can be mounted

    def attempt(self, name: str, build: Callable[[], object]) -> bool:
        """Run ``build``; False, and the name noted, when the host refuses it (or we were asked to leave it out)."""
        try:
            if name in self.without:
                raise PermissionError(name)
            build()
        except OSError:
            self.missing.append(name)
            return False
        self.built.add(name)
        return True


def raise_stack_and_restart() -> None:
    """Lift the main thread's stack limit as far as allowed; by exec, as a program's start fixes its memory layout."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
        os.execv(sys.executable, sys.orig_argv)


def readable_by(uid: int, paths: list[str]) -> bool:
    """Whether ``uid`` could list all of ``paths``; asked in a child, as only a process of that uid can know."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            for path in paths:
                os.listdir(path)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or lies in it; both absolute."""
    return os.path.commonpath([path, directory]) == directory


def cover(directory: str, keep: list[str], options: str) -> None:
    """Mount an empty tmpfs on ``directory``, with those of ``keep`` that lie beneath it still at their old paths."""
    inside = [path for path in keep if is_below(path, directory)]
    inside = [path for path in inside if not any(is_below(path, other) and path != other for other in inside)]
    handles = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inside]
    try:
        mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, options)
        for path, handle in zip(inside, handles, strict=True):
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                os.makedirs(path, mode=0o755)
                mount(f"/proc/self/fd/{handle}", path, None, MS_BIND | MS_REC)
    finally:
        for handle in handles:
            os.close(handle)


def private_mounts() -> None:
    """A mount namespace of our own, whose changes do not travel back to the host."""
    call("unshare", CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def open_closed_parents(paths: list[str]) -> None:
    """Make ``paths`` reachable for others by covering the first ancestor they may not enter (say a 0700 home)."""
    for path in paths:
        parts = path.split("/")
        for depth in range(2, len(parts) + 1):
            ancestor = "/".join(parts[:depth])
            if not os.stat(ancestor).st_mode & stat.S_IXOTH:
                cover(ancestor, paths, "mode=0755,size=64k")
                break


def drop_root(fences: Fences, paths: list[str]) -> None:
    """Become nobody: root escapes RLIMIT_NPROC and owns too many files. Stays root where the library is then lost."""
    if os.geteuid() != 0:
        return
    if "uid" in fences.without:
        fences.missing.append("uid")
        return
    if not readable_by(NOBODY, paths):
        try:
            private_mounts()
            open_closed_parents(paths)
        except OSError:
            fences.missing.append("uid")
            return
        if not readable_by(NOBODY, paths):
            fences.missing.append("uid")
            return
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    # Changing uid made us undumpable, so /proc/self would belong to root and the uid map could not be written.
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)


def write_file(path: str, text: str) -> None:
    """Write an existing file of /proc."""
    with open(path, "w") as handle:
        handle.write(text)


def new_user_namespace() -> None:
    """A user namespace in which our own uid and gid keep their numbers."""
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", CLONE_NEWUSER)
    write_file("/proc/self/setgroups", "deny")
    write_file("/proc/self/uid_map", f"{uid} {uid} 1")
    write_file("/proc/self/gid_map", f"{gid} {gid} 1")


def enter_namespaces(fences: Fences) -> None:
    """The namespaces shared by all jobs; the cell, forked next, becomes process 1 of the pid namespace."""
    if not fences.attempt("user namespace", new_user_namespace):
        fences.missing += ["pid namespace", "mount namespace", "network namespace", "ipc namespace"]
        return
    fences.attempt("pid namespace", lambda: call("unshare", CLONE_NEWPID))
    fences.attempt("mount namespace", private_mounts)
    fences.attempt("network namespace", lambda: call("unshare", CLONE_NEWNET))
    fences.attempt("ipc namespace", lambda: call("unshare", CLONE_NEWIPC))
    fences.attempt("uts namespace", lambda: call("unshare", CLONE_NEWUTS))


def read_only_root() -> None:
    """Every mount we see becomes read-only; the tmpfs of a job is mounted later and is not."""
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, attributes, ctypes.sizeof(attributes))


def may_fork_under(limit: int) -> bool:
    """Whether a process of ours whose RLIMIT_NPROC is ``limit`` can fork."""
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
            if os.fork() > 0:
                os.wait()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def probe_process_limit() -> None:
    """Raise OSError where RLIMIT_NPROC does not bind (root), or counts all of the user's processes (Linux < 5.14)."""
    if may_fork_under(1) or not may_fork_under(32):
        raise OSError("RLIMIT_NPROC does not count the processes of this namespace")


def settle_cell(fences: Fences) -> None:
    """The fences that only process 1 of the new namespace can build."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if "mount namespace" in fences.built:
        # The host's /proc shows the host's processes and their command lines.
        fences.attempt("private /proc", lambda: mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV))
        if "private /proc" in fences.built:
            fences.attempt("no nested namespaces", lambda: write_file("/proc/sys/user/max_user_namespaces", "0"))
        fences.attempt("read-only root", read_only_root)
    fences.attempt("process limit", probe_process_limit)
    fences.attempt("no_new_privs", lambda: call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    # Same uid, so without this a candidate could trace the cell or read its memory through /proc/1/mem.
    call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


# --- the end of a process tree ------------------------------------------------------------------------------------


def descendants() -> list[int]:
    """All processes below this one, by /proc; used where there is no pid namespace to do it in one call."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as handle:
            # The command name may hold blanks and brackets, so fields are counted from its closing bracket.
            parents[int(name)] = int(handle.read().rpartition(b")")[2].split()[1])
    mine, found = {os.getpid()}, []
    grown = True
    while grown:
        grown = False
        for pid, parent in parents.items():
            if parent in mine and pid not in mine:
                mine.add(pid)
                found.append(pid)
                grown = True
    return found


def reap(flags: int) -> Iterator[tuple[int, int, resource.struct_rusage]]:
    """Dead children as (pid, wait status, usage) until there are none (left to wait for)."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, flags)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status, usage


def kill_everything(whole_namespace: bool) -> list[tuple[int, int, resource.struct_rusage]]:
    """Kill and reap all processes below this one, including those that escaped by double fork or setsid."""
    dead: list[tuple[int, int, resource.struct_rusage]] = []
    if whole_namespace:
        # One atomic sweep: the kernel restarts no fork that has a signal pending, so nothing is born behind it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        dead.extend(reap(0))
        return dead
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        dead.extend(reap(os.WNOHANG))
        if not descendants():
            break
        time.sleep(0.001)
    return dead


# --- the guard and the cell ---------------------------------------------------------------------------------------


def guard(cell: int, owner: int, fences: Fences) -> NoReturn:
    """Wait for the owner or the cell to die, then end the other side. Never returns."""
    call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    watch = select.poll()
    try:
        owner_handle = os.pidfd_open(owner)
    except ProcessLookupError:
        os._exit(0)  # the cell dies with us, by its parent-death signal
    watch.register(owner_handle, select.POLLIN)
    watch.register(os.pidfd_open(cell), select.POLLIN)
    if os.getppid() == owner:  # else the owner died before it could be watched, and the number may be another's
        watch.poll()
    with contextlib.suppress(ProcessLookupError):
        os.kill(cell, signal.SIGKILL)
    if "pid namespace" in fences.built:
        os.waitpid(cell, 0)
    else:
        kill_everything(False)
    if fences.scratch is not None:
        shutil.rmtree(fences.scratch, ignore_errors=True)
    os._exit(0)


def warm(program: bytes) -> None:
    """Import what the program mentions and all later children share."""
    for name in MENTIONED_MODULES:
        if name.encode() in program and name not in sys.modules and importlib.util.find_spec(name) is not None:
            os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads do not survive a fork
            importlib.import_module(name)
            os.environ.clear()
            gc.freeze()


def serve(control: socket.socket, fences: Fences) -> NoReturn:
    """Answer jobs until the owner closes its end; then exit, which ends the namespace."""
    whole_namespace = "pid namespace" in fences.built
    for name in COMMON_MODULES:
        importlib.import_module(name)
    prelude: dict[str, Any] = {"__name__": "__main__"}
    exec(PRELUDE, prelude)
    site.setquit()
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": True, "missing": fences.missing}).encode())
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 65536, 8)
        if not packet:
            kill_everything(whole_namespace)
            os._exit(0)
        job = json.loads(packet)
        if job["kind"] == "end":
            continue  # the job it was meant for ended by itself first
        program = os.pread(descriptors[0], os.fstat(descriptors[0]).st_size, 0)
        warm(program)
        report = run_job(job, program, descriptors, control, fences, prelude)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(json.dumps(report).encode())


def run_job(
    job: dict[str, Any],
    program: bytes,
    descriptors: list[int],
    control: socket.socket,
    fences: Fences,
    prelude: dict[str, Any],
) -> dict[str, Any]:
    """Fork a child for the job, wait for its end, its deadline or the owner's word, kill the tree, and report."""
    ready, announce = os.pipe()
    scratch = None if fences.scratch is None else tempfile.mkdtemp(dir=fences.scratch)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        be_candidate(job | {"scratch": scratch}, program, descriptors, announce, fences, prelude)
    os.close(announce)
    handle = os.pidfd_open(pid)
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    watch.register(control, select.POLLIN)
    events = [fd for fd, _ in watch.poll(max(0.0, job["wall_s"]) * 1000)]
    wall = time.monotonic() - began
    dead = kill_everything("pid namespace" in fences.built)
    status = next((status for dead_pid, status, _ in dead if dead_pid == pid), None)
    setup = os.read(ready, 1000).decode(errors="replace")
    os.close(ready)
    os.close(handle)
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        "setup": setup,
        "exit": None if status is None else os.waitstatus_to_exitcode(status),
        "timed_out": not events,
        "wall_s": wall,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for _, _, usage in dead),
        "memory_mb": max((usage.ru_maxrss for _, _, usage in dead), default=0) / 1024,
    }


# --- the child ----------------------------------------------------------------------------------------------------


def be_candidate(
    job: dict[str, Any],
    program: bytes,
    descriptors: list[int],
    announce: int,
    fences: Fences,
    prelude: dict[str, Any],
) -> NoReturn:
    """In the forked child: close the door behind us, say that the fences stand, then run the job. Never returns."""
    try:
        announce = settle_descriptors(descriptors, announce)
        settle_process(job, fences)
        os.write(announce, b"ok")
    except BaseException as error:  # noqa: BLE001 - whatever fails here is ours, and must not look like the program's
        os.write(announce, repr(error).encode())
        os._exit(1)
    os.close(announce)
    try:
        if job["kind"] == "compile":
            compile_program(program)
        elif job["kind"] == "functional":
            answer_calls(program, job["func_name"], prelude)
        else:
            run_program(program)
    finally:
        os._exit(1)  # only reached if the candidate broke the functions above; it must not return into the cell


def settle_descriptors(descriptors: list[int], announce: int) -> int:
    """Standard descriptors 0-2 and the channel at 3; everything else closed but the returned announcement pipe."""
    # First far away from the numbers that are overwritten below.
    high = [os.dup2(fd, 100 + i, inheritable=False) for i, fd in enumerate(descriptors)]
    pipe = os.dup2(announce, 99, inheritable=False)
    for target, source in enumerate(high[1:]):
        os.dup2(source, target)
    first_unused = len(high) - 1
    os.closerange(first_unused, pipe)
    os.closerange(pipe + 1, 1 << 20)
    return pipe


def settle_process(job: dict[str, Any], fences: Fences) -> None:
    """Session, scratch directory, limits and lost privileges of this one process."""
    os.setsid()
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The cell is not dumpable, and then /proc/self (the way to /dev/stdin) belongs to root. Nothing hostile runs yet.
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    if "ipc namespace" in fences.built:
        call("unshare", CLONE_NEWIPC)  # else shared-memory segments would carry data from test to test
    if "mount namespace" in fences.built:
        call("unshare", CLONE_NEWNS)
        cover(SCRATCH, library_paths(), f"mode=0777,size={job['output_bytes']},nr_inodes=1024")
        os.chdir(SCRATCH)
    else:
        os.chdir(job["scratch"])
    settle_limits(job, "process limit" in fences.built)
    call("capset", (ctypes.c_uint32 * 2)(CAP_VERSION_3, 0), (ctypes.c_uint32 * 6)())
    gc.enable()


def settle_limits(job: dict[str, Any], limit_processes: bool) -> None:
    """rlimits; never above what the host lets us have."""
    cpu = math.ceil(job["cpu_s"])
    wanted = {
        resource.RLIMIT_AS: (job["memory_mb"] + VIRTUAL_HEADROOM_MB) << 20,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_FSIZE: job["output_bytes"],
        resource.RLIMIT_NOFILE: job["files"],
        resource.RLIMIT_CORE: 0,
    }
    if limit_processes:
        wanted[resource.RLIMIT_NPROC] = job["processes"]
    for which, value in wanted.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # The hard CPU limit is a second later, so that the soft one can end the process with a telling signal.
        resource.setrlimit(which, (value, value + 1 if which == resource.RLIMIT_CPU else value))
    threading.stack_size(THREAD_STACK)  # else glibc would take RLIMIT_STACK, which is raised, for every thread


def library_paths() -> list[str]:
    """The directories that imports need."""
    return [path for path in sys.path if os.path.isdir(path)]


def compile_program(source: bytes) -> NoReturn:
    """Write the marshalled code object to stdout, or the reason why there is none to stderr and exit 3."""
    try:
        code = compile(source, "main.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace"))
        os._exit(3)
    data = memoryview(marshal.dumps(code))
    while data:
        data = data[os.write(1, data) :]
    os._exit(0)


def fresh_main(names: dict[str, Any]) -> types.ModuleType:
    """A new ``__main__`` holding ``names``."""
    main = types.ModuleType("__main__")
    main.__dict__.update(names, __name__="__main__", __builtins__=builtins, __file__="main.py")
    sys.modules["__main__"] = main
    sys.argv[:] = ["main.py"]
    return main


def run_program(program: bytes) -> NoReturn:
    """Run a whole program on the real standard descriptors and end as the interpreter would."""
    code = marshal.loads(program)
    main = fresh_main({})
    status = 0
    try:
        exec(code, main.__dict__)
    except SystemExit as error:
        status = exit_status(error)
    except BaseException:  # noqa: BLE001 - the program's own failure, of whatever kind
        sys.excepthook(*sys.exc_info())
        status = 1
    finish(main, status)


def exit_status(error: SystemExit) -> int:
    """What the interpreter makes of a SystemExit: None is 0, an int itself, anything else is printed and 1."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def finish(main: types.ModuleType, status: int) -> NoReturn:
    """The interpreter's last steps (threads, exit hooks, flushes, globals), without tearing down the warm modules."""
    shut_down = threading._shutdown  # type: ignore[attr-defined]
    shut_down()
    atexit._run_exitfuncs()
    status = status or flush_standard_files()
    # A stream that the program put here may need its globals, which are about to go.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    # Files that the program opened and never closed are flushed when they are collected.
    for name in [name for name in main.__dict__ if name != "__builtins__"]:
        main.__dict__[name] = None
    gc.collect()
    status = status or flush_standard_files()
    os._exit(status)


def flush_standard_files() -> int:
    """0, or 120 as the interpreter's exit status when buffered output cannot be written."""
    try:
        for stream in (sys.stdout, sys.__stdout__, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except Exception:  # noqa: BLE001 - the stream may be an object of the program's, and its flush raise anything
        return 120
    return 0


# --- functional problems: calls over a private channel ------------------------------------------------------------


def make_encoder() -> Callable[[object], str]:
    """JSON text of a returned value; numpy scalars are numbers. Raises TypeError or ValueError for what JSON lacks."""
    numpy = sys.modules.get("numpy")

    def default(value: object) -> object:
        if numpy is not None and isinstance(value, numpy.generic):
            return value.item()
        raise TypeError(f"{type(value).__name__} is not a JSON value")

    return json.JSONEncoder(default=default).encode


def answer_calls(program: bytes, func_name: str, prelude: dict[str, Any]) -> NoReturn:
    """Load the candidate, then answer one request a frame ({"nonce", "input"}) until the owner hangs up.

    A reply is ``[nonce, kind, text]`` with kind ``value`` (JSON text), ``error`` or ``type`` (not a JSON value). All
    that is needed is bound to local names before the candidate's code runs, so that patching modules changes nothing.
    """
    encode, decode = make_encoder(), json.JSONDecoder().decode
    read, write, leave, anything, kind_of = os.read, os.write, os._exit, BaseException, type
    sys.setrecursionlimit(FUNCTIONAL_RECURSION)
    main = fresh_main(prelude)
    code = marshal.loads(program)
    try:
        exec(code, main.__dict__)
    except anything:  # includes SystemExit: a solution that exits while it is loaded answers nothing
        sys.excepthook(*sys.exc_info())
        leave(1)
    while True:
        size = read(CHANNEL_FD, 4)
        if not size:
            leave(0)
        data, wanted = b"", int.from_bytes(size, "big")
        while wanted > len(data):
            data += read(CHANNEL_FD, wanted - len(data))
        request = decode(data.decode())
        kind = "error"
        try:
            value = target(main, func_name, prelude)(
                *[decode(line) for line in request["input"].split("\n") if line.strip()]
            )
            kind = "type"  # from here on a failure means that the value is not JSON
            text = encode(value)
            kind = "value"
        except MemoryError as error:
            kind, text = "error", f"MemoryError: {error}"
        except anything as error:  # the candidate's failure, SystemExit included: there is no value
            text = f"{kind_of(error).__name__}: {error}"[:1000]
        reply = encode([request["nonce"], kind, text]).encode()
        frame = memoryview(len(reply).to_bytes(8, "big") + reply)
        while frame:
            frame = frame[write(CHANNEL_FD, frame) :]


def target(main: types.ModuleType, func_name: str, prelude: dict[str, Any]) -> Callable[..., object]:
    """The function to call: a method of a fresh ``Solution``, or a bare function. NameError if there is neither."""
    solution = main.__dict__.get("Solution")
    if isinstance(solution, type) and hasattr(solution, func_name):
        method: Callable[..., object] = getattr(solution(), func_name)
        return method
    function: Callable[..., object] | None = main.__dict__.get(func_name)
    # A prelude's own ``add`` (from operator) is no answer to a problem that asks for one.
    if function is None or function is prelude.get(func_name):
        raise NameError(f"neither Solution.{func_name} nor {func_name} is defined")
    return function


def main() -> NoReturn:
    """Build the fences, fork the cell, and guard it."""
    raise_stack_and_restart()
    config = json.loads(sys.argv[1])
    os.environ.clear()
    sys.path += config["library"]
    gc.disable()
    fences = Fences(config["without"])
    drop_root(fences, library_paths())
    enter_namespaces(fences)
    if "mount namespace" not in fences.built:
        fences.scratch = tempfile.mkdtemp()
    cell = os.fork()
    control = socket.socket(fileno=config["control"])
    if cell == 0:
        try:
            settle_cell(fences)
            serve(control, fences)
        finally:
            os._exit(1)
    control.close()  # only the cell may hold it, or the owner would never see that the cell died
    guard(cell, config["owner"], fences)


if __name__ == "__main__":
    main()
