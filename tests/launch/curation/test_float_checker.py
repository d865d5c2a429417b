"""Float checkers written from the answers of right programs, and the statements that allow several answers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.checker import parse_checker
from evaluator.problem import ProblemTest
from launch.curation.verification.float_checker import find_float_checker, is_accepted
from launch.curation.verification.intervals import Share
from launch.curation.verification.several_answers import allows_several_answers
from tests.launch.curation.candidates import make_candidate


def find_checker(expected, answer, **changes):
    tests = (ProblemTest("1\n", expected),)
    return find_float_checker(make_candidate(public_tests=tests, **changes).problem, [(0, answer)])


@pytest.mark.parametrize(
    ("expected", "answer", "tolerance"),
    [
        ("12.300\n", "12.3\n", 1e-6),
        ("0.5\n", ".5\n".replace(".5", "0.50000000001"), 1e-6),
        ("0.333\n", "0.3333333333\n", 1e-3),
        ("0.33 4\n", "0.3333333333 4\n", 1e-2),
        ("3\n", "3.0\n", 1e-6),
        ("3\n", "2.9999999999\n", 1e-6),
        ("1000000000.5\n", "1000000000.7\n", 1e-6),
        ("yes 1e-07\n", "yes 0.0000001\n", 1e-6),
    ],
)
def test_the_tolerance_is_as_small_as_the_answers_allow(expected, answer, tolerance):
    checker = find_checker(expected, answer)
    assert checker == {"type": "float", "abs": pytest.approx(tolerance), "rel": 1e-6}
    parse_checker(checker)


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("3\n", "4\n"),
        ("0.333333\n", "0.334444\n"),
        ("0.3\n", "0.3333\n"),
        ("0.5 yes\n", "0.5000001 no\n"),
        ("0.5\n", "0.5 0.5\n"),
        ("0.5 1\n", "0.5000001 2\n"),
        ("yes\n", "no\n"),
        ("nan\n", "0.5\n"),
        ("0.5\n", "1e999\n"),
        ("0.5\n", "1e99999999\n"),
        ("", "0.5"),
    ],
)
def test_other_differences_get_no_checker(expected, answer):
    assert find_checker(expected, answer) is None


def test_a_checker_or_a_granted_tolerance_is_not_replaced():
    assert find_checker("0.333\n", "0.33333\n", checker={"type": "tokens_ci"}) is None
    grant = "Print the value. An absolute or relative error of at most 10^-6 is allowed."
    assert find_checker("0.333\n", "0.33333\n", question_content=grant) is None


def test_results_of_functions_are_compared_as_values():
    test = ProblemTest("1", "[0.33, 1]", "functional")
    problem = make_candidate(public_tests=(test,), func_name="f", starter_code="def f(x):\n    ").problem
    checker = find_float_checker(problem, [(0, "[0.33333333, 1]")])
    assert checker is not None
    assert checker["abs"] == pytest.approx(1e-2)
    assert find_float_checker(problem, [(0, "[0.33333333, 2]")]) is None


@given(st.floats(-1e6, 1e6), st.integers(2, 8))
def test_rounded_numbers_are_accepted_with_the_checker_that_is_found(number, decimals):
    problem = make_candidate(public_tests=(ProblemTest("1\n", f"{number:.{decimals}f}\n"),)).problem
    checker = find_float_checker(problem, [(0, f"{number:.12f}\n")])
    assert checker is not None
    assert checker["abs"] <= max(1e-6, 10.0**-decimals)
    assert is_accepted(problem, checker, problem.tests[0].output, f"{number:.12f}\n")


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_interval_contains_the_share_and_solves_its_equation(hits, others):
    share = Share(hits, hits + others)
    low, high = share.interval
    value = share.value
    assert value is not None
    assert value == hits / (hits + others)
    assert 0 <= low <= value <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:
            deviation = math.sqrt(bound * (1 - bound) / share.total)
            assert abs(value - bound) == pytest.approx(1.959964 * deviation, rel=1e-4)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert Share(0, 0).value is None


@pytest.mark.parametrize(
    "statement",
    [
        "If there are multiple answers, print any of them.",
        "If there are several possible answers, you may print any one.",
        "If multiple answers exist, output any.",
        "In case of more than one optimal plan, you can output any of them.",
        "There may be multiple valid answers. Print any of them.",
        "Return an array containing the indices of all peaks in any order.",
        "You can print the edges in any order.",
        "For each test case, output any string of length $n$ that satisfies the conditions.",
        "Any valid answer will be accepted.",
        "Find any such permutation.",
        "If there are multiple such pairs, you can\nreturn any of them.",
        "You may return any pair.",
    ],
)
def test_statements_that_allow_several_answers(statement):
    assert allows_several_answers(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "You can visit the cities in any order. Print the shortest time.",
        "You may apply the operations any number of times. Print the smallest sum.",
        "If there are several smallest characters, you can delete any of them. Return the resulting string.",
        "If there are multiple answers, print the smallest one.",
        "A permutation is an array of n distinct numbers in arbitrary order. Print its median.",
        "Return the indices in any order. The answer is guaranteed to be unique.",
        "Print -1 if there is no answer.",
        "",
    ],
)
def test_statements_with_one_answer(statement):
    assert not allows_several_answers(statement)
