"""Integers of more digits than Python converts by default: read, printed, written in a source, returned."""

import pytest

from evaluator import Evaluator, Limits, ProblemTest, Status
from tests.evaluator.problems import make_problem_with_tests

LONG = "7" * 6000


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30, cpu_s=30, memory_mb=256)) as evaluator:
        yield evaluator


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print(int(input()) + 1)", Status.PASSED),
        (f"input(); print({LONG} + 1)", Status.PASSED),
        ("print(eval(input()) + 1)", Status.PASSED),
        ("print(int(input()) + 2)", Status.WRONG_ANSWER),
    ],
)
def test_long_integers_are_read_and_printed(evaluator, code, status):
    problem = make_problem_with_tests(ProblemTest(f"{LONG}\n", f"{LONG[:-1]}8\n"))
    assert evaluator.evaluate(problem, code).status is status


@pytest.mark.parametrize(("step", "status"), [(1, Status.PASSED), (2, Status.WRONG_ANSWER)])
@pytest.mark.parametrize("values", ["json", "python"])
def test_long_integers_are_arguments_and_results(evaluator, values, step, status):
    test = ProblemTest(LONG, f"{LONG[:-1]}8", "functional")
    problem = make_problem_with_tests(test, func_name="f", values=values)
    assert evaluator.evaluate(problem, f"def f(n):\n    return n + {step}").status is status
