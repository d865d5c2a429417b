"""Verdicts of ``Evaluator``: every status, stdin and functional problems, and labelled programs if they are present."""

import asyncio
import collections
import gzip
import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evaluator import Evaluator, Limits, ProblemTest, Status, load_problems
from evaluator.evaluator import apply_problem_limits
from tests.evaluator.problems import make_problem_with_tests

DATA = Path(__file__).parents[3] / "shared" / "data"
ADD_PROGRAM = "a, b = map(int, input().split())\nprint(a + b)\n"


def make_stdin_problem(*tests, **changes):
    """Return a standard-input problem with (input, output) ``tests`` and changed fields."""
    return make_problem_with_tests(*(ProblemTest(text, output, "stdin") for text, output in tests), **changes)


def make_functional_problem(func_name, *tests):
    """Return a problem that calls ``func_name``, with (input, output) ``tests``."""
    return make_problem_with_tests(
        *(ProblemTest(text, output, "functional") for text, output in tests), func_name=func_name
    )


STDIN_PROBLEM = make_stdin_problem(("1 2\n", "3\n"), ("10 -4\n", "6\n"), ("0 0\n", "0\n"))
FUNCTIONAL_PROBLEM = make_functional_problem("add", ("1\n2", "3"), ("10\n-4", "6"), ("0\n0", "0"))


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30, cpu_s=30, memory_mb=256, output_bytes=1 << 20)) as evaluator:
        yield evaluator


def shorten_time_limit(problem, status):
    """Return ``problem``, with a short time limit if the expected status is ``time_limit``."""
    return replace(problem, time_limit_s=0.5) if status == Status.TIME_LIMIT else problem


STDIN_CASES = {
    "correct": (ADD_PROGRAM, Status.PASSED),
    "correct, then os._exit": (ADD_PROGRAM + "import os, sys\nsys.stdout.flush()\nos._exit(0)", Status.PASSED),
    "wrong": (ADD_PROGRAM.replace("+", "-"), Status.WRONG_ANSWER),
    "wrong, then os._exit": ("import os\nprint(0, flush=True)\nos._exit(0)", Status.WRONG_ANSWER),
    "no output": ("pass", Status.WRONG_ANSWER),
    "answer on stderr": ("import sys\nsys.stderr.write(str(sum(map(int, input().split()))))", Status.WRONG_ANSWER),
    "output that is not UTF-8": ("import os\nos.write(1, bytes([255]))", Status.WRONG_ANSWER),
    "raises after the answer": (ADD_PROGRAM + "raise ValueError", Status.RUNTIME_ERROR),
    "exit 1 after the answer": (ADD_PROGRAM + "exit(1)", Status.RUNTIME_ERROR),
    "abort after the answer": (ADD_PROGRAM + "import os\nos.abort()", Status.RUNTIME_ERROR),
    "reads past the end of input": ("input()\ninput()", Status.RUNTIME_ERROR),
    "loop": ("while True: pass", Status.TIME_LIMIT),
    "loop that catches every exception": (
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        Status.TIME_LIMIT,
    ),
    "thread that outlives the main thread": (
        ADD_PROGRAM + "import threading, time\nthreading.Thread(target=time.sleep, args=(9,)).start()",
        Status.TIME_LIMIT,
    ),
    "allocates too much memory": ("x = bytearray(4 << 30)", Status.MEMORY_LIMIT),
    "writes too much memory": ("x = b'x' * (300 << 20)\nprint(3)", Status.MEMORY_LIMIT),
    "endless print": ("while True: print('x' * 99)", Status.OUTPUT_LIMIT),
    "endless os.write": ("import os\nwhile True: os.write(1, b'x' * 999)", Status.OUTPUT_LIMIT),
    "syntax error": ("print(", Status.COMPILE_ERROR),
    "empty program": ("", Status.WRONG_ANSWER),
    "no code": (None, Status.NO_CODE),
}


@pytest.mark.parametrize("name", STDIN_CASES)
def test_stdin_program_gets_its_status(evaluator, name):
    code, status = STDIN_CASES[name]
    verdict = evaluator.evaluate(shorten_time_limit(STDIN_PROBLEM, status), code)
    assert verdict.status == status, verdict
    assert verdict.passed == (status is Status.PASSED)
    assert verdict.tests_total == 3
    if status is Status.PASSED:
        assert (verdict.tests_passed, verdict.first_failed, verdict.accepted_by) == (3, None, "exact")
    elif status in (Status.COMPILE_ERROR, Status.NO_CODE):
        assert (verdict.tests_run, verdict.first_failed) == (0, None)
    else:
        assert (verdict.tests_run, verdict.first_failed, verdict.accepted_by) == (1, 0, None)


SOLUTION_TEMPLATE = "class Solution:\n    def add(self, a, b): return {}"
FUNCTIONAL_CASES = {
    "method": (SOLUTION_TEMPLATE.format("a + b"), Status.PASSED),
    "function": ("def add(a, b): return a + b", Status.PASSED),
    "uses the prelude": (
        "def add(a: int, b: Optional[int]) -> int: return reduce(operator.add, [a, b])",
        Status.PASSED,
    ),
    "future annotations": ("from __future__ import annotations\n" + SOLUTION_TEMPLATE.format("a + b"), Status.PASSED),
    "static method": ("class Solution:\n    add = staticmethod(lambda a, b: a + b)", Status.PASSED),
    "numpy scalar": ("import numpy as np\ndef add(a, b): return np.int64(a + b)", Status.PASSED),
    "prints": ("print(1)\ndef add(a, b):\n    print(a)\n    return a + b", Status.PASSED),
    "state in the instance": (
        "class Solution:\n    def __init__(self): self.n = 0\n"
        "    def add(self, a, b):\n        self.n += a + b\n        return self.n",
        Status.PASSED,
    ),
    "wrong": (SOLUTION_TEMPLATE.format("a - b"), Status.WRONG_ANSWER),
    "string for a number": (SOLUTION_TEMPLATE.format("str(a + b)"), Status.WRONG_ANSWER),
    "prints instead of returning": (SOLUTION_TEMPLATE.format("print(a + b)"), Status.WRONG_ANSWER),
    "set": (SOLUTION_TEMPLATE.format("{a + b}"), Status.WRONG_ANSWER),
    "generator": (SOLUTION_TEMPLATE.format("(x for x in [a + b])"), Status.WRONG_ANSWER),
    "nan": (SOLUTION_TEMPLATE.format("float('nan')"), Status.WRONG_ANSWER),
    "int that is equal to everything": (
        "class Y(int):\n    def __eq__(self, o): return True\ndef add(a, b): return Y(7)",
        Status.WRONG_ANSWER,
    ),
    "object that is equal to everything": (
        "class Y:\n    def __eq__(self, o): return True\ndef add(a, b): return Y()",
        Status.WRONG_ANSWER,
    ),
    "deeply nested list": (
        "def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
        Status.WRONG_ANSWER,
    ),
    "list that contains itself": ("def add(a, b):\n    x = []\n    x.append(x)\n    return x", Status.WRONG_ANSWER),
    "raises": (SOLUTION_TEMPLATE.format("1 / 0"), Status.RUNTIME_ERROR),
    "wrong number of parameters": ("def add(a): return a", Status.RUNTIME_ERROR),
    "function is missing": ("def other(a, b): return a + b", Status.RUNTIME_ERROR),
    "exits at import": ("import sys\nsys.exit(0)", Status.RUNTIME_ERROR),
    "os._exit at import": ("import os\nos._exit(0)", Status.RUNTIME_ERROR),
    "exits in call": ("def add(a, b): exit()", Status.RUNTIME_ERROR),
    "input at import": ("input()\ndef add(a, b): return a + b", Status.RUNTIME_ERROR),
    "deletes the builtins": ("import builtins\ndef add(a, b): builtins.__dict__.clear()", Status.WRONG_ANSWER),
    "loop": ("def add(a, b):\n    while True: pass", Status.TIME_LIMIT),
    "loop at import": ("while True: pass", Status.TIME_LIMIT),
    "patched clock": (
        "import time\ntime.monotonic = time.time = lambda: 0\ndef add(a, b):\n  while 1: pass",
        Status.TIME_LIMIT,
    ),
    "allocates too much memory": ("def add(a, b): return bytearray(4 << 30)", Status.MEMORY_LIMIT),
    "allocates too much memory at import": ("x = bytearray(4 << 30)", Status.MEMORY_LIMIT),
    "writes too much memory": ("def add(a, b):\n    x = b'x' * (300 << 20)\n    return a + b", Status.MEMORY_LIMIT),
    "huge result": ("def add(a, b): return 'x' * (2 << 20)", Status.OUTPUT_LIMIT),
    "syntax error": ("def add(a, b)", Status.COMPILE_ERROR),
}


@pytest.mark.parametrize("name", FUNCTIONAL_CASES)
def test_functional_program_gets_its_status(evaluator, name):
    code, status = FUNCTIONAL_CASES[name]
    verdict = evaluator.evaluate(shorten_time_limit(FUNCTIONAL_PROBLEM, status), code)
    assert verdict.status == status, verdict
    if status is Status.PASSED:
        assert (verdict.tests_passed, verdict.accepted_by) == (3, "json_equal")


def test_functional_values_are_json(evaluator):
    problem = make_functional_problem(
        "f", ('[1, "a", null, true]\n{"k": [1.5]}', '[[1, "a", null, true], {"k": [1.5]}]')
    )
    assert evaluator.evaluate(problem, "def f(a, b): return a, b").passed
    unicode = make_functional_problem("f", ('"\\u00e9\\n"', '"\\u00e9\\n"'))
    assert evaluator.evaluate(unicode, "def f(s): return s").passed


def test_first_failed_test_is_reported(evaluator):
    fails_second_test = "a, b = map(int, input().split())\nprint(3 if a == 1 else 0)"
    verdict = evaluator.evaluate(STDIN_PROBLEM, fails_second_test)
    assert (verdict.tests_passed, verdict.tests_run, verdict.first_failed) == (1, 2, 1)
    verdict = evaluator.evaluate(STDIN_PROBLEM, fails_second_test, all_tests=True)
    assert (verdict.tests_passed, verdict.tests_run, verdict.first_failed) == (2, 3, 1)
    assert verdict.status is Status.WRONG_ANSWER


def test_results_by_test_come_with_the_rejected_answers(evaluator):
    code = "a, b = map(int, input().split())\nprint({1: 3, 10: 7}.get(a) or 1 / 0)"
    run = evaluator.submit_all_tests(STDIN_PROBLEM, code).result()
    assert [result.status for result in run.results] == [
        Status.PASSED,
        Status.WRONG_ANSWER,
        Status.RUNTIME_ERROR,
    ]
    assert run.answers == {1: "7\n"}
    assert (run.verdict.status, run.verdict.first_failed) == (Status.WRONG_ANSWER, 1)
    invalid = evaluator.submit_all_tests(STDIN_PROBLEM, "print 1").result()
    assert (invalid.verdict.status, invalid.results, invalid.answers) == (Status.COMPILE_ERROR, (), {})


def test_all_tests_run_even_if_a_call_ends_the_process(evaluator):
    code = "import os\ndef add(a, b):\n    return a + b if a != 10 else os._exit(0)"
    verdict = evaluator.evaluate(FUNCTIONAL_PROBLEM, code, all_tests=True)
    assert (verdict.tests_passed, verdict.tests_run, verdict.first_failed) == (2, 3, 1)
    assert verdict.status is Status.RUNTIME_ERROR


def test_loop_uses_up_only_one_time_limit(evaluator):
    verdict = evaluator.evaluate(
        shorten_time_limit(FUNCTIONAL_PROBLEM, Status.TIME_LIMIT), "def add(a, b):\n    while True: pass"
    )
    assert (verdict.status, verdict.tests_run) == (Status.TIME_LIMIT, 1)


def test_accepted_by_is_the_loosest_strategy(evaluator):
    code = "a, b = map(int, input().split())\nprint(a + b, end='' if a else '\\n')"
    assert evaluator.evaluate(STDIN_PROBLEM, code).accepted_by == "trailing_whitespace"


def test_lower_limits_of_a_problem_take_precedence(evaluator):
    problem = make_stdin_problem(("", ""), time_limit_s=0.3, memory_limit_mb=4096)
    assert apply_problem_limits(problem, Limits()) == replace(Limits(), wall_s=0.3, cpu_s=0.3)
    assert evaluator.evaluate(problem, "import time\ntime.sleep(9)").status is Status.TIME_LIMIT


def test_problem_without_tests_gives_sandbox_error(evaluator):
    assert evaluator.evaluate(make_stdin_problem(), "").status is Status.SANDBOX_ERROR


def test_expected_output_that_is_not_json_gives_sandbox_error(evaluator):
    assert (
        evaluator.evaluate(make_functional_problem("f", ("1", "{")), "def f(x): return x").status
        is Status.SANDBOX_ERROR
    )


def test_evaluate_many_keeps_the_order():
    items = [(STDIN_PROBLEM, ADD_PROGRAM.replace("a + b", f"a + b + {i % 2}")) for i in range(20)] + [
        (FUNCTIONAL_PROBLEM, None)
    ]
    with Evaluator(Limits(wall_s=60, cpu_s=60), workers=2) as evaluator:
        verdicts = asyncio.run(evaluator.evaluate_many(items))
    assert [v.passed for v in verdicts] == [i % 2 == 0 for i in range(20)] + [False]
    assert verdicts[-1].status is Status.NO_CODE


@pytest.mark.heavy
def test_program_is_retried_after_its_zygote_was_killed():
    with Evaluator(Limits(wall_s=60, cpu_s=60)) as evaluator:
        assert evaluator.evaluate(STDIN_PROBLEM, ADD_PROGRAM).passed
        for problem, code in ((STDIN_PROBLEM, ADD_PROGRAM), (FUNCTIONAL_PROBLEM, "def add(a, b): return a + b")):
            guard_pid = evaluator._workers[0].light.guard_pid
            assert guard_pid is not None
            os.kill(guard_pid, signal.SIGKILL)
            time.sleep(0.1)
            assert evaluator.evaluate(problem, code).passed


def test_number_of_workers_must_be_positive():
    with pytest.raises(ValueError, match="workers"):
        Evaluator(workers=0)


def evaluate_with_descriptor_limits(soft, hard, statement):
    """Run a statement with the names of ``evaluator`` in a process with limits on open descriptors."""
    names = "from evaluator import *\nfrom evaluator.errors import UserError\n"
    return subprocess.run(
        [sys.executable, "-c", names + textwrap.dedent(statement)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )


def test_limit_on_descriptors_is_raised_for_the_workers():
    statement = """
        import resource
        with Evaluator(workers=16): print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 16 * 40)
        """
    completed = evaluate_with_descriptor_limits(64, 1024, statement)
    assert (completed.stdout, completed.stderr) == ("True\n", "")


def test_too_low_limit_on_descriptors_is_an_error_by_name():
    statement = """
        try: Evaluator(workers=90)
        except UserError as error: print(error)
        """
    completed = evaluate_with_descriptor_limits(64, 1000, statement)
    assert "workers 90: needs a limit of " in completed.stdout
    assert "use at most 24 workers, or raise the hard limit" in completed.stdout


@pytest.mark.heavy
def test_sandbox_runs_with_few_descriptors():
    statement = """
        limits = Limits(wall_s=60, cpu_s=60)
        with Sandbox() as sandbox, sandbox.load_program("print(input())", limits) as program:
            print(program.run(b"1").stdout)
        with Sandbox(calls=True) as sandbox, sandbox.load_program("def f(x): return x", limits, "f") as program:
            with program.start_calls(60) as calls: print(calls.call("2").text)
        """
    completed = evaluate_with_descriptor_limits(32, 32, statement)
    assert (completed.stdout, completed.stderr) == ("b'1\\n'\n2\n", "")


def test_import_does_not_load_heavy_packages():
    code = "import sys, evaluator\nprint([m for m in ('torch', 'ray', 'numpy', 'pyarrow') if m in sys.modules])"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root).stdout == "[]\n"


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="../shared/data with the labelled programs is missing")
def test_labelled_programs_get_their_labelled_verdict():
    problems = {p.question_id: p for p in load_problems(DATA / "lcb_problems.jsonl.gz", strict=True).problems}
    with gzip.open(DATA / "lcb_solutions_labelled.jsonl.gz", "rt") as lines:
        rows = [row for row in map(json.loads, lines) if row["verdict_on_these_tests"] != "tle"]
    rows = random.Random(5).sample(rows, 60)
    items = [(problems[row["question_id"]], row["code"]) for row in rows]
    with Evaluator(workers=2) as evaluator:
        verdicts = asyncio.run(evaluator.evaluate_many(items))
    counts = collections.Counter(
        (row["verdict_on_these_tests"] == "ok", verdict.passed) for row, verdict in zip(rows, verdicts, strict=True)
    )
    assert counts[True, False] + counts[False, True] == 0, f"programs by (labelled correct, passed): {counts}"


@pytest.mark.heavy
def test_program_that_leaves_files_has_one_budget_for_all_tests():
    tests = [("1 2\n", "3\n")] * 12
    file_writer = "import time\nopen('left', 'w').close()\ntime.sleep(0.3)\n" + ADD_PROGRAM
    with Evaluator(Limits(wall_s=20, cpu_s=20, budget_s=1.5)) as evaluator:
        verdict = evaluator.evaluate(make_stdin_problem(*tests), file_writer)
        assert verdict.status is Status.TIME_LIMIT
        assert verdict.detail == "the time budget for all tests together is used up"
        assert 1 < verdict.tests_run < 8
        assert evaluator.evaluate(make_stdin_problem(*tests[:2]), file_writer).passed
