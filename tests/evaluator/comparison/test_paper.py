"""Comparison strategies of policy ``paper``, which are looser."""

import pytest
from hypothesis import given

from evaluator.comparison import (
    PAPER_STRATEGIES,
    compare_functional,
    compare_stdin,
)
from tests.evaluator.comparison.strategies import TEXTS


@pytest.mark.parametrize(
    ("expected", "actual", "accepted_by"),
    [
        ("3", "3\n", "trailing_whitespace"),
        ("1000000", "1000001", "paper_allclose"),
        ("3", "+3", "paper_allclose"),
        ("1 2", "[1, 2]", "paper_containers"),
        ("1 2", "(1, 2)", "paper_containers"),
        ("0.3333", "0.3337", None),
        ("0.33333", "0.33301", "paper_rounding"),
        ("1 2\n3 4\n", "4 3\n2 1\n", "paper_line_sets"),
        ("3 2 2", "2 3", "paper_line_sets"),
        ("1 2\n3 4\n", "1 3\n2 4\n", "paper_token_set"),
        ("1 2", "1 2 3", None),
        ("YES", "yes", None),
        ("1.5", "nan", None),
        ("1", "1 " * 100_000, None),
    ],
)
def test_paper_policy_for_texts(expected: str, actual: str, accepted_by: str | None) -> None:
    assert compare_stdin(expected, actual, policy="paper") == accepted_by
    if accepted_by is not None and accepted_by.startswith("paper_"):
        assert compare_stdin(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual", "accepted_by"),
    [
        ("12", '"12"', "paper_containers"),
        ("[[1], [2]]", "[1, 2]", "paper_containers"),
        ("[1000000]", "[1000001]", "paper_containers"),
        ("[2, 1]", "[1, 2]", "paper_line_sets"),
        ("true", "1", None),
    ],
)
def test_paper_policy_for_function_results(expected: str, actual: str, accepted_by: str | None) -> None:
    assert compare_functional(expected, actual, policy="paper") == accepted_by
    assert compare_functional(expected, actual) is None


@given(TEXTS, TEXTS)
def test_paper_policy_tries_its_strategies_in_order(expected: str, actual: str) -> None:
    if compare_stdin(expected, actual) is None:
        first = next((s.__name__ for s in PAPER_STRATEGIES if s(expected, actual)), None)
        assert compare_stdin(expected, actual, policy="paper") == first
