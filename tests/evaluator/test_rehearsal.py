"""Tests of the rehearsal in the cell: it runs the functions of a test, and nothing of that lasts."""

import subprocess
import sys

# In an interpreter of its own, since importing the harness changes how the interpreter forks.
SCRIPT = """
import contextlib, os, resource, sys
from evaluator.inside import at_fork, functional, landlock, rehearsal, stdio
from evaluator.inside.fences import Fences

fences = Fences(without=())
with contextlib.suppress(OSError):
    landlock.get_version()
    fences.built.add("landlock")
prelude = functional.load_prelude()

def read_state():
    limits = [resource.getrlimit(number) for number in range(resource.RLIMIT_RTTIME + 1)]
    files = sys.modules["__main__"], sys.modules["main"], sys.stdin, sys.stdout, os.listdir("/proc/self/fd")
    names = dict(prelude.names), dict(prelude.main)
    return limits, files, names, sys.getrecursionlimit()

def record(owner, name, results):
    function = getattr(owner, name)
    def call(*arguments):
        results.append(function(*arguments))
        return results[-1]
    setattr(owner, name, call)

statuses, answers = [], []
record(stdio, "run_main_module", statuses)
record(functional.CandidateProgram, "answer", answers)
before = read_state()
rehearsal.rehearse(fences, prelude)
assert read_state() == before, (before, read_state())
assert statuses == [0] * rehearsal.REPEATS, statuses  # the rehearsed program ran to its end
assert answers == [("value", "5")] * rehearsal.REPEATS, answers
try:
    os.wait()
except ChildProcessError:
    print("no process is left", file=sys.stderr)
"""


def test_nothing_of_the_rehearsal_lasts():
    process = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "no process is left\n")
