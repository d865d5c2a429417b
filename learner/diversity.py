"""Output diversity D: the share of distinct n-grams in a group's responses (arXiv 2603.07777 section 2.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np


def distinct_ngram_ratio(responses: Sequence[np.ndarray], ignore: Collection[int] = (), n: int = 4) -> float | None:
    """Number of distinct n-grams divided by the number of all n-grams, pooled over the responses to one problem.

    N-grams never span two responses. A response of fewer than ``n`` tokens adds none.

    Args:
        responses: token ids [R_i] of each response.
        ignore: token ids to remove before counting (end of sequence).
        n: tokens per n-gram.

    Returns:
        A ratio in (0, 1], or None if there is no n-gram at all.

    >>> distinct_ngram_ratio([np.array([1, 2, 3, 4, 5]), np.array([1, 2, 3, 4, 9])], ignore={9})
    0.6666666666666666
    """
    joined = np.concatenate([np.zeros(0, np.int32), *responses])
    owner = np.repeat(np.arange(len(responses)), [len(response) for response in responses])
    kept = np.ones(len(joined), bool)
    for token in ignore:
        kept &= joined != token
    tokens, owner = joined[kept], owner[kept]
    if len(tokens) < n:
        return None
    grams = _ngram_ids(tokens, n)[owner[: len(owner) - n + 1] == owner[n - 1 :]]  # those within one response
    if not len(grams):
        return None
    grams.sort()
    return (1 + int(np.count_nonzero(grams[1:] != grams[:-1]))) / len(grams)


def _ngram_ids(tokens: np.ndarray, n: int) -> np.ndarray:
    """Return an id [T - n + 1] for the n-gram at each position of ``tokens`` [T].

    Equal n-grams, and only they, have equal ids.
    """
    values = np.unique(tokens)
    rank_of = np.empty(int(values[-1]) + 1, np.int64)
    rank_of[values] = np.arange(len(values))
    ids = ranks = rank_of[tokens]
    bound = size = len(values)
    for place in range(1, n):
        if bound * size > np.iinfo(np.int64).max:  # renumber the ids before they overflow
            distinct, ids = np.unique(ids, return_inverse=True)
            bound = len(distinct)
        ids, bound = ids[:-1] * size + ranks[place:], bound * size
    return ids


def mean_distinct_ngram_ratio(values: Iterable[float | None]) -> float | None:
    """D of a step: mean of its groups' ``distinct_ngram_ratio``; groups without an n-gram (None) do not count.

    None if no group has an n-gram.
    """
    measured = [value for value in values if value is not None]
    return float(np.mean(measured)) if measured else None
