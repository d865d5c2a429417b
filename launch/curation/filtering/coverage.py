"""Coverage of a statement by the one test statement that shares most with it, to find edited copies.

A few words changed in each sentence destroy every sequence of 16 words, but few sequences of 6. Only one test statement
counts, since the phrases of many statements together cover any statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from launch.problems.contamination import hash_word_sequences, hash_words

COVERAGE_WORDS = 6
MIN_COVERAGE = 0.5
"""Largest coverage of different problems. Of 1,300 real statements that are no copy, all but one have at most that."""
MIN_COVERED_WORDS = 20
"""Fewer covered words may be the phrases with which short statements begin and end ..."""
MIN_COVERAGE_OF_SHORT_TEXT = 0.8
"""... unless nearly all words are covered."""


@dataclass(frozen=True)
class Coverage:
    """Coverage of one of two texts by the other.

    Attributes:
        position: position of the other text in the index.
        words: number of covered words.
        share: share of covered words.
    """

    position: int
    words: int
    share: float

    @property
    def is_copy(self) -> bool:
        """True if so much is covered that the texts are copies, but for edits."""
        return self.share > (MIN_COVERAGE if self.words >= MIN_COVERED_WORDS else MIN_COVERAGE_OF_SHORT_TEXT)


class CoverageIndex:
    """Index from hashes of sequences of ``COVERAGE_WORDS`` words to statements."""

    def __init__(self, statements: Sequence[str]) -> None:
        self._words = [hash_words(statement) for statement in statements]
        sequences = [np.unique(hash_word_sequences(words, COVERAGE_WORDS)) for words in self._words]
        hashes = np.concatenate([*sequences, np.empty(0, np.uint64)])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._owners = np.repeat(np.arange(len(sequences)), [len(item) for item in sequences])[order]

    def find_best_coverage(self, statement: str) -> Coverage | None:
        """Return the coverage by the indexed statement that shares most word sequences with the statement.

        The covered words are those of the shorter text that are in sequences which both texts have. None if no
        statement shares a sequence.
        """
        words = hash_words(statement)
        sequences = np.unique(hash_word_sequences(words, COVERAGE_WORDS))
        first, last = (np.searchsorted(self._hashes, sequences, side) for side in ("left", "right"))
        matches = np.flatnonzero(last > first)
        if not len(matches):
            return None
        owners = np.concatenate([self._owners[first[match] : last[match]] for match in matches])
        best = int(np.argmax(np.bincount(owners)))
        shorter, longer = sorted((words, self._words[best]), key=len)
        covered = count_covered_words(shorter, longer)
        return Coverage(best, covered, covered / len(shorter))


def count_covered_words(words: np.ndarray, other_words: np.ndarray) -> int:
    """Return the number of ``words`` that are in a sequence of ``COVERAGE_WORDS`` words which both texts have.

    Args:
        words: hashes [words] uint64 of a text's words (``hash_words``), not empty.
        other_words: hashes of the other text's words.
    """
    shared = np.isin(hash_word_sequences(words, COVERAGE_WORDS), hash_word_sequences(other_words, COVERAGE_WORDS))
    # A word is covered if one of the last COVERAGE_WORDS sequences up to the word's place is shared.
    covered = np.convolve(shared, np.ones(min(COVERAGE_WORDS, len(words)), np.int64)) > 0
    return int(np.count_nonzero(covered))
