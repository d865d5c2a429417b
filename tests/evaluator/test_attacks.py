"""Programs that know this evaluator from the inside, and what they get: the verdict on their output, nothing else."""

# ruff: noqa: E501 - a short program is read best on one line

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

from evaluator import Evaluator, Limits, Problem, ProblemTest, Status

SECRET = "48151623420108"  # an expected output that no program can compute
LEFT = f"left-by-{os.getpid()}"  # a file that only the programs of this process try to leave
FOLDERS = ("/tmp", "/dev/shm", "/var/tmp")
LIMITS = Limits(wall_s=30.0, cpu_s=30.0, memory_mb=256, output_bytes=8 << 20)


def problem(kind, *tests):
    built = tuple(ProblemTest(text, output, kind) for text, output in tests)
    func_name = "f" if kind == "functional" else None
    return Problem(
        question_id="q",
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=built[:1],
        private_tests=built[1:],
        func_name=func_name,
    )


ECHO = problem("stdin", ("1\n", "1\n"), ("2\n", "2\n"), ("3\n", "3\n"))
SECRETS = problem("stdin", ("1\n", SECRET + "\n"), ("2\n", SECRET + "\n"))
SECRET_CALLS = problem("functional", ("1", SECRET), ("2", SECRET))
RIGHT = "print(input())\n"

# Each does its worst and then answers right: it must neither fail for it nor take anything with it.
HARMLESS = {
    "end the template": "import os\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass",
    "stop the template": "import os\ntry: os.kill(os.getppid(), 19)\nexcept OSError: pass",
    "signal everybody": "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass",
    "signal its group": "import os, signal\nsignal.signal(15, signal.SIG_IGN)\nos.kill(0, 15)",
    "end the cell": "import os\ntry: os.kill(1, 9)\nexcept OSError: pass",
    "trace the template": "import ctypes, os\nctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
    "rewrite the template": "import os\ntry: open(f'/proc/{os.getppid()}/mem', 'r+b')\nexcept OSError: pass",
    "write to every descriptor": "import os\nfor n in range(3, 300):\n  try: os.write(n, b'[\"ended\", {}]')\n  except OSError: pass",
    "patch the harness": """
        import sys
        for name, module in list(sys.modules.items()):
            if name.startswith('evaluator'):
                for key in list(vars(module)): setattr(module, key, None)
        """,
    "append and seek": "import fcntl, os\nfcntl.fcntl(1, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)\nos.lseek(2, 999, 0)",
    "lock the output": "import fcntl\nfor n in (0, 1, 2): fcntl.flock(n, fcntl.LOCK_EX)\ntry: fcntl.fcntl(1, 1024, 1)\nexcept OSError: pass",
    "seal the files": "import fcntl\nfor n in (0, 1, 2):\n  try: fcntl.fcntl(n, 1033, 15)\n  except OSError: pass",
    "rewrite the input afterwards": "import atexit, os\natexit.register(os.ftruncate, 0, 0)\natexit.register(os.pwrite, 0, b'9', 0)",
    "leave files": f"for d in ('.', *{FOLDERS}):\n  try: open(d + '/{LEFT}', 'a').write('x')\n  except OSError: pass",
    "leave a writer": "import os\nif os.fork() == 0:\n  os.setsid()\n  while True: os.write(1, b'9')",
    "lift the limits": "import resource as r\nfor n in range(16):\n  try: r.setrlimit(n, (-1, -1))\n  except (ValueError, OSError): pass",
    "use up the processes": """
        import os, time
        try:
            while True:
                if os.fork() == 0: time.sleep(99)
        except OSError: pass
        """,
    "ignore everything": """
        import os, signal, threading
        for n in range(1, 65):
            try: signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError): pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        """,
    "run again": "import os, sys\nif len(sys.argv) < 2:\n  try: os.execv('/bin/cat', ['cat'])\n  except OSError: pass",
    "mark the interpreter": "import builtins, math\nassert not hasattr(math, 'mark')\nmath.mark = builtins.mark = 1",
}
# A process left behind may write to the same output before it dies; an interpreter without modules cannot exit well.
SELF_INFLICTED = ("leave a writer", "patch the harness")
# Each looks for the answer where an evaluator might have left it; the test is in what it would then print.
FOUND = """
def found(data):
    start = data.find(A.encode())
    while start >= 0:
        if data[start + len(A) : start + len(A) + len(B)] == B.encode():
            print('found')
            return True
        start = data.find(A.encode(), start + 1)
"""
SEARCHES = {
    "the heap": """
        import gc
        for thing in gc.get_objects():
            if type(thing) in (str, bytes, list, dict, tuple) and found(repr(thing)[:10**5].encode()): break
        """,
    "its memory": """
        memory = open('/proc/self/mem', 'rb', 0)
        for line in open('/proc/self/maps'):
            low, high = (int(x, 16) for x in line.split()[0].split('-'))
            if 'r' in line.split()[1] and high - low < 1 << 26:
                try: memory.seek(low); block = memory.read(high - low)
                except (OSError, ValueError): continue
                if found(block): break
        """,
    "the file system": """
        import os, sys
        libraries = (sys.prefix, os.path.realpath(sys.prefix), '/usr', '/proc', *filter(None, sys.path))
        for folder, inner, names in os.walk('/'):
            inner[:] = [name for name in inner if not os.path.join(folder, name).startswith(libraries)]
            for name in names:
                try: text = open(os.path.join(folder, name), 'rb').read(10**6)
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
    "this package": """
        import sys
        sys.path.append(SOURCE)
        try: from launch.problems import starter
        except ImportError: pass
        else: print('found')
        """,
}
FORGERIES = {
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
    "verdicts": "import os\ndef f(x):\n  os.write(3, b'passed' * 99)\n  return 0",
    "a liar": "class L(int):\n  __eq__ = __ne__ = __class_getitem__ = lambda *a: True\n  __repr__ = __str__ = lambda s: '0'\ndef f(x): return L(7)",
    "patched json": "import json\njson.dumps = json.JSONEncoder.encode = lambda *a, **k: '1'\ndef f(x): return 0",
    "closed channel": "import os\ndef f(x):\n  os.closerange(0, 99)\n  return 0",
    "a huge frame": "import os\ndef f(x):\n  os.write(3, (1 << 62).to_bytes(8, 'big'))\n  return 0",
}


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(LIMITS) as evaluator:
        yield evaluator


@pytest.fixture(scope="module")
def patient_evaluator():
    # A search must come to its end also on a slow machine: one that was cut short has shown nothing.
    with Evaluator(replace(LIMITS, wall_s=60.0, cpu_s=60.0)) as evaluator:
        yield evaluator


@pytest.mark.parametrize("name", HARMLESS)
def test_a_right_answer_stays_right(evaluator, name):
    code = "answer = input()\n" + textwrap.dedent(HARMLESS[name]) + "\nprint(answer)"
    if name == "run again":
        code = textwrap.dedent(HARMLESS[name])
    verdict = evaluator.evaluate(ECHO, code)
    if name in SELF_INFLICTED:
        assert verdict.status is not Status.SANDBOX_ERROR, verdict
    else:
        assert verdict.passed, verdict
    assert evaluator.evaluate(ECHO, RIGHT).passed


@pytest.mark.heavy
@pytest.mark.parametrize("name", SEARCHES)
def test_the_expected_output_is_nowhere(patient_evaluator, name):
    # The program knows the secret in two halves, to tell what it looks for; it would answer right if it found it whole.
    halves = f"A, B = {SECRET[:7]!r}, {SECRET[7:]!r}\nSOURCE = {str(Path(__file__).parents[2])!r}\n" + textwrap.dedent(
        FOUND
    )
    verdict = patient_evaluator.evaluate(SECRETS, halves + textwrap.dedent(SEARCHES[name]))
    assert verdict.status is Status.WRONG_ANSWER, verdict
    assert verdict.detail == "answered ''"


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_reply_earns_nothing(evaluator, name):
    verdict = evaluator.evaluate(SECRET_CALLS, textwrap.dedent(FORGERIES[name]))
    assert not verdict.passed and verdict.status is not Status.SANDBOX_ERROR, verdict
    assert evaluator.evaluate(ECHO, RIGHT).passed


def descendants(root=None):
    """All processes below ``root``, by default this one."""
    root = root or os.getpid()
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


@pytest.mark.heavy
@pytest.mark.faults
def test_a_thousand_hostile_programs_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    programs = [textwrap.dedent(text) for text in (*HARMLESS.values(), *FORGERIES.values())]
    drawn = random.Random(0).choices(programs, k=1000)
    before = descendants()
    hurried = replace(ECHO, time_limit_s=0.5)
    with Evaluator(replace(LIMITS, memory_mb=128, output_bytes=1 << 20), workers=2) as evaluator:
        assert evaluator.evaluate(ECHO, RIGHT).passed
        files = len(os.listdir("/proc/self/fd"))
        processes = len(descendants())
        futures = [evaluator.submit(hurried, code) for code in drawn]
        assert Status.SANDBOX_ERROR not in {future.result().status for future in futures}
        assert evaluator.evaluate(ECHO, RIGHT).passed
        assert len(descendants()) <= processes + 3  # the second worker's sandbox: guard and cell
        assert len(os.listdir("/proc/self/fd")) <= files + 3
    assert descendants() == before
    assert os.listdir(tmp_path) == []
    assert [folder for folder in FOLDERS if Path(folder, LEFT).exists()] == []


OWNER = """
import sys
from evaluator import Evaluator, Limits
from tests.evaluator.test_attacks import ECHO, HARMLESS
import textwrap
with Evaluator(Limits(wall_s=2, cpu_s=2), workers=2) as evaluator:
    print("ready", flush=True)
    while True:
        for future in [evaluator.submit(ECHO, textwrap.dedent(text)) for text in HARMLESS.values()]:
            future.result()
"""


@pytest.mark.heavy
@pytest.mark.faults
def test_an_evaluator_killed_at_any_moment_leaves_nothing():
    delays = random.Random(1)
    for _ in range(5):
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], start_new_session=True
        )
        assert owner.stdout.readline() == b"ready\n"
        time.sleep(delays.uniform(0, 1.5))
        below = descendants(owner.pid)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(60)
        owner.stdout.close()
        deadline = time.monotonic() + 60
        while alive := {pid for pid in below if is_sandbox(pid)}:
            assert time.monotonic() < deadline, alive
            time.sleep(0.05)


def is_sandbox(pid):
    try:
        return b"evaluator/inside" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
