"""Distinct n-gram ratio of a group and its mean over groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.diversity import distinct_ngram_ratio, mean_distinct_ngram_ratio

EOS = 0


def compute_ratio(*responses, **options):
    return distinct_ngram_ratio([np.array(response, dtype=np.int32) for response in responses], **options)


def test_ratio_matches_hand_computed_values():
    # 1234 2345 | 1234 2349: four 4-grams, three distinct
    assert compute_ratio([1, 2, 3, 4, 5], [1, 2, 3, 4, 9], n=4) == 3 / 4
    assert compute_ratio([7, 7, 7, 7, 7, 7]) == 1 / 3
    assert compute_ratio([1, 2, 3, 4]) == 1.0


def test_ngrams_never_span_responses():
    # Concatenated, the responses would have five 4-grams; apart, they have one each.
    assert compute_ratio([1, 2, 3, 4], [1, 2, 3, 4]) == 1 / 2
    assert compute_ratio([1, 2], [3, 4]) is None


def test_ignored_tokens_are_removed_before_counting():
    assert compute_ratio([1, 2, 3, 4, EOS], [1, 2, 3, 4], ignore={EOS}) == 1 / 2
    assert compute_ratio([1, 2, 3, EOS], ignore={EOS}) is None
    assert compute_ratio([1, 2, 3, EOS]) == 1.0


def test_responses_shorter_than_n_add_no_ngrams():
    assert compute_ratio([1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]) == 1 / 2
    assert compute_ratio([1, 2, 3], []) is None
    assert compute_ratio() is None


def test_ngrams_are_pooled_over_responses_not_averaged():
    assert compute_ratio([9, 9, 9, 9, 9], [1, 2, 3, 4]) == pytest.approx(2 / 3)


def test_mean_skips_groups_without_ngrams():
    equal = [np.array([1, 2, 3, 4])] * 2
    short = [np.array([1, 2, EOS])]
    distinct = [np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])]
    ratios = [distinct_ngram_ratio(group, {EOS}) for group in (equal, distinct, short)]
    assert mean_distinct_ngram_ratio(ratios) == (1 / 2 + 1) / 2
    assert mean_distinct_ngram_ratio([None]) is None
    assert mean_distinct_ngram_ratio([]) is None


@given(st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=5), st.integers(1, 4))
def test_ratio_matches_brute_force(responses, n):
    grams = []
    for response in responses:
        kept = [token for token in response if token != EOS]
        while len(kept) >= n:
            grams.append(" ".join(map(str, kept[:n])))
            kept = kept[1:]
    expected = len(set(grams)) / len(grams) if grams else None
    assert compute_ratio(*responses, ignore={EOS}, n=n) == expected


def test_ngram_ids_do_not_overflow_with_many_different_tokens():
    # 60,000 ** 4 exceeds int64. The second response repeats the n-grams of the first, the third has new ones only.
    ascending = list(range(1, 60_001))
    assert compute_ratio(ascending, ascending, ascending[::-1], ignore={EOS}) == 2 / 3
