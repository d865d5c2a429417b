"""Sandbox: what programs can do, their limits and fences, and the removal of everything that they leave."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from evaluator import CompileError, Limits, Sandbox, SandboxError
from evaluator.judging import MAX_QUOTING_FACTOR, compute_max_compared_length
from evaluator.sandbox import BudgetExceeded

LIMITS = Limits(wall_s=20.0, cpu_s=20.0)
SHORT_LIMITS = Limits(wall_s=2.0, cpu_s=5.0)
NAMESPACE_FENCES = ("user namespace", "uid")


@pytest.fixture(scope="module", params=[(), NAMESPACE_FENCES], ids=["all fences", "no namespaces"])
def any_sandbox(request):
    with Sandbox(without=request.param) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def run(sandbox, source, stdin="", limits=LIMITS):
    with sandbox.load_program(textwrap.dedent(source), limits) as program:
        return program.run(stdin.encode())


def find_processes(text):
    """Return the ids of the host's processes whose command line contains ``text``."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in command and int(entry.name) != os.getpid():
                pids.append(int(entry.name))
    return pids


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not met in {seconds} s"
        time.sleep(0.02)


def make_unique_sleep_seconds(number):
    """Return seconds to sleep, as text that no other process has on its command line, different for each ``number``."""
    return f"98{os.getpid()}.{number}"


def make_escaping_program(seconds, then="pass"):
    """Return a program whose sleeping descendants leave its session by double fork and exec."""
    return f"""
        import os, signal, time
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execv('/bin/sleep', ['sleep', '{seconds}'])
                os._exit(0)
        time.sleep(0.2)
        print('done', flush=True)
        {then}
    """


INPUT_READERS = {
    "input": "print(input(), input())",
    "sys.stdin": "import sys; print(sys.stdin.readline().strip(), sys.stdin.read().strip())",
    "buffer": "import sys; print(*[x.decode().strip() for x in sys.stdin.buffer.readlines()])",
    "open(0)": "print(*open(0).read().split())",
    "os.read": "import os; print(*os.read(0, os.fstat(0).st_size).decode().split())",
    "/dev/stdin": "print(*open('/dev/stdin').read().split())",
    "from sys": "from sys import stdin\nprint(*map(str.strip, stdin))",
}


@pytest.mark.parametrize("how", INPUT_READERS)
def test_program_can_read_its_input(any_sandbox, how):
    assert run(any_sandbox, INPUT_READERS[how], "1\n2\n").stdout == b"1 2\n"


CLEAN_EXITS = {
    "exit()": "print(1)\nexit()",
    "quit()": "print(1)\nquit()",
    "SystemExit": "print(1)\nraise SystemExit",
    "sys.exit(0)": "import sys\nprint(1)\nsys.exit(0)",
    "atexit": "import atexit\natexit.register(print, 1)",
    "printing thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.05), print(1))).start()",
    "os._exit": "import os\nprint(1, flush=True)\nos._exit(0)",
    "unflushed file": "f = open(1, 'w', closefd=False)\nf.write('1\\n')",
    "closed stdin": "import os\nos.close(0); print(1)",
    "closed stdout": "import sys\nprint(1); sys.stdout.close()",
    "daemon thread": "import threading as t, time\nt.Thread(target=time.sleep, args=[9], daemon=1).start()\nprint(1)",
    "replaced stdout": "import sys, io\nsys.stdout = io.TextIOWrapper(open(1, 'wb', closefd=False))\nprint(1)",
    "main guard": "def main():\n    print(1)\nif __name__ == '__main__':\n    main()",
}


@pytest.mark.parametrize("how", CLEAN_EXITS)
def test_clean_exit_has_status_0_and_keeps_the_output(sandbox, how):
    result = run(sandbox, CLEAN_EXITS[how])
    assert (result.exit_code, result.stdout) == (0, b"1\n")


@pytest.mark.parametrize(
    ("source", "exit_code"),
    [
        ("1 / 0", 1),
        ("import sys; sys.exit(7)", 7),
        ("exit('no')", 1),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
        ("import os; print(1); os.close(1)", 120),
    ],
)
def test_failing_program_has_its_exit_code(sandbox, source, exit_code):
    result = run(sandbox, source)
    assert result.exit_code == exit_code
    assert not result.timed_out


def test_stderr_contains_the_exception(sandbox):
    assert run(sandbox, "raise ValueError('because')").stderr.endswith("ValueError: because\n")


def test_deep_recursion(sandbox):
    source = """
        import sys, threading
        from functools import lru_cache
        sys.setrecursionlimit(10**7)
        @lru_cache(None)
        def f(n): return 0 if n == 0 else 1 + f(n - 1)
        print(f(30_000))
        threading.stack_size(512 << 20)
        def g(n): return 0 if n == 0 else 1 + g(n - 1)
        thread = threading.Thread(target=lambda: print(g(100_000)))
        thread.start()
        thread.join()
    """
    assert run(sandbox, source).stdout == b"30000\n100000\n"


def test_preloaded_modules_can_be_imported():
    pytest.importorskip("sortedcontainers")
    source = "import numpy as np, sortedcontainers as s\nprint(np.arange(3).sum(), s.SortedList([2, 1])[0])"
    with Sandbox(("numpy", "sortedcontainers")) as heavy_sandbox:
        assert run(heavy_sandbox, source).stdout == b"3 1\n"


def test_each_run_starts_in_a_clean_state(any_sandbox):
    source = """
        import math, os, sys
        print(hasattr(math, 'seen'), os.listdir('.'), 'seen' in globals(), len(os.environ), sys.argv, __name__)
        math.seen = seen = True
        open('left', 'w').write('x')
    """
    for _ in range(2):
        with any_sandbox.load_program(textwrap.dedent(source), LIMITS) as program:
            assert program.run(b"").stdout == b"False [] False 0 ['main.py'] __main__\n"
            assert program.dirty


def test_template_runs_a_program_many_times(any_sandbox):
    source = "import math\nprint(int(input()) * 2, hasattr(math, 'seen'))\nmath.seen = 1"
    with any_sandbox.load_program(source, LIMITS) as program:
        for number in range(20):
            assert program.run(b"%d\n" % number).stdout == b"%d False\n" % (2 * number)
            assert program.alive and not program.dirty


def test_used_up_budget_ends_the_program(sandbox):
    limits = Limits(wall_s=5, cpu_s=5, budget_s=0.4)
    with pytest.raises(BudgetExceeded), sandbox.load_program("import time\ntime.sleep(0.25)", limits) as program:
        for _ in range(9):
            program.run(b"")
    assert run(sandbox, "print(1)").stdout == b"1\n"


def test_random_seed_is_the_same_in_every_run(sandbox):
    source = "import os, random\nprint(random.random(), flush=True)\nos.fork() and os.wait() or print(random.random())"
    first, second = (run(sandbox, source).stdout.split() for _ in range(2))
    assert first[0] == second[0]
    assert first[1] != second[1]  # a process forked by the program has another random state


def test_only_four_descriptors_are_open(any_sandbox):
    assert run(any_sandbox, "import os; print(len(os.listdir('/proc/self/fd')))").stdout == b"4\n"


@pytest.mark.heavy
def test_hash_seed_is_fixed():
    source = "print(hash('a'), list({'alpha', 'beta', 'gamma', 'delta'}))"
    outputs = []
    for _ in range(2):
        with Sandbox() as new_sandbox:
            outputs.append(run(new_sandbox, source).stdout)
    assert outputs[0] == outputs[1]


def test_fences_refuse_forbidden_actions(sandbox):
    if sandbox.missing_fences:
        pytest.skip(f"this host refuses {', '.join(sandbox.missing_fences)}")
    source = """
        import os, socket
        def refused(action):
            try: action()
            except OSError: return True
            return False
        print(os.getpid() < 10_000, os.geteuid() != 0)
        print(*[refused(lambda: open(path, 'w')) for path in ('/x', '/usr/lib/x', '/proc/self/x')])
        print(*[refused(lambda: os.kill(pid, 0)) for pid in (1, os.getppid())])
        print(*[refused(lambda: socket.socket(family)) for family in (socket.AF_INET, socket.AF_UNIX)])
        print(*[p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()], 'alone')
        print(*[os.path.exists(path) for path in ('/etc', '/home', '/sys', '/root/.ssh', '/opt')])
        print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('NoNewPrivs', 'CapEff', 'CapPrm'))])
    """
    assert run(sandbox, source).stdout.decode().splitlines() == [
        "True True",
        "True True True",
        "True True",
        "True True",
        "alone",
        "False False False False False",
        "['0000000000000000', '0000000000000000', '1']",
    ]


@pytest.mark.heavy
@pytest.mark.parametrize("then", ["pass", "time.sleep(99)"], ids=["program ends", "program stays"])
def test_escaped_processes_are_killed_after_the_test(any_sandbox, then):
    seconds = make_unique_sleep_seconds(1)
    result = run(any_sandbox, make_escaping_program(seconds, then), limits=LIMITS if then == "pass" else SHORT_LIMITS)
    assert result.stdout == b"done\n"
    assert result.timed_out == (then != "pass")
    assert find_processes(seconds) == []


@pytest.mark.heavy
def test_fork_bomb_is_ended(sandbox):
    source = """
        import os
        while True:
            try: os.fork()
            except OSError: pass
    """
    assert run(sandbox, source, limits=Limits(wall_s=0.3)).timed_out
    assert run(sandbox, "print(1)").stdout == b"1\n"


@pytest.mark.heavy
def test_wall_limit_ends_a_stopped_program(any_sandbox):
    result = run(any_sandbox, "import signal, os\nos.kill(os.getpid(), signal.SIGSTOP)", limits=Limits(wall_s=0.3))
    assert result.timed_out


@pytest.mark.heavy
def test_cpu_limit_ends_a_loop(sandbox):
    result = run(sandbox, "while True: pass", limits=Limits(wall_s=60, cpu_s=1))
    assert result.exit_code in {-signal.SIGXCPU, -signal.SIGKILL}  # of the kernel, of the sandbox: whichever is first
    assert 0.5 < result.cpu_s < 2


def test_memory_is_limited_and_measured(sandbox):
    result = run(sandbox, "x = bytearray(10 << 30)")
    assert result.exit_code == 1
    assert "MemoryError" in result.stderr
    assert run(sandbox, "x = b'x' * (200 << 20)").memory_mb > 200


@pytest.mark.parametrize("write", ["print('x' * 65536)", "os.write(1, b'x' * 65536)"])
def test_endless_output_is_cut_at_the_limit(sandbox, write):
    limits = Limits(output_bytes=1 << 20)
    result = run(sandbox, f"import os\nwhile True: {write}", limits=limits)
    assert len(result.stdout) == 1 << 20
    assert result.exit_code == -signal.SIGKILL


def test_large_stderr_neither_blocks_nor_counts_as_output(sandbox):
    result = run(sandbox, "import sys\nfor _ in range(20000): print('x' * 100, file=sys.stderr)\nprint(1)")
    assert (result.exit_code, result.stdout) == (0, b"1\n")
    assert len(result.stderr) <= 2000


@pytest.mark.parametrize(
    "source", ["print(", "x = '\x00'", "x = '\ud800'", "return 1", "  x = 1", "(" * 3000 + ")" * 3000]
)
def test_invalid_source_raises_compile_error(sandbox, source):
    with sandbox.load_program(source, LIMITS) as program, pytest.raises(CompileError):
        program.run(b"")
    with sandbox.load_program(source, LIMITS, "f") as program, pytest.raises(CompileError), program.start_calls(30):
        pass


def test_one_process_answers_many_calls(sandbox):
    source = "print('loaded')\ndef add(a, b): return a + b"
    with sandbox.load_program(source, LIMITS, "add") as program, program.start_calls(30) as calls:
        assert [calls.call(f"{i}\n1").text for i in range(50)] == [str(i + 1) for i in range(50)]
        assert calls.call('"a"\n1').kind == "error"
        assert calls.call("1\n1").text == "2"
    assert program.last_result.memory_mb > 1


def test_output_of_calls_is_not_limited(sandbox):
    source = "def f(n):\n    for i in range(n): print('x' * 10_000)\n    return n"
    limits = Limits(wall_s=60, cpu_s=60, output_bytes=1 << 20)
    with sandbox.load_program(source, limits, "f") as program, program.start_calls(30) as calls:
        assert [calls.call("200").text for _ in range(3)] == ["200"] * 3


def test_output_has_its_order_and_no_limit_of_a_pipe(sandbox):
    source = "import os\nfor i in range(30_000):\n  print(i, flush=True)\n  os.write(1, b'-\\n')"
    result = run(sandbox, source)
    assert (result.exit_code, result.stdout) == (0, b"".join(b"%d\n-\n" % i for i in range(30_000)))


def test_program_that_closed_its_output_runs_on(sandbox):
    result = run(sandbox, "import os, time\nprint(1, flush=True)\nos.close(1)\ntime.sleep(0.3)\nos._exit(5)")
    assert (result.exit_code, result.stdout) == (5, b"1\n")


def test_program_that_writes_all_the_time_meets_its_wall_limit(sandbox):
    result = run(sandbox, "while True: print(1, flush=True)", limits=Limits(wall_s=0.3, cpu_s=20))
    assert result.timed_out


def test_forged_frame_is_not_a_reply(sandbox):
    source = """
        import os, json
        def add(a, b):
            reply = json.dumps(['0' * 16, 'value', '3']).encode()
            os.write(3, len(reply).to_bytes(8, 'big') + reply)
            os._exit(0)
    """
    with sandbox.load_program(textwrap.dedent(source), LIMITS, "add") as program, program.start_calls(30) as calls:
        assert calls.call("1\n2").kind == "exited"


def test_reply_larger_than_the_limit_is_not_read(sandbox):
    source = "def f(n): return 'x' * n"
    with sandbox.load_program(source, LIMITS, "f") as program, program.start_calls(30) as calls:
        assert calls.call("10", 1000).kind == "value"
        assert calls.call("2000", 1000).kind == "too_long"


@pytest.mark.parametrize("expected", ["", "x" * 1000, "é" * 1000])
def test_reply_may_be_eight_times_as_long_as_the_expected_output(expected):
    longest = json.dumps(json.dumps(expected * 8 + "x" * (1 << 20)))
    assert len(longest) <= MAX_QUOTING_FACTOR * compute_max_compared_length(expected)


TRACES = """
import fcntl, os
seen = [os.fstat(n).st_mtime for n in (0, 1, 2)] + [os.stat('.').st_mtime]
flags = [fcntl.fcntl(n, fcntl.F_GETFL) & os.O_APPEND for n in (0, 1, 2)]
print(5 in seen, 0o123 in [os.fstat(n).st_mode & 0o777 for n in (0, 1, 2)], any(flags), os.listdir('.'))
for n in (0, 2):  # 1 is a pipe, which is new in each test
    try:
        os.fchmod(n, 0o123)
        os.utime(n, (5, 5))
    except PermissionError:  # files of another user, where the sandbox has a user of its own
        pass
    fcntl.fcntl(n, fcntl.F_SETFL, os.O_APPEND)
{last}
"""


@pytest.mark.parametrize("last", ["pass", "os.utime('.', (5, 5))", "os.chmod('.', 0)", "os.mkdir('d', 0)"])
def test_traces_do_not_reach_the_next_test(any_sandbox, last):
    for _ in range(2):
        with any_sandbox.load_program(TRACES.format(last=last), LIMITS) as program:
            for _ in range(2 if last == "pass" else 1):  # a program that left traces is loaded again
                assert program.run(b"").stdout == b"False False False []\n"
            assert program.dirty == (last != "pass")


@pytest.mark.parametrize(
    "change", ["pass", "open('main.py', 'a').write('#')", "os.utime('main.py')", "os.remove('main.py')"]
)
def test_file_of_the_program_is_the_same_in_each_test(any_sandbox, change):
    source = f"import multiprocessing, os\nprint(os.listdir('.'), len(open(__file__).read()))\n{change}"
    for _ in range(2):
        with any_sandbox.load_program(source, LIMITS) as program:
            assert program.run(b"").stdout == b"['main.py'] %d\n" % len(source)
            assert program.dirty == (change != "pass")


def test_killed_zygote_is_restarted(sandbox):
    run(sandbox, "print(1)")
    guard_pid = sandbox.guard_pid
    os.kill(guard_pid, signal.SIGKILL)
    with pytest.raises(SandboxError):
        wait_until(lambda: run(sandbox, "print(1)") is None)
    assert run(sandbox, "print(1)").stdout == b"1\n"
    assert sandbox.guard_pid != guard_pid


@pytest.mark.heavy
def test_close_ends_the_guard(any_sandbox):
    with Sandbox() as other:
        run(other, "print(1)")
        guard_pid = other.guard_pid
    assert not Path(f"/proc/{guard_pid}").exists()


OWNER_SCRIPT = """
import sys
from evaluator import Limits, Sandbox
sandbox = Sandbox(without=tuple(filter(None, sys.argv[2].split(","))))
limits = Limits(wall_s=60, cpu_s=60)
with sandbox.load_program(sys.argv[1], limits) as program:
    print(sandbox.guard_pid, flush=True)
    program.run(b"")
"""


@pytest.mark.heavy
@pytest.mark.parametrize("without", [(), NAMESPACE_FENCES], ids=["all fences", "no namespaces"])
def test_killed_owner_leaves_no_processes(without):
    seconds = make_unique_sleep_seconds(2)
    source = textwrap.dedent(make_escaping_program(seconds, "time.sleep(99)"))
    command = [sys.executable, "-c", OWNER_SCRIPT, source, ",".join(without)]
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
    guard_pid = int(owner.stdout.readline())

    def find_sleeping_processes():
        # The owner's command line contains the program, and so the seconds, as well.
        return [pid for pid in find_processes(f"sleep\x00{seconds}") if pid != owner.pid]

    try:
        wait_until(lambda: len(find_sleeping_processes()) == 3)
    finally:
        owner.kill()
        owner.wait(60)
        owner.stdout.close()
    wait_until(lambda: not find_sleeping_processes() and not Path(f"/proc/{guard_pid}").exists())
