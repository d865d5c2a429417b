"""Hostile programs that know the evaluator's internals: they get the verdict that their output earns and harm nothing."""

# ruff: noqa: E501 - a short program is easiest to read on one line

import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evaluator import Evaluator, Limits, ProblemTest, Status
from tests.evaluator.problems import make_problem_with_tests
from tests.evaluator.processes import find_descendants

SECRET = "48151623420108"  # an expected output that no program can compute
LEFTOVER_FILE = f"left-by-{os.getpid()}"  # a file name that only the hostile programs of this test process use
SHARED_FOLDERS = ("/tmp", "/dev/shm", "/var/tmp")
LIMITS = Limits(wall_s=30.0, cpu_s=30.0, memory_mb=256, output_bytes=8 << 20)


def make_problem(kind, *tests):
    """Return a problem of ``kind`` (stdin or functional) with (input, output) ``tests``."""
    func_name = "f" if kind == "functional" else None
    return make_problem_with_tests(*(ProblemTest(text, output, kind) for text, output in tests), func_name=func_name)


ECHO = make_problem("stdin", ("1\n", "1\n"), ("2\n", "2\n"), ("3\n", "3\n"))
SECRET_STDIN = make_problem("stdin", ("1\n", SECRET + "\n"), ("2\n", SECRET + "\n"))
SECRET_FUNCTIONAL = make_problem("functional", ("1", SECRET), ("2", SECRET))
CORRECT = "print(input())\n"

# Hostile actions, each followed by the correct answer: the answer must pass, and later programs must not be affected.
HOSTILE_ACTIONS = {
    "kill the template": "import os\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass",
    "stop the template": "import os\ntry: os.kill(os.getppid(), 19)\nexcept OSError: pass",
    "signal every process": "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass",
    "signal its process group": "import os, signal\nsignal.signal(15, signal.SIG_IGN)\nos.kill(0, 15)",
    "kill process 1": "import os\ntry: os.kill(1, 9)\nexcept OSError: pass",
    "trace the template": "import ctypes, os\nctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
    "open the template's memory for writing": "import os\ntry: open(f'/proc/{os.getppid()}/mem', 'r+b')\nexcept OSError: pass",
    "write to every descriptor": "import os\nfor n in range(3, 300):\n  try: os.write(n, b'[\"ended\", {}]')\n  except OSError: pass",
    "clear the harness's modules": """
        import sys
        for name, module in list(sys.modules.items()):
            if name.startswith('evaluator'):
                for key in list(vars(module)): setattr(module, key, None)
        """,
    "change the flags and offsets of its files": "import fcntl, os\nfcntl.fcntl(1, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)\nos.lseek(2, 999, 0)",
    "lock its files": "import fcntl\nfor n in (0, 1, 2): fcntl.flock(n, fcntl.LOCK_EX)\ntry: fcntl.fcntl(1, 1024, 1)\nexcept OSError: pass",
    "seal its files": "import fcntl\nfor n in (0, 1, 2):\n  try: fcntl.fcntl(n, 1033, 15)\n  except OSError: pass",
    "rewrite the input at exit": "import atexit, os\natexit.register(os.ftruncate, 0, 0)\natexit.register(os.pwrite, 0, b'9', 0)",
    "leave files": f"for d in ('.', *{SHARED_FOLDERS}):\n  try: open(d + '/{LEFTOVER_FILE}', 'a').write('x')\n  except OSError: pass",
    "leave a writing process": "import os\nif os.fork() == 0:\n  os.setsid()\n  while True: os.write(1, b'9')",
    "raise the resource limits": "import resource as r\nfor n in range(16):\n  try: r.setrlimit(n, (-1, -1))\n  except (ValueError, OSError): pass",
    "fork up to the process limit": """
        import os, time
        try:
            while True:
                if os.fork() == 0: time.sleep(99)
        except OSError: pass
        """,
    "ignore all signals": """
        import os, signal, threading
        for n in range(1, 65):
            try: signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError): pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        """,
    "execute another program": "import os, sys\nif len(sys.argv) < 2:\n  try: os.execv('/bin/cat', ['cat'])\n  except OSError: pass",
    "modify shared modules": "import builtins, math\nassert not hasattr(math, 'mark')\nmath.mark = builtins.mark = 1",
}
# A process left behind may write to the same output before it is killed; an interpreter without modules may exit badly.
MAY_FAIL = ("leave a writing process", "clear the harness's modules")
# Each program searches a place where an evaluator might have left the expected output, and prints "found" if it is there.
SEARCH_FUNCTION = """
def found(data):
    start = data.find(A.encode())
    while start >= 0:
        if data[start + len(A) : start + len(A) + len(B)] == B.encode():
            print('found')
            return True
        start = data.find(A.encode(), start + 1)
"""
SEARCHES = {
    "Python objects": """
        import gc
        for thing in gc.get_objects():
            if type(thing) in (str, bytes, list, dict, tuple) and found(repr(thing)[:10**5].encode()): break
        """,
    "process memory": """
        memory = open('/proc/self/mem', 'rb', 0)
        for line in open('/proc/self/maps'):
            low, high = (int(x, 16) for x in line.split()[0].split('-'))
            if 'r' in line.split()[1] and high - low < 1 << 26:
                try: memory.seek(low); block = memory.read(high - low)
                except (OSError, ValueError): continue
                if found(block): break
        """,
    "file system": """
        import os, stat, sys
        libraries = (sys.prefix, os.path.realpath(sys.prefix), '/usr', '/proc', *filter(None, sys.path))
        for folder, inner, names in os.walk('/'):
            inner[:] = [name for name in inner if not os.path.join(folder, name).startswith(libraries)]
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if stat.S_ISFIFO(os.stat(path).st_mode): continue  # its own standard output
                    text = open(path, 'rb').read(10**6)
                except OSError: continue
                if found(text): break
        """,
    "other processes": """
        import os
        for pid in filter(str.isdigit, os.listdir('/proc')):
            for name in ('environ', 'cmdline', 'mem', 'maps', 'fd/0', 'fd/3', 'stack'):
                try: text = open(f'/proc/{pid}/{name}', 'rb').read(10**6)
                except OSError: continue
                if found(text): break
        """,
    "descriptors": """
        import os
        for n in range(300):
            try: text = os.pread(n, 10**6, 0)
            except OSError: continue
            if found(text): break
        """,
    "source of this project": """
        import sys
        sys.path.append(SOURCE)
        try: from launch.problems import starter
        except ImportError: pass
        else: print('found')
        """,
}
FORGED_REPLIES = {
    "a reply with the nonce of the call": """
        import json, os, sys
        def f(x):
            frame = sys._getframe()
            while frame:
                for value in list(frame.f_locals.values()):
                    if isinstance(value, dict) and 'nonce' in value:
                        for text in ('1', '"passed"', 'true'):
                            reply = json.dumps([value['nonce'], 'value', text]).encode()
                            os.write(3, len(reply).to_bytes(8, 'big') + reply)
                frame = frame.f_back
            return None
        """,
    "a status written to the channel": "import os\ndef f(x):\n  os.write(3, b'passed' * 99)\n  return 0",
    "a result that is equal to everything": "class L(int):\n  __eq__ = __ne__ = __class_getitem__ = lambda *a: True\n  __repr__ = __str__ = lambda s: '0'\ndef f(x): return L(7)",
    "patched json": "import json\njson.dumps = json.JSONEncoder.encode = lambda *a, **k: '1'\ndef f(x): return 0",
    "a closed channel": "import os\ndef f(x):\n  os.closerange(0, 99)\n  return 0",
    "a frame of huge size": "import os\ndef f(x):\n  os.write(3, (1 << 62).to_bytes(8, 'big'))\n  return 0",
}


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(LIMITS) as evaluator:
        yield evaluator


@pytest.fixture(scope="module")
def evaluator_with_long_limits():
    # A search must finish even on a slow machine: an interrupted search would prove nothing.
    with Evaluator(replace(LIMITS, wall_s=60.0, cpu_s=60.0)) as evaluator:
        yield evaluator


@pytest.mark.heavy
@pytest.mark.parametrize("name", HOSTILE_ACTIONS)
def test_hostile_program_with_the_correct_answer_passes(evaluator, name):
    code = "answer = input()\n" + textwrap.dedent(HOSTILE_ACTIONS[name]) + "\nprint(answer)"
    if name == "execute another program":
        code = textwrap.dedent(HOSTILE_ACTIONS[name])
    verdict = evaluator.evaluate(ECHO, code)
    if name in MAY_FAIL:
        assert verdict.status is not Status.SANDBOX_ERROR, verdict
    else:
        assert verdict.passed, verdict
    assert evaluator.evaluate(ECHO, CORRECT).passed


@pytest.mark.heavy
@pytest.mark.parametrize("name", SEARCHES)
def test_program_cannot_find_the_expected_output(evaluator_with_long_limits, name):
    # The program has the secret in two halves only, so that it can recognise the secret without containing it.
    halves = f"A, B = {SECRET[:7]!r}, {SECRET[7:]!r}\nSOURCE = {str(Path(__file__).parents[2])!r}\n" + textwrap.dedent(
        SEARCH_FUNCTION
    )
    verdict = evaluator_with_long_limits.evaluate(SECRET_STDIN, halves + textwrap.dedent(SEARCHES[name]))
    assert verdict.status is Status.WRONG_ANSWER, verdict
    assert verdict.detail == "answered ''"


@pytest.mark.heavy
@pytest.mark.parametrize("name", FORGED_REPLIES)
def test_forged_reply_does_not_pass(evaluator, name):
    verdict = evaluator.evaluate(SECRET_FUNCTIONAL, textwrap.dedent(FORGED_REPLIES[name]))
    assert not verdict.passed and verdict.status is not Status.SANDBOX_ERROR, verdict
    assert evaluator.evaluate(ECHO, CORRECT).passed


@pytest.mark.slow
@pytest.mark.faults
def test_1000_hostile_programs_leave_no_processes_and_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    programs = [textwrap.dedent(text) for text in (*HOSTILE_ACTIONS.values(), *FORGED_REPLIES.values())]
    sources = random.Random(0).choices(programs, k=1000)
    processes_before = find_descendants()
    short_problem = replace(ECHO, time_limit_s=0.5)
    with Evaluator(replace(LIMITS, memory_mb=128, output_bytes=1 << 20), workers=2) as evaluator:
        assert evaluator.evaluate(ECHO, CORRECT).passed
        descriptor_count = len(os.listdir("/proc/self/fd"))
        process_count = len(find_descendants())
        futures = [evaluator.submit(short_problem, code) for code in sources]
        assert Status.SANDBOX_ERROR not in {future.result().status for future in futures}
        assert evaluator.evaluate(ECHO, CORRECT).passed
        assert len(find_descendants()) <= process_count + 3  # the sandbox of the second worker: guard and cell
        assert len(os.listdir("/proc/self/fd")) <= descriptor_count + 3
    assert find_descendants() == processes_before
    assert os.listdir(tmp_path) == []
    assert [folder for folder in SHARED_FOLDERS if Path(folder, LEFTOVER_FILE).exists()] == []


OWNER_SCRIPT = """
import sys
from evaluator import Evaluator, Limits
from tests.evaluator.test_attacks import ECHO, HOSTILE_ACTIONS
import textwrap
with Evaluator(Limits(wall_s=2, cpu_s=2), workers=2) as evaluator:
    print("ready", flush=True)
    while True:
        for future in [evaluator.submit(ECHO, textwrap.dedent(text)) for text in HOSTILE_ACTIONS.values()]:
            future.result()
"""


@pytest.mark.heavy
@pytest.mark.faults
def test_killed_evaluator_leaves_no_sandbox_processes():
    rng = random.Random(1)
    for _ in range(5):
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER_SCRIPT],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        assert owner.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 1.5))
        children = find_descendants(owner.pid)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(60)
        owner.stdout.close()
        deadline = time.monotonic() + 60
        while alive := {pid for pid in children if is_sandbox_process(pid)}:
            assert time.monotonic() < deadline, f"sandbox processes still running: {alive}"
            time.sleep(0.05)


def is_sandbox_process(pid):
    try:
        return b"evaluator/inside" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
