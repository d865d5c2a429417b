"""System-call filter: calls refused by number or by argument, in an interpreter of its code and in a sandbox."""

import errno
import struct
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Limits, Sandbox
from evaluator.inside.seccomp import (
    ATTRIBUTE_CALLS,
    AUDIT_ARCH,
    DENIED_CALLS,
    SIGNAL_CALLS,
    build_instructions,
    build_rules,
    build_signal_rules,
)

ALLOW = 0x7FFF0000
KILL = 0x80000000
ERRNO = 0x00050000
EPERM = ERRNO | errno.EPERM
MACHINES = ("x86_64", "aarch64")
OTHER_PROCESS = 4711
CALLS = {
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "socketpair": (53, 199),
    "prctl": (157, 167),
    "clone": (56, 220),
    "clone3": (435, 435),
    **DENIED_CALLS,
    **ATTRIBUTE_CALLS,
    **SIGNAL_CALLS,
}
LIMITS = Limits(wall_s=30.0, cpu_s=30.0)
words = st.integers(0, (1 << 32) - 1)
arguments = st.integers(0, (1 << 64) - 1)


def evaluate_filter(instructions, machine, number, *call_arguments):
    """Return the filter's decision on one call, as the kernel's interpreter of classic BPF computes it."""
    values = [value & (1 << 64) - 1 for value in (*call_arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number, AUDIT_ARCH[machine], 0, *values)
    position = 0
    accumulator = 0
    while True:
        code, if_true, if_false, value = instructions[position]
        position += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        else:
            holds = accumulator == value if code == 0x15 else accumulator >= value
            assert code in (0x15, 0x35)
            position += if_true if holds else if_false


FILTERS = {machine: build_instructions(machine, build_rules()) for machine in MACHINES}


def decide(name, *call_arguments, machine="x86_64", rules=None):
    instructions = FILTERS[machine] if rules is None else build_instructions(machine, rules)
    return evaluate_filter(instructions, machine, CALLS[name][MACHINES.index(machine)], *call_arguments)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rules", [build_rules(), build_signal_rules(None), build_signal_rules((1, 7))])
def test_filter_fits_the_format(machine, rules):
    instructions = build_instructions(machine, rules)
    assert len(instructions) < 4096
    for position, (code, if_true, if_false, value) in enumerate(instructions):
        assert 0 <= if_true < 256 and 0 <= if_false < 256 and 0 <= value < 1 << 32
        assert position + 1 + max(if_true, if_false) < len(instructions) or code == 0x06


@pytest.mark.parametrize("machine", MACHINES)
@given(number=words, values=st.lists(arguments, min_size=6, max_size=6))
def test_other_calls_are_allowed_whatever_their_arguments(machine, number, values):
    instructions = FILTERS[machine]
    known = {numbers[MACHINES.index(machine)] for numbers in CALLS.values()} - {
        numbers[MACHINES.index(machine)] for numbers in SIGNAL_CALLS.values()
    }
    expected = EPERM if number >= 1 << 30 else ALLOW
    if number not in known:
        assert evaluate_filter(instructions, machine, number, *values) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("value", [0, 1, (1 << 64) - 1])
def test_denied_calls_fail_whatever_their_arguments(machine, value):
    instructions = FILTERS[machine]
    errors = {
        **dict.fromkeys(DENIED_CALLS, errno.EPERM),
        **dict.fromkeys(ATTRIBUTE_CALLS, errno.EOPNOTSUPP),
        "clone3": errno.ENOSYS,
    }
    for name, error in errors.items():
        number = CALLS[name][MACHINES.index(machine)]
        assert evaluate_filter(instructions, machine, number, *[value] * 6) == ERRNO | error, name


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_end_the_process(machine):
    instructions = FILTERS[machine]
    other = MACHINES[1 - MACHINES.index(machine)]
    assert evaluate_filter(instructions, other, 0) == KILL


@given(pid=words, new=arguments, high=words)
def test_limits_of_another_process_can_only_be_read(pid, new, high):
    expected = EPERM if pid and new else ALLOW
    assert decide("prlimit64", pid | high << 32, 0, new, 1) == expected


@pytest.mark.parametrize("new", [1, 1 << 32, 1 << 63])
def test_both_halves_of_a_pointer_are_checked(new):
    assert decide("prlimit64", OTHER_PROCESS, 0, new) == EPERM


@pytest.mark.parametrize(
    "name",
    ["sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr", "migrate_pages", "move_pages"],
)
@given(pid=words, values=st.lists(arguments, min_size=3, max_size=3))
def test_scheduling_can_only_be_set_for_the_calling_thread(name, pid, values):
    assert decide(name, pid, *values) == (EPERM if pid else ALLOW)


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("setpriority", (0, 0, 19), True),
        ("setpriority", (0, OTHER_PROCESS, 19), False),
        ("setpriority", (1, 0, 19), False),
        ("setpriority", (2, 0, 19), False),
        ("ioprio_set", (1, 0, 0), True),
        ("ioprio_set", (1, OTHER_PROCESS, 0), False),
        ("ioprio_set", (2, 0, 0), False),
        ("ioprio_set", (3, 0, 0), False),
        *[("fcntl", (3, command, 1), False) for command in (8, 10, 15, 1031)],
        # Among them all locks (5-7, 36-38), F_SETFL (4), F_GETOWN (9), F_GETPIPE_SZ (1032) and seals (1033).
        *[("fcntl", (3, command, 1), True) for command in (0, 1, 2, 3, 4, 5, 6, 7, 9, 36, 37, 38, 1030, 1032, 1033)],
        *[("ioctl", (3, request, 0), request not in (0x8901, 0x8902)) for request in (0x5421, 0x8901, 0x8902, 0x5413)],
        *[("socketpair", (1, kind | flags, 0), True) for kind in (1, 5) for flags in (0, 0x800, 0x80000, 0x80800)],
        *[("socketpair", (1, kind | flags, 0), False) for kind in (2, 3) for flags in (0, 0x800, 0x80000, 0x80800)],
        ("socketpair", (30, 1, 0), False),
        ("prctl", (4, 1), True),
        ("prctl", (4, 0), False),
        ("prctl", (4, 2), False),
        ("prctl", (3, 0), True),
        ("prctl", (15, 1234), True),
        ("prctl", (62, 1, OTHER_PROCESS), False),
        ("clone", (0x11,), True),
        *[("clone", (0x11 | flag,), False) for flag in (0x20000, 0x10000000, 0x20000000, 0x40000000)],
        *[(name, (OTHER_PROCESS, 9), True) for name in SIGNAL_CALLS],
    ],
)
@pytest.mark.parametrize("machine", MACHINES)
def test_calls_are_refused_by_argument(name, values, allowed, machine):
    assert decide(name, *values, machine=machine) == (ALLOW if allowed else EPERM)


@pytest.mark.parametrize("name", SIGNAL_CALLS)
def test_signals_can_be_refused_for_all_or_for_some_processes(name):
    assert decide(name, 5, 9, rules=build_signal_rules(None)) == EPERM
    protecting = build_signal_rules((1, 7))
    assert decide(name, 7, 9, rules=protecting) == EPERM
    assert decide(name, 1, 9, rules=protecting) == EPERM
    assert decide(name, 8, 9, rules=protecting) == (EPERM if name == "pidfd_send_signal" else ALLOW)


@pytest.mark.parametrize("target", [-1, -7])
def test_signals_to_groups_of_protected_processes_are_refused(target):
    assert decide("kill", target, 9, rules=build_signal_rules((1, 7))) == EPERM
    assert decide("kill", 0, 9, rules=build_signal_rules((1, 7))) == ALLOW  # the caller's own group


@pytest.fixture(
    scope="module",
    params=[(), ("user namespace", "uid"), ("landlock signals",)],
    ids=["all fences", "no namespaces", "older kernel"],
)
def any_sandbox(request):
    with Sandbox(without=request.param) as sandbox:
        yield sandbox


def run(sandbox, source):
    with sandbox.load_program(textwrap.dedent(source), LIMITS) as program:
        return program.run(b"")


HONEST_PROGRAMS = {
    "asyncio": """
        import asyncio
        async def main():
            process = await asyncio.create_subprocess_exec('/bin/echo', 'a', stdout=asyncio.subprocess.PIPE)
            output, _ = await process.communicate()
            return output.strip(), await asyncio.to_thread(len, 'bc')
        assert asyncio.run(main()) == (b'a', 2)
        """,
    "multiprocessing": """
        import multiprocessing
        context = multiprocessing.get_context('fork')
        here, there = context.Pipe()
        process = context.Process(target=lambda: there.send([1, 2]))
        process.start()
        assert here.recv() == [1, 2]
        process.join()
        assert process.exitcode == 0
        """,
    "sqlite3": """
        import sqlite3
        with sqlite3.connect('data') as connection:
            connection.execute('create table t (n)')
            connection.execute('insert into t values (7)')
        assert sqlite3.connect('data').execute('select n from t').fetchall() == [(7,)]
        """,
    "shutil.copystat": """
        import os, shutil
        open('a', 'w').write('x')
        os.utime('a', (1, 2))
        shutil.copy2('a', 'b')
        assert os.stat('b').st_mtime == 2
        """,
    "setrlimit": """
        import resource
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, hard))
        resource.prlimit(0, resource.RLIMIT_STACK, (1 << 19, hard))
        assert resource.getrlimit(resource.RLIMIT_STACK)[0] == 1 << 19
        """,
    "limits of itself by its id": "import os, resource\nassert resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE)",
    "threads": """
        import threading
        done = []
        threads = [threading.Thread(target=done.append, args=[n]) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert sorted(done) == list(range(8))
        """,
    "scheduling of itself": """
        import os
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.nice(1)
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))
        """,
    "locks": """
        import fcntl
        with open('a', 'w') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.lockf(file, fcntl.LOCK_EX)
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL))
        """,
    "stream sockets": """
        import socket
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            a, b = socket.socketpair(socket.AF_UNIX, kind)
            a.setblocking(False)
            b.send(b'x')
            assert a.recv(1) == b'x'
        """,
    "memory files": """
        import mmap, os
        file = os.memfd_create('m')
        os.ftruncate(file, 1 << 20)
        mmap.mmap(file, 1 << 20)[5] = 1
        assert os.pread(file, 1, 5) == b'\\x01'
        """,
    "sessions": "import os\nif os.fork() == 0:\n  os.setsid()\n  os._exit(3)\nassert os.wait()[1] == 3 << 8",
    "name of the process": "import ctypes\nassert ctypes.CDLL(None).prctl(15, b'name', 0, 0, 0) == 0",
    "signals to itself": """
        import os, signal, threading
        if os.path.exists('/proc/self'):
            seen = []
            signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
            signal.raise_signal(signal.SIGUSR1)
            assert seen == [1]
        """,
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", HONEST_PROGRAMS)
def test_honest_programs_work(any_sandbox, name):
    result = run(any_sandbox, HONEST_PROGRAMS[name])
    assert (result.exit_code, result.stderr) == (0, "")


REFUSED_ACTIONS = {
    "limits of its template": "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "limits of process 1": "resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))",
    "scheduling of its template": "os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0))",
    "processors of its template": "os.sched_setaffinity(os.getppid(), {0})",
    "priority of its template": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "priority of its user": "os.setpriority(os.PRIO_USER, 0, 19)",
    "priority of its group": "os.setpriority(os.PRIO_PGRP, 0, 19)",
    "owner of a descriptor": "fcntl.fcntl(socket.socketpair()[0], fcntl.F_SETOWN, os.getppid())",
    "signal of a descriptor": "fcntl.fcntl(socket.socketpair()[0], fcntl.F_SETSIG, 9)",
    "owner of a descriptor by ioctl": "fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', os.getppid()))",
    "a large pipe": "fcntl.fcntl(os.pipe()[1], 1031, 1 << 20)",
    "a datagram socket": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "a raw socket, which is a datagram socket": "socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)",
    "hiding its memory": "check(ctypes.CDLL(None, use_errno=True).prctl(4, 0, 0, 0, 0))",
    "watching files": "check(ctypes.CDLL(None, use_errno=True).inotify_init1(0))",
    "killing its template": "os.kill(os.getppid(), 9)",
    "stopping its template": "os.kill(os.getppid(), 19)",
    "stopping its template's group": "os.kill(-os.getppid(), 19)",
    "interrupting process 1": "os.kill(1, 2)",
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", REFUSED_ACTIONS)
def test_actions_on_other_processes_are_refused(any_sandbox, name):
    source = f"""
        import ctypes, fcntl, os, resource, socket, struct
        def check(result):
            if result == -1: raise OSError(ctypes.get_errno(), '')
        try: {REFUSED_ACTIONS[name]}
        except OSError: print('refused')
        """
    assert run(any_sandbox, source).stdout == b"refused\n"


def test_extended_attributes_are_not_supported(any_sandbox):
    source = """
        import errno, os
        open('a', 'w')
        for target in ('a', '.', 0, 1, 2):
            try: os.setxattr(target, 'user.mark', b'x')
            except OSError as error: print(error.errno == errno.EOPNOTSUPP)
        """
    assert run(any_sandbox, source).stdout == b"True\n" * 5
