"""Rules of a problem: which tolerance its numbers have, and at which places integers stay exact."""

from typing import Any

import pytest

from evaluator import ProblemTest
from evaluator.checker import AnyCase, Tolerance, parse_checker
from evaluator.comparison import compare_functional, compare_stdin
from evaluator.comparison.rules import ComparisonRules, choose_rules
from evaluator.comparison.tolerance import FUNCTIONAL_TOLERANCE
from tests.evaluator.problems import make_problem_with_tests

GRANT = "Print the mean. Your answer is accepted if its absolute or relative error is at most 10^-6."
FLOAT_CHECKER = {"type": "float", "abs": 1e-3}


def choose(*outputs: str, checker: Any = None, **changes: Any) -> ComparisonRules:
    problem = make_problem_with_tests(*(ProblemTest("", output) for output in outputs), checker=checker, **changes)
    return choose_rules(problem, parse_checker(checker))


def test_order_of_tolerances():
    assert choose("0.5", checker=FLOAT_CHECKER, question_content=GRANT).tolerance == Tolerance(1e-3, 0.0)
    assert choose("0.5", question_content=GRANT).tolerance == Tolerance(1e-6, 1e-6)
    assert choose("0.5", question_content="Print two decimals.").tolerance is None
    case = choose("YES 0.5", checker={"type": "tokens_ci"}, question_content=GRANT)
    assert case.checker == AnyCase() and case.tolerance == Tolerance(1e-6, 1e-6)
    distance = choose("0.5", func_name="f", question_content="Answers within 10^-5 of the actual answer are accepted.")
    assert distance.tolerance == FUNCTIONAL_TOLERANCE  # large numbers are rounded, as without a grant


@pytest.mark.parametrize(
    ("starter_code", "outputs", "real"),
    [
        ("class Solution:\n    def f(self, x: List[int]) -> float:\n        ", ["2"], True),
        (
            "class Solution:\n    def f(self, x: Callable[[int], int]) -> List[Optional[float]]:\n        ",
            ["[2]"],
            True,
        ),
        ("def f(x) -> 'float':\n    pass", ["2"], True),
        ('class Solution(object):\n    def f(self, x):\n        """\n        :rtype: float\n        """', ["2"], True),
        ("class Solution:\n    def f(self, x: float) -> int:\n        ", ["2"], False),
        ("class Solution:\n    def f(self, x: float) -> List[Union[int, float]]:\n        ", ["[2]"], False),
        (
            "class Solution:\n    def g(self) -> float:\n        \n    def f(self, x) -> bool:\n        ",
            ["true"],
            False,
        ),
        ("", ["2", "1.5"], True),
        ("", ["2", "3"], False),
        ("class Solution:\n    def f(self, x):\n        ", ["2", " 1.5 \n"], True),
        ("def f(", ["2"], False),
    ],
)
def test_functions_that_return_floats(starter_code: str, outputs: list[str], real: bool) -> None:
    rules = choose(*outputs, func_name="f", starter_code=starter_code)
    assert rules.returns_floats == real
    if outputs[0] == "2":
        assert (compare_functional("2", "2.000001", rules) is not None) == real
        assert compare_functional("2", "3", rules) is None


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        ("41111.11111", "41111.0", False),
        ("123456.5", "123457.4", False),
        ("123456.5", "123456.500009", True),
        ("1e15", "1000000000000000.5", True),
        ("0.0", "-0.0", True),
        ("Infinity", "Infinity", True),
        ("[0.1, 0.2]", "[0.1, 0.200009]", True),
        ("[0.1, 0.2]", "[0.1, 0.20002]", False),
    ],
)
def test_tolerance_of_functions_is_a_distance(expected: str, actual: str, accepted: bool) -> None:
    rules = choose(expected, func_name="f")
    assert (compare_functional(expected, actual, rules) is not None) == accepted


@pytest.mark.parametrize(
    ("outputs", "answer", "accepted"),
    [
        (["2", "3"], "2.0000000", True),  # no fraction anywhere: a whole number may be the mean
        (["2", "3"], "3", False),
        (["2 0.5", "3 0.25"], "2.0 0.5", False),
        (["2 0.5", "3 0.25"], "2 0.5000001", True),
        (["2 0.5", "3 0.25"], "2 .5", True),
        (["2\n0.5 1.5\n", "3\n1 2 0.5\n"], "2.0\n0.5 1.5\n", False),
        (["2\n0.5 1\n", "3\n1.5 2 0.5\n"], "2\n0.5 1.5\n", False),
        (["2\n0.5 1\n", "3\n1.5 2.5 1\n"], "2\n0.5 1.0\n", True),
        (["0.5 1 2", "0.5 1.5"], "0.5 1.0 2.0", True),  # positions that not every output has may be real
        (["1 0.5\n2 0.25\n", "1 0.5\n"], "1 0.5\n2.0 0.25\n", False),  # a column of a table
        (["1 0.5\n2 1\n", "1 0.5\n"], "1 0.5\n2 1.0\n", True),
        (["0.5\n1\n2\n"], "0.5\n1.0\n2.0\n", True),  # a list of real numbers
        (["yes\n0.5\n"], "YES\n0.5\n", False),
        (["n 5", "m 0.5"], "n 5.0", True),
    ],
)
def test_integers_stay_exact_at_integer_places(outputs: list[str], answer: str, accepted: bool) -> None:
    assert (compare_stdin(outputs[0], answer, choose(*outputs, question_content=GRANT)) is not None) == accepted


@pytest.mark.parametrize(
    ("outputs", "answer", "accepted"),
    [
        (["2", "3"], "2.0000001", True),
        (["[2, 0.5]", "[3, 0.25]"], "[2.0000001, 0.5]", False),
        (["[2, 0.5]", "[3, 0.25]"], "[2.0, 0.5000001]", True),  # 2.0 and 2 are the same JSON value
        (["[[1, 0.5], [2, 0.25]]", "[[1, 0.5]]"], "[[1, 0.5], [2.0000001, 0.25]]", False),
        (["[[1, 0.5], [2, 1]]", "[[1, 0.5]]"], "[[1, 0.5], [2, 1.0000001]]", True),
        (['{"a": 1, "b": 0.5}'], '{"a": 1.0000001, "b": 0.5}', True),
        (["[[[1]], 0.5]"], "[[[1.0000001]], 0.5]", True),
        (["[1, 0.5]", "not JSON"], "[1.0000001, 0.5]", True),
        (["[]", "[0.5]"], "[]", True),
    ],
)
def test_integers_stay_exact_at_integer_places_of_results(outputs: list[str], answer: str, accepted: bool) -> None:
    rules = choose(*outputs, question_content=GRANT, func_name="f")
    assert (compare_functional(outputs[0], answer, rules) is not None) == accepted


def test_integer_places_do_not_matter_where_the_annotation_says_float():
    starter = "class Solution:\n    def f(self) -> List[float]:\n        "
    rules = choose("[2, 0.5]", question_content=GRANT, func_name="f", starter_code=starter)
    assert compare_functional("[2, 0.5]", "[2.0000001, 0.5]", rules) == "granted_tolerance"
