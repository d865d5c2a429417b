"""DAPO's soft overlong punishment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.overlong_penalty import overlong_penalty


@pytest.mark.parametrize(
    ("length", "penalty"),
    [(1, 0.0), (16384, 0.0), (17408, -0.25), (18432, -0.5), (20480, -1.0), (20481, -1.0)],
)
def test_penalty_matches_the_papers_setting(length, penalty):
    """L_max = 20,480 tokens, L_cache = 4,096."""
    assert overlong_penalty(length, 20480, 4096) == penalty


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 120))
def test_penalty_matches_equation_13(max_tokens, cache, length):
    if length <= max_tokens - cache:
        expected = 0.0
    elif length <= max_tokens:
        expected = ((max_tokens - cache) - length) / cache
    else:
        expected = -1.0
    assert overlong_penalty(length, max_tokens, cache) == expected
