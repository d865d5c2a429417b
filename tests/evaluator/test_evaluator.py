"""Verdicts: every status, both kinds of problems, and real programs where they are at hand."""

import asyncio
import collections
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evaluator import Evaluator, Limits, Problem, ProblemTest, Status, load_problems
from evaluator.evaluator import limits_of

DATA = Path(__file__).parents[3] / "shared" / "data"
ADD = "a, b = map(int, input().split())\nprint(a + b)\n"


def stdin_problem(*tests, **changes):
    built = tuple(ProblemTest(text, output, "stdin") for text, output in tests)
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
        **changes,
    )


def functional_problem(func_name, *tests, **changes):
    built = tuple(ProblemTest(text, output, "functional") for text, output in tests)
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
        **changes,
    )


SUMS = stdin_problem(("1 2\n", "3\n"), ("10 -4\n", "6\n"), ("0 0\n", "0\n"))
CALLS = functional_problem("add", ("1\n2", "3"), ("10\n-4", "6"), ("0\n0", "0"))


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30, cpu_s=30, memory_mb=256, output_bytes=1 << 20)) as evaluator:
        yield evaluator


def impatient(problem, status):
    """The problem, with a short time limit where that is what the program must meet."""
    return replace(problem, time_limit_s=0.5) if status == Status.TIME_LIMIT else problem


STDIN_CASES = {
    "right": (ADD, Status.PASSED),
    "right, then os._exit": (ADD + "import os, sys\nsys.stdout.flush()\nos._exit(0)", Status.PASSED),
    "wrong": (ADD.replace("+", "-"), Status.WRONG_ANSWER),
    "wrong, then os._exit": ("import os\nprint(0, flush=True)\nos._exit(0)", Status.WRONG_ANSWER),
    "silent": ("pass", Status.WRONG_ANSWER),
    "answer on stderr": ("import sys\nsys.stderr.write(str(sum(map(int, input().split()))))", Status.WRONG_ANSWER),
    "not unicode": ("import os\nos.write(1, bytes([255]))", Status.WRONG_ANSWER),
    "raises after the answer": (ADD + "raise ValueError", Status.RUNTIME_ERROR),
    "exit 1 after the answer": (ADD + "exit(1)", Status.RUNTIME_ERROR),
    "crash after the answer": (ADD + "import os\nos.abort()", Status.RUNTIME_ERROR),
    "reads too much": ("input()\ninput()", Status.RUNTIME_ERROR),
    "loop": ("while True: pass", Status.TIME_LIMIT),
    "swallowing loop": ("while True:\n  try:\n    while True: pass\n  except BaseException: pass", Status.TIME_LIMIT),
    "thread stays": (
        ADD + "import threading, time\nthreading.Thread(target=time.sleep, args=(9,)).start()",
        "time_limit",
    ),
    "memory": ("x = bytearray(4 << 30)", Status.MEMORY_LIMIT),
    "memory, touched": ("x = b'x' * (300 << 20)\nprint(3)", Status.MEMORY_LIMIT),
    "flood": ("while True: print('x' * 99)", Status.OUTPUT_LIMIT),
    "raw flood": ("import os\nwhile True: os.write(1, b'x' * 999)", Status.OUTPUT_LIMIT),
    "syntax": ("print(", Status.COMPILE_ERROR),
    "empty": ("", Status.WRONG_ANSWER),
    "nothing": (None, Status.NO_CODE),
}


@pytest.mark.parametrize("name", STDIN_CASES)
def test_stdin(evaluator, name):
    code, status = STDIN_CASES[name]
    verdict = evaluator.evaluate(impatient(SUMS, status), code)
    assert verdict.status == status, verdict
    assert verdict.passed == (status is Status.PASSED)
    assert verdict.tests_total == 3
    if status is Status.PASSED:
        assert (verdict.tests_passed, verdict.first_failed, verdict.accepted_by) == (3, None, "exact")
    elif status in (Status.COMPILE_ERROR, Status.NO_CODE):
        assert (verdict.tests_run, verdict.first_failed) == (0, None)
    else:
        assert (verdict.tests_run, verdict.first_failed, verdict.accepted_by) == (1, 0, None)


SOLUTION = "class Solution:\n    def add(self, a, b): return {}"
FUNCTIONAL_CASES = {
    "method": (SOLUTION.format("a + b"), Status.PASSED),
    "function": ("def add(a, b): return a + b", Status.PASSED),
    "prelude": ("def add(a: int, b: Optional[int]) -> int: return reduce(operator.add, [a, b])", Status.PASSED),
    "future": ("from __future__ import annotations\n" + SOLUTION.format("a + b"), Status.PASSED),
    "static": ("class Solution:\n    add = staticmethod(lambda a, b: a + b)", Status.PASSED),
    "numpy": ("import numpy as np\ndef add(a, b): return np.int64(a + b)", Status.PASSED),
    "prints": ("print(1)\ndef add(a, b):\n    print(a)\n    return a + b", Status.PASSED),
    "fresh instance": (
        "class Solution:\n    def __init__(self): self.n = 0\n"
        "    def add(self, a, b):\n        self.n += a + b\n        return self.n",
        Status.PASSED,
    ),
    "wrong": (SOLUTION.format("a - b"), Status.WRONG_ANSWER),
    "text": (SOLUTION.format("str(a + b)"), Status.WRONG_ANSWER),
    "none": (SOLUTION.format("print(a + b)"), Status.WRONG_ANSWER),
    "set": (SOLUTION.format("{a + b}"), Status.WRONG_ANSWER),
    "generator": (SOLUTION.format("(x for x in [a + b])"), Status.WRONG_ANSWER),
    "nan": (SOLUTION.format("float('nan')"), Status.WRONG_ANSWER),
    "liar": ("class Y(int):\n    def __eq__(self, o): return True\ndef add(a, b): return Y(7)", Status.WRONG_ANSWER),
    "lying object": ("class Y:\n    def __eq__(self, o): return True\ndef add(a, b): return Y()", Status.WRONG_ANSWER),
    "deep": ("def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x", Status.WRONG_ANSWER),
    "circle": ("def add(a, b):\n    x = []\n    x.append(x)\n    return x", Status.WRONG_ANSWER),
    "raises": (SOLUTION.format("1 / 0"), Status.RUNTIME_ERROR),
    "arity": ("def add(a): return a", Status.RUNTIME_ERROR),
    "missing": ("def other(a, b): return a + b", Status.RUNTIME_ERROR),
    "exits at import": ("import sys\nsys.exit(0)", Status.RUNTIME_ERROR),
    "os._exit at import": ("import os\nos._exit(0)", Status.RUNTIME_ERROR),
    "exits in call": ("def add(a, b): exit()", Status.RUNTIME_ERROR),
    "input at import": ("input()\ndef add(a, b): return a + b", Status.RUNTIME_ERROR),
    "no builtins": ("import builtins\ndef add(a, b): builtins.__dict__.clear()", Status.WRONG_ANSWER),
    "loop": ("def add(a, b):\n    while True: pass", Status.TIME_LIMIT),
    "loop at import": ("while True: pass", Status.TIME_LIMIT),
    "patched clock": (
        "import time\ntime.monotonic = time.time = lambda: 0\ndef add(a, b):\n  while 1: pass",
        "time_limit",
    ),
    "memory": ("def add(a, b): return bytearray(4 << 30)", Status.MEMORY_LIMIT),
    "memory at import": ("x = bytearray(4 << 30)", Status.MEMORY_LIMIT),
    "memory, touched": ("def add(a, b):\n    x = b'x' * (300 << 20)\n    return a + b", Status.MEMORY_LIMIT),
    "huge result": ("def add(a, b): return 'x' * (2 << 20)", Status.OUTPUT_LIMIT),
    "syntax": ("def add(a, b)", Status.COMPILE_ERROR),
}


@pytest.mark.parametrize("name", FUNCTIONAL_CASES)
def test_functional(evaluator, name):
    code, status = FUNCTIONAL_CASES[name]
    verdict = evaluator.evaluate(impatient(CALLS, status), code)
    assert verdict.status == status, verdict
    if status is Status.PASSED:
        assert (verdict.tests_passed, verdict.accepted_by) == (3, "json_equal")


def test_values(evaluator):
    problem = functional_problem("f", ('[1, "a", null, true]\n{"k": [1.5]}', '[[1, "a", null, true], {"k": [1.5]}]'))
    assert evaluator.evaluate(problem, "def f(a, b): return a, b").passed
    unicode = functional_problem("f", ('"\\u00e9\\n"', '"\\u00e9\\n"'))
    assert evaluator.evaluate(unicode, "def f(s): return s").passed


def test_the_first_failed_test(evaluator):
    late = "a, b = map(int, input().split())\nprint(3 if a == 1 else 0)"
    verdict = evaluator.evaluate(SUMS, late)
    assert (verdict.tests_passed, verdict.tests_run, verdict.first_failed) == (1, 2, 1)
    verdict = evaluator.evaluate(SUMS, late, all_tests=True)
    assert (verdict.tests_passed, verdict.tests_run, verdict.first_failed) == (2, 3, 1)
    assert verdict.status is Status.WRONG_ANSWER


def test_all_tests_go_on_after_a_lost_child(evaluator):
    code = "import os\ndef add(a, b):\n    return a + b if a != 10 else os._exit(0)"
    verdict = evaluator.evaluate(CALLS, code, all_tests=True)
    assert (verdict.tests_passed, verdict.tests_run, verdict.first_failed) == (2, 3, 1)
    assert verdict.status is Status.RUNTIME_ERROR


def test_a_loop_costs_its_limit_once(evaluator):
    verdict = evaluator.evaluate(impatient(CALLS, Status.TIME_LIMIT), "def add(a, b):\n    while True: pass")
    assert (verdict.status, verdict.tests_run) == (Status.TIME_LIMIT, 1)


def test_the_loosest_strategy_is_named(evaluator):
    code = "a, b = map(int, input().split())\nprint(a + b, end='' if a else '\\n')"
    assert evaluator.evaluate(SUMS, code).accepted_by == "trailing_whitespace"


def test_limits_of_a_problem_win_where_lower(evaluator):
    problem = stdin_problem(("", ""), time_limit_s=0.3, memory_limit_mb=4096)
    assert limits_of(problem, Limits()) == replace(Limits(), wall_s=0.3, cpu_s=0.3)
    assert evaluator.evaluate(problem, "import time\ntime.sleep(9)").status is Status.TIME_LIMIT


def test_a_problem_without_tests_passes_nothing(evaluator):
    assert evaluator.evaluate(stdin_problem(), "").status is Status.SANDBOX_ERROR


def test_expected_output_that_is_not_json_is_our_fault(evaluator):
    assert evaluator.evaluate(functional_problem("f", ("1", "{")), "def f(x): return x").status is Status.SANDBOX_ERROR


def test_many_keep_their_order():
    items = [(SUMS, ADD.replace("a + b", f"a + b + {i % 2}")) for i in range(20)] + [(CALLS, None)]
    with Evaluator(Limits(wall_s=60, cpu_s=60), workers=2) as evaluator:
        verdicts = asyncio.run(evaluator.evaluate_many(items))
    assert [v.passed for v in verdicts] == [i % 2 == 0 for i in range(20)] + [False]
    assert verdicts[-1].status is Status.NO_CODE


def test_a_dead_zygote_costs_one_retry():
    with Evaluator(Limits(wall_s=60, cpu_s=60)) as evaluator:
        assert evaluator.evaluate(SUMS, ADD).passed
        for problem, code in ((SUMS, ADD), (CALLS, "def add(a, b): return a + b")):
            guard = evaluator._workers[0].light.zygote_pid
            assert guard is not None
            os.kill(guard, signal.SIGKILL)
            time.sleep(0.1)
            assert evaluator.evaluate(problem, code).passed


def test_workers_must_be_positive():
    with pytest.raises(ValueError, match="workers"):
        Evaluator(workers=0)


def test_import_is_light():
    code = "import sys, evaluator\nprint([m for m in ('torch', 'ray', 'numpy', 'pyarrow') if m in sys.modules])"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root).stdout == "[]\n"


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="the labelled programs (../shared/data) are not here")
def test_real_programs_agree_with_their_labels():
    problems = {p.question_id: p for p in load_problems(DATA / "lcb_problems.jsonl.gz", strict=True).problems}
    with gzip.open(DATA / "lcb_solutions_labelled.jsonl.gz", "rt") as lines:
        rows = [row for row in map(json.loads, lines) if row["verdict_on_these_tests"] != "tle"]
    rows = random.Random(5).sample(rows, 60)
    items = [(problems[row["question_id"]], row["code"]) for row in rows]
    with Evaluator(workers=2) as evaluator:
        verdicts = asyncio.run(evaluator.evaluate_many(items))
    pairs = collections.Counter(
        (row["verdict_on_these_tests"] == "ok", verdict.passed) for row, verdict in zip(rows, verdicts, strict=True)
    )
    assert pairs[True, False] + pairs[False, True] == 0, pairs


def test_a_program_that_leaves_files_has_one_budget_like_any_other():
    tests = [("1 2\n", "3\n")] * 12
    leaving = "import time\nopen('left', 'w').close()\ntime.sleep(0.3)\n" + ADD
    with Evaluator(Limits(wall_s=20, cpu_s=20, budget_s=1.5)) as evaluator:
        verdict = evaluator.evaluate(stdin_problem(*tests), leaving)
        assert verdict.status is Status.TIME_LIMIT
        assert verdict.detail == "the budget of all tests together is spent"
        assert 1 < verdict.tests_run < 8
        assert evaluator.evaluate(stdin_problem(*tests[:2]), leaving).passed
