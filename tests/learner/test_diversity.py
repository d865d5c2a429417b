"""Distinct n-grams of a group."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.diversity import distinct_ngrams, mean_distinct_ngrams

EOS = 0


def distinct(*responses, **options):
    return distinct_ngrams([np.array(response, dtype=np.int32) for response in responses], **options)


def test_by_hand():
    # 1234 2345 | 1234 2349: four 4-grams, three distinct
    assert distinct([1, 2, 3, 4, 5], [1, 2, 3, 4, 9], n=4) == 3 / 4
    assert distinct([7, 7, 7, 7, 7, 7]) == 1 / 3
    assert distinct([1, 2, 3, 4]) == 1.0


def test_ngrams_never_span_responses():
    # Joined, 1 2 3 4 and 5 6 7 8 hold five 4-grams; apart, one each.
    assert distinct([1, 2, 3, 4], [1, 2, 3, 4]) == 1 / 2
    assert distinct([1, 2], [3, 4]) is None


def test_end_of_sequence_is_left_out():
    assert distinct([1, 2, 3, 4, EOS], [1, 2, 3, 4], ignore={EOS}) == 1 / 2
    assert distinct([1, 2, 3, EOS], ignore={EOS}) is None
    assert distinct([1, 2, 3, EOS]) == 1.0


def test_short_responses_add_none():
    assert distinct([1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]) == 1 / 2
    assert distinct([1, 2, 3], []) is None
    assert distinct() is None


def test_pooled_over_responses_not_averaged():
    assert distinct([9, 9, 9, 9, 9], [1, 2, 3, 4]) == pytest.approx(2 / 3)


def test_of_a_step_is_the_mean_over_groups_that_have_one():
    same = [np.array([1, 2, 3, 4])] * 2
    short = [np.array([1, 2, EOS])]
    fresh = [np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])]
    assert mean_distinct_ngrams(distinct_ngrams(group, {EOS}) for group in (same, fresh, short)) == (1 / 2 + 1) / 2
    assert mean_distinct_ngrams([None]) is None
    assert mean_distinct_ngrams([]) is None


@given(st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=5), st.integers(1, 4))
def test_brute_force(responses, n):
    grams = []
    for response in responses:
        kept = [token for token in response if token != EOS]
        while len(kept) >= n:
            grams.append(" ".join(map(str, kept[:n])))
            kept = kept[1:]
    expected = len(set(grams)) / len(grams) if grams else None
    assert distinct(*responses, ignore={EOS}, n=n) == expected


def test_more_different_tokens_than_fit_an_id():
    # 60,000 ** 4 is more than an int64 holds; the second response is all repeats, the third none.
    ascending = list(range(1, 60_001))
    assert distinct(ascending, ascending, ascending[::-1], ignore={EOS}) == 2 / 3
