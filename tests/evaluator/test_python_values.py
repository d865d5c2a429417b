"""Functional problems with Python values (metadata.values is python): arguments, calls and equality of results."""

from dataclasses import replace

import pytest

from evaluator import Evaluator, Limits
from evaluator.inside.values import to_tagged_text
from evaluator.problem import ProblemError, ProblemTest, parse_problem, to_row
from evaluator.verdict import Status
from tests.evaluator.problems import make_problem_with_tests


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30.0, cpu_s=30.0, memory_mb=256)) as evaluator:
        yield evaluator


def make_python_problem(expected, *arguments, starter_code="", checker=None):
    """Return a problem whose only test calls ``f`` with ``arguments`` and expects the value ``expected``."""
    lines = "\n".join(to_tagged_text(argument, canonical=False) for argument in arguments)
    test = ProblemTest(lines, to_tagged_text(expected, canonical=True), "functional")
    return make_problem_with_tests(
        public_tests=(),
        private_tests=(test,),
        starter_code=starter_code,
        func_name="f",
        checker=checker,
        values="python",
    )


ACCEPTED_ANSWERS = {
    "a tuple as argument": ((1, 2), "def f(x): return (x[0], 2) if type(x) is tuple else None", (1,)),
    "a set as argument": (True, "def f(x): return x == {1, (2, 3)}", {1, (2, 3)}),
    "keys that are not strings": ({(1, 2): "a"}, "def f(x): return {k: v for k, v in x.items()}", {(1, 2): "a"}),
    "the order of a dict as argument": ([3, 1, 2], "def f(x): return list(x)", {3: 0, 1: 0, 2: 0}),
    "sets in any order": ({1, 2, 30}, "def f(): return {30, 1, 2}"),
    "1 for True": (True, "def f(): return 1"),
    "False for 0.0": (0.0, "def f(): return False"),
    "an int for a float": ((2.0,), "def f(): return (2,)"),
    "a fraction within 1e-5": ([0.3], "def f(): return [0.1 + 0.2]"),
    "None from a function annotated with None": (None, "def f(x: list) -> None: x.append(1)", [1]),
    "a list although the annotation names a linked list": ([1, 2], "def f(head: 'ListNode'): return head", [1, 2]),
    "complex": (1j, "def f(x): return x", 1j),
}


@pytest.mark.parametrize("name", ACCEPTED_ANSWERS)
def test_equal_answer_is_accepted(evaluator, name):
    expected, code, *arguments = ACCEPTED_ANSWERS[name]
    verdict = evaluator.evaluate(make_python_problem(expected, *arguments), code)
    assert verdict.passed, verdict


REJECTED_ANSWERS = {
    "a list for a tuple": ((1, 2), "def f(): return [1, 2]", Status.WRONG_ANSWER),
    "a tuple for a list": ([1, 2], "def f(): return (1, 2)", Status.WRONG_ANSWER),
    "a list for a set": ({1}, "def f(): return [1]", Status.WRONG_ANSWER),
    "a dict that looks like a tuple": ((1,), "def f(): return {'tuple': [1]}", Status.WRONG_ANSWER),
    "a string for a number": (12, "def f(): return '12'", Status.WRONG_ANSWER),
    "a fraction too far off": (0.5, "def f(): return 0.50002", Status.WRONG_ANSWER),
    "a fraction for an integer": (2, "def f(): return 2.0000001", Status.WRONG_ANSWER),
    "an iterator": ([1], "def f(): return iter([1])", Status.WRONG_ANSWER),
    "an object without a form": (True, "def f(): return object()", Status.WRONG_ANSWER),
    "the changed argument of a function that returns None": (
        [1, 2],
        "def f(x: list) -> None: x.append(2)",
        Status.WRONG_ANSWER,
        [1],
    ),
    "a method of Solution": (1, "class Solution:\n    def f(self): return 1", Status.RUNTIME_ERROR),
    "an undefined name": (2, "def f(): return gcd(2, 4)", Status.RUNTIME_ERROR),
    "an object that is equal to everything": (
        5,
        "class X:\n    __eq__ = lambda s, o: True\ndef f(): return X()",
        Status.WRONG_ANSWER,
    ),
}


@pytest.mark.parametrize("name", REJECTED_ANSWERS)
def test_different_answer_is_rejected(evaluator, name):
    expected, code, status, *arguments = REJECTED_ANSWERS[name]
    assert evaluator.evaluate(make_python_problem(expected, *arguments), code).status is status


STARTER_CODE = """from typing import List
import math

def half(x):
    return x / 2

def f(x: List[int]) -> float:
    'stub'
"""


def test_other_definitions_of_the_starter_code_are_available(evaluator):
    problem = make_python_problem(2.0, [3, 4], starter_code=STARTER_CODE)
    assert evaluator.evaluate(problem, "def f(x: List[int]): return half(math.floor(x[1]))").passed
    assert evaluator.evaluate(problem, "def half(x): return 2\ndef f(x): return half(9)").passed


def test_stub_of_the_starter_code_is_not_an_answer(evaluator):
    assert (
        evaluator.evaluate(make_python_problem(None, [1], starter_code=STARTER_CODE), "x = 1").status
        is Status.RUNTIME_ERROR
    )


def test_custom_check_gets_python_values(evaluator):
    code = "def check(inp, out, exp): return inp == [(1,)] and set(out) == exp"
    problem = make_python_problem({1, 2}, (1,), checker={"type": "custom", "code": code})
    assert evaluator.evaluate(problem, "def f(x): return [2, 1, 2]").passed
    assert evaluator.evaluate(problem, "def f(x): return [2]").status is Status.WRONG_ANSWER
    assert evaluator.evaluate(problem, "def f(x): return object()").status is Status.WRONG_ANSWER


def test_tolerance_applies_inside_tuples(evaluator):
    problem = make_python_problem((1.0, 5), checker={"type": "float", "abs": 0.1, "rel": 0})
    assert evaluator.evaluate(problem, "def f(): return (1.05, 5)").passed
    assert not evaluator.evaluate(problem, "def f(): return [1.05, 5]").passed


def test_to_row_and_parse_problem_round_trip():
    problem = make_python_problem({1: (2,)}, {3}, starter_code=STARTER_CODE)
    assert parse_problem(to_row(problem)) == problem
    assert '"values"' not in to_row(replace(problem, values="json"))["metadata"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": "yaml"}, "neither json nor python"),
        ({"values": "python", "func_name": None}, "functional problems only"),
        ({"values": "python", "starter_code": "def f(x):"}, "Python by itself"),
        ({"values": "python", "output": '{"tuple": 1}'}, "output: not one JSON value: not a tag"),
        ({"values": "python", "input": '{"set": [[]]}'}, "input, line 1: not one JSON value"),
    ],
)
def test_inconsistent_row_raises(changes, message):
    test = {"input": changes.get("input", "1"), "output": changes.get("output", "1")}
    row = {
        "question_id": "q",
        "starter_code": changes.get("starter_code", ""),
        "public_test_cases": [test],
        "metadata": {"func_name": changes.get("func_name", "f"), "values": changes["values"]},
    }
    with pytest.raises(ProblemError, match=message):
        parse_problem(row)
