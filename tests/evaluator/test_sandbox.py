"""What the sandbox lets a program do, and that nothing of it is left afterwards."""

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
from evaluator.sandbox import BudgetSpent, Reply, read_reply

LIMITS = Limits(wall_s=20.0, cpu_s=20.0)
SHORT = Limits(wall_s=2.0, cpu_s=5.0)
DEGRADED = ("user namespace", "uid")


@pytest.fixture(scope="module", params=[(), DEGRADED], ids=["all fences", "no namespaces"])
def any_sandbox(request):
    with Sandbox(without=request.param) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def run(sandbox, source, stdin="", limits=LIMITS):
    with sandbox.program(textwrap.dedent(source), limits) as program:
        return program.run(stdin.encode())


def processes_named(marker):
    """Host processes whose command line holds ``marker``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in command and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


def marker(test):
    """A number of seconds to sleep that no other process has on its command line."""
    return f"98{os.getpid()}.{test}"


def escaping(seconds, then="pass"):
    """A program whose sleeping descendants leave its session by double fork and exec."""
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


READERS = {
    "input": "print(input(), input())",
    "sys.stdin": "import sys; print(sys.stdin.readline().strip(), sys.stdin.read().strip())",
    "buffer": "import sys; print(*[x.decode().strip() for x in sys.stdin.buffer.readlines()])",
    "open(0)": "print(*open(0).read().split())",
    "os.read": "import os; print(*os.read(0, os.fstat(0).st_size).decode().split())",
    "/dev/stdin": "print(*open('/dev/stdin').read().split())",
    "from sys": "from sys import stdin\nprint(*map(str.strip, stdin))",
}


@pytest.mark.parametrize("how", READERS)
def test_ways_to_read(any_sandbox, how):
    assert run(any_sandbox, READERS[how], "1\n2\n").stdout == b"1 2\n"


ENDINGS = {
    "exit()": "print(1)\nexit()",
    "quit()": "print(1)\nquit()",
    "SystemExit": "print(1)\nraise SystemExit",
    "sys.exit(0)": "import sys\nprint(1)\nsys.exit(0)",
    "atexit": "import atexit\natexit.register(print, 1)",
    "thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.05), print(1))).start()",
    "os._exit": "import os\nprint(1, flush=True)\nos._exit(0)",
    "unflushed file": "f = open(1, 'w', closefd=False)\nf.write('1\\n')",
    "closed stdin": "import os\nos.close(0); print(1)",
    "closed stdout": "import sys\nprint(1); sys.stdout.close()",
    "daemon thread": "import threading as t, time\nt.Thread(target=time.sleep, args=[9], daemon=1).start()\nprint(1)",
    "own stdout": "import sys, io\nsys.stdout = io.TextIOWrapper(open(1, 'wb', closefd=False))\nprint(1)",
    "main guard": "def main():\n    print(1)\nif __name__ == '__main__':\n    main()",
}


@pytest.mark.parametrize("how", ENDINGS)
def test_ways_to_end_well(sandbox, how):
    ended = run(sandbox, ENDINGS[how])
    assert (ended.exit_code, ended.stdout) == (0, b"1\n")


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
def test_ways_to_end_badly(sandbox, source, exit_code):
    ended = run(sandbox, source)
    assert ended.exit_code == exit_code
    assert not ended.timed_out


def test_stderr_tells_why(sandbox):
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


def test_numpy_and_sorted_containers():
    pytest.importorskip("sortedcontainers")
    source = "import numpy as np, sortedcontainers as s\nprint(np.arange(3).sum(), s.SortedList([2, 1])[0])"
    with Sandbox(("numpy", "sortedcontainers")) as heavy:
        assert run(heavy, source).stdout == b"3 1\n"


def test_each_run_is_fresh(any_sandbox):
    source = """
        import math, os, sys
        print(hasattr(math, 'seen'), os.listdir('.'), 'seen' in globals(), len(os.environ), sys.argv, __name__)
        math.seen = seen = True
        open('left', 'w').write('x')
    """
    for _ in range(2):
        with any_sandbox.program(textwrap.dedent(source), LIMITS) as program:
            assert program.run(b"").stdout == b"False [] False 0 ['main.py'] __main__\n"
            assert program.dirty


def test_a_template_runs_a_program_many_times(any_sandbox):
    source = "import math\nprint(int(input()) * 2, hasattr(math, 'seen'))\nmath.seen = 1"
    with any_sandbox.program(source, LIMITS) as program:
        for number in range(20):
            assert program.run(b"%d\n" % number).stdout == b"%d False\n" % (2 * number)
            assert program.alive and not program.dirty


def test_the_budget_ends_a_program(sandbox):
    limits = Limits(wall_s=5, cpu_s=5, budget_s=0.4)
    with pytest.raises(BudgetSpent), sandbox.program("import time\ntime.sleep(0.25)", limits) as program:
        for _ in range(9):
            program.run(b"")
    assert run(sandbox, "print(1)").stdout == b"1\n"


def test_randomness_is_the_same_in_every_run(sandbox):
    source = "import os, random\nprint(random.random(), flush=True)\nos.fork() and os.wait() or print(random.random())"
    first, second = (run(sandbox, source).stdout.split() for _ in range(2))
    assert first[0] == second[0]
    assert first[1] != second[1]  # a process that the program forks draws numbers of its own


def test_few_descriptors_are_open(any_sandbox):
    assert run(any_sandbox, "import os; print(len(os.listdir('/proc/self/fd')))").stdout == b"4\n"


def test_the_hash_seed_is_fixed():
    source = "print(hash('a'), list({'alpha', 'beta', 'gamma', 'delta'}))"
    outputs = []
    for _ in range(2):
        with Sandbox() as fresh:
            outputs.append(run(fresh, source).stdout)
    assert outputs[0] == outputs[1]


def test_fences(sandbox):
    if sandbox.missing:
        pytest.skip(f"this host refuses {', '.join(sandbox.missing)}")
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


@pytest.mark.parametrize("then", ["pass", "time.sleep(99)"], ids=["ends", "stays"])
def test_escaped_processes_die_with_the_test(any_sandbox, then):
    seconds = marker(1)
    ended = run(any_sandbox, escaping(seconds, then), limits=LIMITS if then == "pass" else SHORT)
    assert ended.stdout == b"done\n"
    assert ended.timed_out == (then != "pass")
    assert processes_named(seconds) == []


def test_a_fork_bomb_ends(sandbox):
    if "process limit" in sandbox.missing:
        pytest.skip("this host does not limit processes")
    source = """
        import os
        while True:
            try: os.fork()
            except OSError: pass
    """
    assert run(sandbox, source, limits=Limits(wall_s=0.3)).timed_out
    assert run(sandbox, "print(1)").stdout == b"1\n"


def test_wall_limit(any_sandbox):
    ended = run(any_sandbox, "import signal, os\nos.kill(os.getpid(), signal.SIGSTOP)", limits=Limits(wall_s=0.3))
    assert ended.timed_out


def test_cpu_limit(sandbox):
    ended = run(sandbox, "while True: pass", limits=Limits(wall_s=60, cpu_s=1))
    assert ended.exit_code == -signal.SIGXCPU
    assert 0.5 < ended.cpu_s < 2


def test_memory_limit(sandbox):
    ended = run(sandbox, "x = bytearray(10 << 30)")
    assert ended.exit_code == 1
    assert "MemoryError" in ended.stderr
    assert run(sandbox, "x = b'x' * (200 << 20)").memory_mb > 200


@pytest.mark.parametrize("write", ["print('x' * 65536)", "os.write(1, b'x' * 65536)"])
def test_output_flood(sandbox, write):
    limits = Limits(output_bytes=1 << 20)
    ended = run(sandbox, f"import os\nwhile True: {write}", limits=limits)
    assert len(ended.stdout) == 1 << 20
    assert ended.exit_code == 1


def test_stderr_neither_blocks_nor_counts(sandbox):
    ended = run(sandbox, "import sys\nfor _ in range(20000): print('x' * 100, file=sys.stderr)\nprint(1)")
    assert (ended.exit_code, ended.stdout) == (0, b"1\n")
    assert len(ended.stderr) <= 2000


@pytest.mark.parametrize(
    "source", ["print(", "x = '\x00'", "x = '\ud800'", "return 1", "  x = 1", "(" * 3000 + ")" * 3000]
)
def test_compile_errors(sandbox, source):
    with sandbox.program(source, LIMITS) as program, pytest.raises(CompileError):
        program.run(b"")
    with sandbox.program(source, LIMITS, "f") as program, pytest.raises(CompileError), program.calls(30):
        pass


def test_calls(sandbox):
    source = "print('loaded')\ndef add(a, b): return a + b"
    with sandbox.program(source, LIMITS, "add") as program, program.calls(30) as calls:
        assert [calls.call(f"{i}\n1").text for i in range(50)] == [str(i + 1) for i in range(50)]
        assert calls.call('"a"\n1').kind == "error"
        assert calls.call("1\n1").text == "2"
    assert calls.ended.memory_mb > 1


def test_a_forged_frame_is_no_reply(sandbox):
    source = """
        import os, json
        def add(a, b):
            reply = json.dumps(['0' * 16, 'value', '3']).encode()
            os.write(3, len(reply).to_bytes(8, 'big') + reply)
            os._exit(0)
    """
    with sandbox.program(textwrap.dedent(source), LIMITS, "add") as program, program.calls(30) as calls:
        assert calls.call("1\n2").kind == "exited"


@pytest.mark.parametrize("text", ["", "3", 'a "quoted" \\ line\n', "é\ud800", "x" * 100_000])
@pytest.mark.parametrize("kind", ["value", "error", "type"])
def test_replies_are_read_back(kind, text):
    assert read_reply(json.dumps(["0a", kind, text]).encode(), "0a") == Reply(kind, text)


@pytest.mark.parametrize(
    "frame",
    [
        *("", "[", '["0a"', '["0a", "value"]', '["0a", "value", 3]', '["0a", "value", "3]', '["0a", "value", "3"'),
        *('["0a", "value", "3"]]', '["0b", "value", "3"]', '["0a", "passed", "3"]', '{"0a": "value"}', "é"),
        '["0a", "value", ' + "[],[]," * 100_000 + "[]]",
    ],
)
def test_what_is_no_reply_is_refused(frame):
    with pytest.raises(ValueError):
        read_reply(frame.encode(), "0a")


def test_the_zygote_restarts_after_its_death(sandbox):
    run(sandbox, "print(1)")
    guard = sandbox.zygote_pid
    os.kill(guard, signal.SIGKILL)
    with pytest.raises(SandboxError):
        wait_until(lambda: run(sandbox, "print(1)") is None)
    assert run(sandbox, "print(1)").stdout == b"1\n"
    assert sandbox.zygote_pid != guard


def test_close_leaves_nothing(any_sandbox):
    with Sandbox() as other:
        run(other, "print(1)")
        guard = other.zygote_pid
    assert not Path(f"/proc/{guard}").exists()


OWNER = """
import sys
from evaluator import Limits, Sandbox
sandbox = Sandbox(without=tuple(filter(None, sys.argv[2].split(","))))
limits = Limits(wall_s=60, cpu_s=60)
with sandbox.program(sys.argv[1], limits) as program:
    print(sandbox.zygote_pid, flush=True)
    program.run(b"")
"""


@pytest.mark.heavy
@pytest.mark.parametrize("without", [(), DEGRADED], ids=["all fences", "no namespaces"])
def test_nothing_survives_a_killed_owner(without):
    seconds = marker(2)
    source = textwrap.dedent(escaping(seconds, "time.sleep(99)"))
    command = [sys.executable, "-c", OWNER, source, ",".join(without)]
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
    guard = int(owner.stdout.readline())

    def sleepers():
        # The owner's own command line holds the program, and so the number, too.
        return [pid for pid in processes_named(f"sleep\x00{seconds}") if pid != owner.pid]

    try:
        wait_until(lambda: len(sleepers()) == 3)
    finally:
        owner.kill()
        owner.wait(60)
        owner.stdout.close()
    wait_until(lambda: not sleepers() and not Path(f"/proc/{guard}").exists())
