"""Tests of the rehearsal in the cell: it runs the functions of a test, and nothing of that lasts."""

import subprocess
import sys

# In an interpreter of its own, since importing the harness changes how the interpreter forks.
SCRIPT = """
import os, resource, sys
from evaluator.inside import at_fork, rehearsal, stdio

def read_state():
    limits = [resource.getrlimit(number) for number in range(resource.RLIMIT_RTTIME + 1)]
    return os.listdir("/proc/self/fd"), limits, sys.modules["__main__"], sys.stdin, sys.stdout, sys.getrecursionlimit()

calls = []
run_main_module = stdio.run_main_module
stdio.run_main_module = lambda *arguments: calls.append(run_main_module(*arguments))
before = read_state()
rehearsal.rehearse()
assert read_state() == before, (before, read_state())
assert calls == [0] * rehearsal.REPEATS, calls  # the rehearsed program ran to its end
try:
    os.wait()
except ChildProcessError:
    print("no process is left", file=sys.stderr)
"""


def test_nothing_of_the_rehearsal_lasts():
    process = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "no process is left\n")
