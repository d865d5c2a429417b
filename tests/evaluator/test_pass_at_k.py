"""Estimates of pass@k and of the difference between two runs."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.pass_at_k import Attempts, estimate, paired_difference, pass_at_k


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_passed_program(tried, data):
    passed = data.draw(st.integers(0, tried))
    k = data.draw(st.integers(1, tried))
    draws = list(itertools.combinations([True] * passed + [False] * (tried - passed), k))
    assert pass_at_k(tried, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("tried", "passed", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1)])
def test_impossible_counts_raise(tried, passed, k):
    with pytest.raises(ValueError):
        pass_at_k(tried, passed, k)


def test_estimate_has_mean_and_confidence_interval():
    attempts = {f"q{i}": Attempts(4, i % 5) for i in range(100)}
    result = estimate(attempts, 1)
    assert result.mean == pytest.approx(0.5)
    assert result.low < 0.5 < result.high
    assert 0.1 < result.high - result.low < 0.2  # about 4 * 0.35 / sqrt(100)
    assert estimate(attempts, 1) == result
    assert estimate({"q": Attempts(4, 4)}, 4).low == 1.0


def test_interval_of_paired_difference_is_narrower_than_that_of_a_run():
    first = {f"q{i}": Attempts(10, i % 9) for i in range(90)}
    second = {name: Attempts(10, attempts.passed + 1) for name, attempts in reversed(first.items())}
    difference = paired_difference(first, second, 1)
    assert difference.mean == pytest.approx(0.1)
    assert difference.high - difference.low < 1e-9 < estimate(first, 1).high - estimate(first, 1).low


def test_invalid_attempts_raise():
    with pytest.raises(ValueError, match="no problems"):
        estimate({}, 1)
    with pytest.raises(ValueError, match="one run only"):
        paired_difference({"a": Attempts(1, 1)}, {"b": Attempts(1, 1)}, 1)
    with pytest.raises(ValueError):
        Attempts(1, 2)
