import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.pass_at_k import Attempts, estimate, paired_difference, pass_at_k


@given(st.integers(1, 8), st.data())
def test_equals_the_count_over_all_draws(tried, data):
    passed = data.draw(st.integers(0, tried))
    k = data.draw(st.integers(1, tried))
    draws = list(itertools.combinations([True] * passed + [False] * (tried - passed), k))
    assert pass_at_k(tried, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("tried", "passed", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1)])
def test_impossible_counts(tried, passed, k):
    with pytest.raises(ValueError):
        pass_at_k(tried, passed, k)


def test_estimate():
    attempts = {f"q{i}": Attempts(4, i % 5) for i in range(100)}
    result = estimate(attempts, 1)
    assert result.mean == pytest.approx(0.5)
    assert result.low < 0.5 < result.high
    assert 0.1 < result.high - result.low < 0.2  # about 4 * 0.35 / sqrt(100)
    assert estimate(attempts, 1) == result
    assert estimate({"q": Attempts(4, 4)}, 4).low == 1.0


def test_paired_difference_is_narrower_than_the_runs():
    first = {f"q{i}": Attempts(10, i % 9) for i in range(90)}
    second = {name: Attempts(10, one.passed + 1) for name, one in reversed(first.items())}
    difference = paired_difference(first, second, 1)
    assert difference.mean == pytest.approx(0.1)
    assert difference.high - difference.low < 1e-9 < estimate(first, 1).high - estimate(first, 1).low


def test_errors():
    with pytest.raises(ValueError, match="no problems"):
        estimate({}, 1)
    with pytest.raises(ValueError, match="one run only"):
        paired_difference({"a": Attempts(1, 1)}, {"b": Attempts(1, 1)}, 1)
    with pytest.raises(ValueError):
        Attempts(1, 2)
