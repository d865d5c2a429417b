"""Output diversity of a group (arXiv 2603.07777 section 2.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np


def distinct_ngrams(responses: Sequence[np.ndarray], ignore: Collection[int] = (), n: int = 4) -> float | None:
    """Distinct n-grams over all n-grams, pooled over the responses of one problem.

    ``responses``: token ids [R_i]; n-grams never span two responses; tokens in ``ignore`` (end of sequence) are left
    out; a response shorter than ``n`` adds none. None when there is no n-gram at all.

    >>> distinct_ngrams([np.array([1, 2, 3, 4, 5]), np.array([1, 2, 3, 4, 9])], ignore={9})
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
    grams = _gram_ids(tokens, n)[owner[: len(owner) - n + 1] == owner[n - 1 :]]  # those within one response
    if not len(grams):
        return None
    grams.sort()
    return (1 + int(np.count_nonzero(grams[1:] != grams[:-1]))) / len(grams)


def _gram_ids(tokens: np.ndarray, n: int) -> np.ndarray:
    """Numbers [T - n + 1] of the n-grams that begin at each of ``tokens`` [T]: equal only where the n-grams are."""
    values = np.unique(tokens)
    rank_of = np.empty(int(values[-1]) + 1, np.int64)
    rank_of[values] = np.arange(len(values))
    ids = ranks = rank_of[tokens]
    bound = size = len(values)
    for place in range(1, n):
        if bound * size > np.iinfo(np.int64).max:
            found, ids = np.unique(ids, return_inverse=True)
            bound = len(found)
        ids, bound = ids[:-1] * size + ranks[place:], bound * size
    return ids


def mean_distinct_ngrams(values: Iterable[float | None]) -> float | None:
    """D of a step: the mean of its groups' ``distinct_ngrams``.

    Groups without any n-gram do not count. None when no group has one.
    """
    measured = [value for value in values if value is not None]
    return float(np.mean(measured)) if measured else None
