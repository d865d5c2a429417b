"""Limits on processor time, memory and processes of everything that a program starts, whatever it does to hide it."""

import textwrap

import pytest

from evaluator import CompileError, Evaluator, Limits, ProblemTest, Sandbox, Status
from evaluator.inside import resource_monitor
from evaluator.inside.resource_monitor import ProcessSample, ThreadSample, _add_unfinished_wait, _find_lost_cpu_s
from tests.evaluator.problems import make_problem_with_tests

pytestmark = pytest.mark.heavy  # programs that run into limits of seconds
LIMITS = Limits(wall_s=60.0, cpu_s=60.0, memory_mb=256)
CPU_LIMITS = Limits(wall_s=120.0, cpu_s=1.0)
ECHO = make_problem_with_tests(ProblemTest("1\n", "1\n", "stdin"))
IDENTITY = make_problem_with_tests(ProblemTest("1", "1", "functional"), func_name="f")
BURN = "import time\ndef burn(seconds):\n  while time.process_time() < seconds: pass\n"


@pytest.fixture(scope="module", params=[(), ("user namespace", "uid")], ids=["all fences", "no namespaces"])
def any_sandbox(request):
    with Sandbox(without=request.param) as sandbox:
        yield sandbox


def run(sandbox, source, limits=LIMITS):
    with sandbox.load_program(textwrap.dedent(source), limits) as program:
        return program.run(b"")


MEMORY_HOGS = {
    "files in memory": """
        import os, time
        kept = [os.memfd_create('m') for _ in range(24)]
        for file in kept:
            for _ in range(60): os.write(file, b'x' * (1 << 20))
        time.sleep(60)
        """,
    "files in memory, unmapped": """
        import mmap, os, time
        kept = []
        for _ in range(24):
            kept.append(os.memfd_create('m'))
            os.ftruncate(kept[-1], 60 << 20)
            with mmap.mmap(kept[-1], 60 << 20) as view: view[:] = bytes(60 << 20)
        time.sleep(60)
        """,
    "shared mappings without resident pages": """
        import mmap, time
        kept = []
        for _ in range(6):
            kept.append(mmap.mmap(-1, 100 << 20))
            kept[-1][:] = bytes(100 << 20)
            kept[-1].madvise(mmap.MADV_DONTNEED)
        time.sleep(60)
        """,
    "children that hide": """
        import ctypes, os, time
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        for n in range(12):
            if os.fork() == 0:
                block = b'x' * (40 << 20)
                time.sleep(60)
        time.sleep(60)
        """,
    "socket buffers": """
        import os, socket, time
        for _ in range(12):
            if os.fork() == 0:
                kept = [socket.socketpair() for _ in range(100)]
                for end in sum(kept, ()):
                    end.setblocking(False)
                    try:
                        while True: end.send(bytes(65536))
                    except BlockingIOError: pass
                time.sleep(60)
        time.sleep(60)
        """,
}


@pytest.mark.parametrize("name", MEMORY_HOGS)
def test_memory_is_limited_wherever_it_is(any_sandbox, name):
    result = run(any_sandbox, MEMORY_HOGS[name])
    assert result.memory_mb > LIMITS.memory_mb and not result.timed_out
    assert result.exit_code != 0


MEMORY_USERS = {
    "a file in memory, also mapped": """
        import mmap, os, time
        file = os.memfd_create('m')
        os.ftruncate(file, 60 << 20)
        view = mmap.mmap(file, 60 << 20)
        view[:] = bytes(60 << 20)
        shared = mmap.mmap(-1, 100 << 20)
        shared[:] = bytes(100 << 20)
        if os.fork() == 0:
            time.sleep(1)
            os._exit(view[5] + shared[5])
        assert os.wait()[1] == 0
        """,
    "children with shared pages": """
        import os, time
        block = b'x' * (100 << 20)
        for _ in range(8):
            if os.fork() == 0:
                time.sleep(1)
                os._exit(0)
        for _ in range(8): os.wait()
        """,
    "much input and output": """
        import os, time
        os.write(1, bytes(60 << 20))
        time.sleep(0.5)
        """,
}


@pytest.mark.parametrize("name", MEMORY_USERS)
def test_memory_is_not_counted_twice(any_sandbox, name):
    result = run(any_sandbox, MEMORY_USERS[name])
    assert (result.exit_code, result.timed_out) == (0, False), result.stderr
    assert result.memory_mb <= LIMITS.memory_mb


CPU_HOGS = {
    "children that it waits for": """
        import os
        while True:
            if os.fork() == 0:
                burn(0.2)
                os._exit(0)
            os.wait()
        """,
    "children that nobody waits for": """
        import os, signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if os.fork() == 0:
                burn(0.4)
                os._exit(0)
            try: os.wait()
            except OSError: pass
        """,
    "children in sessions of their own": """
        import os
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                burn(999)
        os.wait()
        """,
    "a handler for the limit": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nburn(999)",
    "threads": "import threading\nfor _ in range(4): threading.Thread(target=burn, args=[999]).start()",
}


@pytest.mark.parametrize("name", CPU_HOGS)
def test_processor_time_of_all_processes_is_limited_together(any_sandbox, name):
    result = run(any_sandbox, BURN + textwrap.dedent(CPU_HOGS[name]), CPU_LIMITS)
    assert result.exit_code in (-9, -24)
    assert result.cpu_s > 0.8 * CPU_LIMITS.cpu_s  # the kernel rounds it
    assert not run(any_sandbox, BURN + "burn(0.5)", CPU_LIMITS).timed_out


SLEEPERS = {
    "alone": "import time\ntime.sleep(99)",
    "beside a child that computes": "import os, time\nif os.fork() == 0: burn(99)\ntime.sleep(99)",
    "behind children on one processor": """
        import os, time
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for _ in range(4):
            if os.fork() == 0: burn(99)
        time.sleep(99)
        """,
    "with a thread that nothing wakes up but idle time": """
        import os, threading, time
        if os.fork() == 0: burn(99)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        threading.Thread(target=burn, args=[99]).start()
        time.sleep(99)
        """,
    "stopped": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.parametrize("name", SLEEPERS)
def test_program_that_does_not_compute_is_stopped(any_sandbox, name):
    result = run(any_sandbox, BURN + textwrap.dedent(SLEEPERS[name]), Limits(wall_s=1.0, cpu_s=60.0))
    assert result.timed_out and result.cpu_s < 60


@pytest.mark.parametrize("problem", [ECHO, IDENTITY], ids=["program", "function"])
def test_crowded_programs_within_their_processor_time_pass(problem):
    code = BURN + ("burn(0.8)\nprint(input())" if problem is ECHO else "def f(x):\n  burn(0.8)\n  return x")
    with Evaluator(Limits(wall_s=1.0, cpu_s=1.0), workers=8) as evaluator:
        futures = [evaluator.submit(problem, code) for _ in range(8)]
        sleeper = evaluator.submit(problem, "import time\ntime.sleep(99)\ndef f(x): return x")
        assert [future.result().detail for future in futures if not future.result().passed] == []
        assert sleeper.result().status is Status.TIME_LIMIT


def test_number_of_processes_is_limited(any_sandbox):
    source = """
        import os, time
        made = 0
        try:
            while made < 300:
                if os.fork() == 0: time.sleep(99)
                made += 1
                time.sleep(0.005)
        except OSError: pass
        print(made)
        """
    result = run(any_sandbox, source)
    assert result.exit_code == -9 or int(result.stdout) < 64


def nest_finally(depth):
    lines = [f"{'    ' * level}{word}" for level in range(1, depth) for word in ("try: x", "finally:")]
    return "\n".join([*lines, "    " * depth + "x"])


@pytest.mark.parametrize("func_name", [None, "f"])
@pytest.mark.parametrize("memory_mb", [128, 4096])
def test_source_that_expands_when_it_is_compiled_is_a_compile_error(any_sandbox, func_name, memory_mb):
    source = "\n".join(f"def f{number}():\n{nest_finally(18)}" for number in range(60))
    limits = Limits(wall_s=2.0, cpu_s=2.0, memory_mb=memory_mb)
    with pytest.raises(CompileError), any_sandbox.load_program(source, limits, func_name) as program:
        if func_name is None:
            program.run(b"")
        with program.start_calls(2.0):
            pass
    assert run(any_sandbox, "print(1)").stdout == b"1\n"


def make_process(pid, cpu_s, children_cpu_s=0.0):
    return ProcessSample(pid=pid, cpu_s=cpu_s, children_cpu_s=children_cpu_s, threads=1, resident=0)


def test_time_of_processes_that_are_gone_is_lost_unless_another_waited_for_them():
    before = {(1, 0): make_process(1, 1.0), (2, 0): make_process(2, 3.0)}
    assert _find_lost_cpu_s(before, before) == 0
    assert _find_lost_cpu_s(before, {(1, 0): make_process(1, 1.5)}) == 3.0
    assert _find_lost_cpu_s(before, {(1, 0): make_process(1, 4.5, children_cpu_s=3.1)}) == 0
    # A new process with the same id is another one.
    assert _find_lost_cpu_s(before, {(1, 0): make_process(1, 1.0), (2, 9): make_process(2, 0.0)}) == 3.0


def make_thread(cpu_s, waited_s, is_runnable=True, sleeps=0):
    return ThreadSample(cpu_s=cpu_s, waited_s=waited_s, is_runnable=is_runnable, sleeps=sleeps)


def test_a_wait_counts_before_it_ends_and_only_once():
    first = make_thread(1.0, 2.0)
    second = _add_unfinished_wait(first, make_thread(1.1, 2.0), 0.5)
    assert second.waited_s == pytest.approx(2.4)
    third = _add_unfinished_wait(second, make_thread(1.2, 2.6, is_runnable=False), 0.5)
    assert third.waited_s == pytest.approx(2.6)


@pytest.mark.parametrize("changes", [{"is_runnable": False}, {"sleeps": 1}])
def test_sleeping_is_not_waiting(changes):
    assert _add_unfinished_wait(make_thread(1.0, 2.0), make_thread(1.0, 2.0, **changes), 0.5).waited_s == 2.0


def test_a_process_that_ends_while_it_is_measured_counts_only_with_what_it_held(monkeypatch):
    """Its map can no longer be read, so at first all that was resident counts, files in memory twice."""
    monitor = resource_monitor.ResourceMonitor(0.0, max_memory=256 << 20)
    running = make_stat(resident_pages=(160 << 20) // resource_monitor.PAGE_BYTES)
    answers = iter([{1 << 30: running}, {}])  # no process has such a large id
    monkeypatch.setattr(resource_monitor, "list_descendant_stats", lambda: next(answers))
    monkeypatch.setattr(resource_monitor, "measure_hidden_memory", lambda pids, excluded: (150 << 20, 0))
    monkeypatch.setattr(resource_monitor, "read_threads", lambda pid: [])
    monitor._scan_time = -1.0e9
    monitor.sample()
    assert monitor.memory == 150 << 20


def make_stat(resident_pages):
    """Make fields as ``process_tree.read_stat`` returns them."""
    fields = [b"0"] * 50
    fields[21] = str(resident_pages).encode()
    return fields
