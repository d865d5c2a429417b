"""Failures of the sandbox and the host: they never count as a failure of the program, which is judged again."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evaluator import Evaluator, Limits, ProblemTest, Status
from tests.evaluator.problems import make_problem_with_tests

pytestmark = [pytest.mark.heavy, pytest.mark.faults]
LIMITS = Limits(wall_s=60.0, cpu_s=60.0)
SHORT_LIMITS = Limits(wall_s=3.0, cpu_s=3.0)
STDIN = make_problem_with_tests(*(ProblemTest(f"{number}\n", f"{number}\n", "stdin") for number in (1, 2)))
CALLS = make_problem_with_tests(
    *(ProblemTest(str(number), str(number), "functional") for number in (1, 2)), func_name="f"
)
WARM_UP = {"program": "print(input())", "function": "def f(x): return x"}
SLEEPING = {
    "program": "import time\nx = input()\ntime.sleep(2)\nprint(x)",
    "function": "import time\ndef f(x):\n  time.sleep(2)\n  return x",
}
PROBLEMS = {"program": STDIN, "function": CALLS}
FAMILY = ("guard", "cell", "template", "candidate")
UNCONFINED = ("landlock signals", "seccomp")


def find_family(guard):
    """Return the process ids of the guard, the cell, the template and the candidate, as far as they exist."""
    family = [guard]
    while children := read_children(family[-1]):
        family.append(children[0])
    return family


def read_children(pid):
    # Faster than a search through all processes of the host: a candidate may end before it is found.
    try:
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def wait_for_family(sandbox, size):
    deadline = time.monotonic() + 60
    while len(family := find_family(sandbox.guard_pid)) < size:
        assert time.monotonic() < deadline, family
        time.sleep(0.01)
    return family


@pytest.fixture(params=PROBLEMS)
def kind(request):
    return request.param


@pytest.fixture
def evaluator():
    with Evaluator(LIMITS) as evaluator:
        if set(UNCONFINED) <= set(evaluator.missing):
            pytest.skip("on this host a program can kill its own template")
        yield evaluator


def get_sandbox(evaluator, kind):
    worker = evaluator._workers[0]
    return worker.light if kind == "program" else worker.calls


@pytest.mark.parametrize("victim", FAMILY[:3])
def test_process_killed_during_a_test_is_no_failure_of_the_program(evaluator, kind, victim):
    assert evaluator.evaluate(PROBLEMS[kind], WARM_UP[kind]).passed
    future = evaluator.submit(PROBLEMS[kind], SLEEPING[kind], all_tests=True)
    family = wait_for_family(get_sandbox(evaluator, kind), 4)
    os.kill(family[FAMILY.index(victim)], signal.SIGKILL)
    verdict = future.result()
    assert (verdict.status, verdict.tests_run) == (Status.PASSED, 2), verdict


@pytest.mark.parametrize("victim", FAMILY[:3])
def test_process_killed_during_compilation_is_no_failure_of_the_program(evaluator, kind, victim):
    slow_source = "x = [\n" + "(0, 1, 'a', [], {}),\n" * 30_000 + "]\n"
    assert evaluator.evaluate(PROBLEMS[kind], WARM_UP[kind]).passed
    future = evaluator.submit(PROBLEMS[kind], slow_source + WARM_UP[kind])
    family = wait_for_family(get_sandbox(evaluator, kind), 3)
    os.kill(family[FAMILY.index(victim)], signal.SIGKILL)
    assert future.result().passed


@pytest.mark.parametrize("leaves_files", [False, True])
def test_candidate_killed_from_outside_runs_again(evaluator, kind, leaves_files):
    assert evaluator.evaluate(PROBLEMS[kind], WARM_UP[kind]).passed
    code = ("open('file', 'w').close()\n" if leaves_files else "") + SLEEPING[kind]
    future = evaluator.submit(PROBLEMS[kind], code, all_tests=True)
    os.kill(wait_for_family(get_sandbox(evaluator, kind), 4)[3], signal.SIGKILL)
    verdict = future.result()
    assert (verdict.status, verdict.tests_run) == (Status.PASSED, 2), verdict


def test_checker_killed_from_outside_runs_again(evaluator):
    checker = {"type": "custom", "code": "import time\ndef check(inp, out, exp):\n  time.sleep(2)\n  return True"}
    problem = make_problem_with_tests(ProblemTest("1", "1", "stdin"), checker=checker)
    assert evaluator.evaluate(STDIN, WARM_UP["program"]).passed
    evaluator._workers[0].checkers.start()
    future = evaluator.submit(problem, "print(2)")
    os.kill(wait_for_family(evaluator._workers[0].checkers, 4)[3], signal.SIGKILL)
    assert future.result().passed


SUICIDES = {
    "itself": "os.kill(os.getpid(), 9)",
    "its group": "os.kill(0, 9)",
    "itself by a child": "os.fork() or os.kill(os.getppid(), 9)\n  time.sleep(9)",
    "itself, after leaving a file": "open('file', 'w').close()\n  os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("name", SUICIDES)
def test_program_that_kills_itself_fails(evaluator, kind, name):
    code = f"import os, time\ndef f(x):\n  {SUICIDES[name]}\n" + ("f(1)" if kind == "program" else "")
    verdict = evaluator.evaluate(PROBLEMS[kind], code, all_tests=True)
    assert (verdict.status, verdict.tests_run, verdict.tests_passed) == (Status.RUNTIME_ERROR, 2, 0), verdict


def test_other_tests_of_a_program_that_kills_itself_count(evaluator, kind):
    code = "import os\ndef f(x):\n  if x == 1: os.kill(os.getpid(), 9)\n  return x\n"
    code += "print(f(int(input())))" if kind == "program" else ""
    verdict = evaluator.evaluate(PROBLEMS[kind], code, all_tests=True)
    assert (verdict.status, verdict.first_failed, verdict.tests_passed) == (Status.RUNTIME_ERROR, 0, 1), verdict


def test_template_that_cannot_fork_is_no_failure_of_the_program(evaluator):
    assert evaluator.evaluate(STDIN, WARM_UP["program"]).passed
    future = evaluator.submit(STDIN, SLEEPING["program"])
    template = wait_for_family(evaluator._workers[0].light, 4)[2]
    try:
        resource.prlimit(template, resource.RLIMIT_NPROC, (1, 1))
    except PermissionError:
        pytest.skip("this user cannot change the limits of a template")
    assert future.result().passed


def test_frozen_sandbox_is_no_failure_of_the_program(kind):
    with Evaluator(SHORT_LIMITS) as evaluator:
        assert evaluator.evaluate(PROBLEMS[kind], WARM_UP[kind]).passed
        future = evaluator.submit(PROBLEMS[kind], SLEEPING[kind])
        family = wait_for_family(get_sandbox(evaluator, kind), 4)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(SHORT_LIMITS.wall_s + 2)
        for pid in reversed(family):
            os.kill(pid, signal.SIGCONT)
        assert future.result().passed


OWNER_SCRIPT = """
import sys
from evaluator import Evaluator
from tests.evaluator.test_sandbox_failures import PROBLEMS, SHORT_LIMITS, SLEEPING, WARM_UP
with Evaluator(SHORT_LIMITS) as evaluator:
    assert evaluator.evaluate(PROBLEMS[sys.argv[1]], WARM_UP[sys.argv[1]]).passed
    future = evaluator.submit(PROBLEMS[sys.argv[1]], SLEEPING[sys.argv[1]])
    print("started", flush=True)
    print(future.result().status.value)
"""


def test_stopped_owner_is_no_failure_of_the_program(kind):
    root = Path(__file__).parents[2]
    owner = subprocess.Popen([sys.executable, "-c", OWNER_SCRIPT, kind], stdout=subprocess.PIPE, cwd=root)
    assert owner.stdout.readline() == b"started\n"
    owner.send_signal(signal.SIGSTOP)
    time.sleep(SHORT_LIMITS.wall_s + 2)
    owner.send_signal(signal.SIGCONT)
    assert owner.communicate()[0] == b"passed\n"
