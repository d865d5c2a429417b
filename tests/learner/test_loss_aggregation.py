"""Aggregation weights of the tokens in a mini-batch's loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.loss_aggregation import Aggregation, token_weights

KINDS: tuple[Aggregation, ...] = ("token_mean", "sequence_mean", "constant")
COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=20)


def test_weights_match_hand_computed_values():
    """Sequences of 2 and 6 counted tokens, one sequence without counted tokens, L = 10."""
    assert token_weights([2, 0, 6], "token_mean", 10) == [1 / 8, 0.0, 1 / 8]
    assert token_weights([2, 0, 6], "sequence_mean", 10) == [1 / 4, 0.0, 1 / 12]
    assert token_weights([2, 0, 6], "constant", 10) == [1 / 20, 0.0, 1 / 20]


@given(COUNTS)
def test_weights_of_both_means_sum_to_one(counts):
    for kind in KINDS[:2]:
        total = sum(weight * count for weight, count in zip(token_weights(counts, kind, 99), counts, strict=True))
        assert total == pytest.approx(1.0 if any(counts) else 0.0)


@given(COUNTS)
def test_constant_weights_do_not_depend_on_lengths(counts):
    sequences = sum(count > 0 for count in counts)
    expected = [1 / (sequences * 64) if count else 0.0 for count in counts]
    assert token_weights(counts, "constant", 64) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_without_counted_tokens_have_weight_zero(kind):
    assert token_weights([0, 0], kind, 8) == [0.0, 0.0]
    assert token_weights([], kind, 8) == []
