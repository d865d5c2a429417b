"""Functional problems whose values are Python's (metadata.values): what arrives, what is called, what is equal."""

from dataclasses import replace

import pytest

from evaluator import Evaluator, Limits
from evaluator.inside.values import tagged_text
from evaluator.problem import Problem, ProblemError, ProblemTest, parse_problem, to_row
from evaluator.verdict import Status


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30.0, cpu_s=30.0, memory_mb=256)) as evaluator:
        yield evaluator


def problem(expected, *arguments, starter_code="", checker=None):
    lines = "\n".join(tagged_text(argument, canonical=False) for argument in arguments)
    test = ProblemTest(lines, tagged_text(expected, canonical=True), "functional")
    return Problem(
        question_id="q",
        question_title="q",
        question_content="Statement.",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code=starter_code,
        public_tests=(),
        private_tests=(test,),
        func_name="f",
        checker=checker,
        values="python",
    )


ACCEPTED = {
    "a tuple arrives as one": ((1, 2), "def f(x): return (x[0], 2) if type(x) is tuple else None", (1,)),
    "a set arrives as one": (True, "def f(x): return x == {1, (2, 3)}", {1, (2, 3)}),
    "keys need not be strings": ({(1, 2): "a"}, "def f(x): return {k: v for k, v in x.items()}", {(1, 2): "a"}),
    "the order of a dict arrives": ([3, 1, 2], "def f(x): return list(x)", {3: 0, 1: 0, 2: 0}),
    "sets in any order": ({1, 2, 30}, "def f(): return {30, 1, 2}"),
    "1 for True": (True, "def f(): return 1"),
    "False for 0.0": (0.0, "def f(): return False"),
    "an int for a float": ((2.0,), "def f(): return (2,)"),
    "a fraction within 1e-6": ([0.3], "def f(): return [0.1 + 0.2]"),
    "None with an annotation": (None, "def f(x: list) -> None: x.append(1)", [1]),
    "a list in spite of an annotation": ([1, 2], "def f(head: 'ListNode'): return head", [1, 2]),
    "complex": (1j, "def f(x): return x", 1j),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(evaluator, name):
    expected, code, *arguments = ACCEPTED[name]
    verdict = evaluator.evaluate(problem(expected, *arguments), code)
    assert verdict.passed, verdict


REFUSED = {
    "a list for a tuple": ((1, 2), "def f(): return [1, 2]", Status.WRONG_ANSWER),
    "a tuple for a list": ([1, 2], "def f(): return (1, 2)", Status.WRONG_ANSWER),
    "a list for a set": ({1}, "def f(): return [1]", Status.WRONG_ANSWER),
    "a dict that looks like a tuple": ((1,), "def f(): return {'tuple': [1]}", Status.WRONG_ANSWER),
    "a string for a number": (12, "def f(): return '12'", Status.WRONG_ANSWER),
    "a fraction too far off": (0.5, "def f(): return 0.500002", Status.WRONG_ANSWER),
    "a fraction for an integer": (2, "def f(): return 2.0000001", Status.WRONG_ANSWER),
    "an iterator": ([1], "def f(): return iter([1])", Status.WRONG_ANSWER),
    "truth is no value": (True, "def f(): return object()", Status.WRONG_ANSWER),
    "the changed argument": ([1, 2], "def f(x: list) -> None: x.append(2)", Status.WRONG_ANSWER, [1]),
    "a method of Solution": (1, "class Solution:\n    def f(self): return 1", Status.RUNTIME_ERROR),
    "a name that nobody defined": (2, "def f(): return gcd(2, 4)", Status.RUNTIME_ERROR),
    "equal to everything": (
        *(5, "class X:\n    __eq__ = lambda s, o: True\ndef f(): return X()"),
        Status.WRONG_ANSWER,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(evaluator, name):
    expected, code, status, *arguments = REFUSED[name]
    assert evaluator.evaluate(problem(expected, *arguments), code).status is status


STARTER = """from typing import List
import math

def half(x):
    return x / 2

def f(x: List[int]) -> float:
    'stub'
"""


def test_what_the_starter_code_has_besides_the_function_is_there(evaluator):
    asked = problem(2.0, [3, 4], starter_code=STARTER)
    assert evaluator.evaluate(asked, "def f(x: List[int]): return half(math.floor(x[1]))").passed
    assert evaluator.evaluate(asked, "def half(x): return 2\ndef f(x): return half(9)").passed


def test_the_stub_in_the_starter_code_is_no_answer(evaluator):
    assert evaluator.evaluate(problem(None, [1], starter_code=STARTER), "x = 1").status is Status.RUNTIME_ERROR


def test_a_custom_check_gets_python_values(evaluator):
    code = "def check(inp, out, exp): return inp == [(1,)] and set(out) == exp"
    asked = problem({1, 2}, (1,), checker={"type": "custom", "code": code})
    assert evaluator.evaluate(asked, "def f(x): return [2, 1, 2]").passed
    assert evaluator.evaluate(asked, "def f(x): return [2]").status is Status.WRONG_ANSWER
    assert evaluator.evaluate(asked, "def f(x): return object()").status is Status.WRONG_ANSWER


def test_a_granted_tolerance_reaches_into_tuples(evaluator):
    asked = problem((1.0, 5), checker={"type": "float", "abs": 0.1, "rel": 0})
    assert evaluator.evaluate(asked, "def f(): return (1.05, 5)").passed
    assert not evaluator.evaluate(asked, "def f(): return [1.05, 5]").passed


def test_rows_come_back():
    asked = problem({1: (2,)}, {3}, starter_code=STARTER)
    assert parse_problem(to_row(asked)) == asked
    assert '"values"' not in to_row(replace(asked, values="json"))["metadata"]


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
def test_rows_that_make_no_sense(changes, message):
    case = {"input": changes.get("input", "1"), "output": changes.get("output", "1")}
    row = {
        "question_id": "q",
        "starter_code": changes.get("starter_code", ""),
        "public_test_cases": [case],
        "metadata": {"func_name": changes.get("func_name", "f"), "values": changes["values"]},
    }
    with pytest.raises(ProblemError, match=message):
        parse_problem(row)
