"""Find duplicates among all candidates, from their fingerprints.

Two problems are duplicates if their statements are equal but for formatting, or nearly equal by MinHash, and their
tests do not contradict this. Statements alone do not decide: among 1,552 real problems, pairs of statements that share
70 % of their word sequences are the same problem in two formats, an easy and a hard version, or two problems that
differ in one word. Where two problems have inputs in common, the outputs tell: the 288 of these pairs with equal
outputs are, as far as they were looked at, the same problem or versions of it with other limits. Where two problems
have few tests in common, another number in the statement makes another problem.

The problem with the better tests stays. It stays the one for all that duplicate it: a problem is only dropped for one
that is kept, so that no chain of similar problems is dropped for its ends.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from launch.curation.candidates import Dropped
from launch.curation.filtering.fingerprints import SIGNATURE_VALUES, Fingerprint

MIN_SIMILARITY = 0.35
"""Share of common word sequences from which problems with the same tests are duplicates."""
MIN_SIMILARITY_WITH_COMMON_TESTS = 0.75
"""The same for problems that have only a few tests in common."""
MIN_SIMILARITY_WITHOUT_TESTS = 0.9
"""The same for problems that have no input in common."""
MIN_COMMON_TESTS = 2
"""Common tests with which two problems have the same tests, if these are also half of the tests of one of them."""
ENOUGH_COMMON_TESTS = 5
"""Common tests that are enough, however many tests both problems have. Each may have kept other ones of hundreds."""
MANY_COMMON_TESTS = 3
"""Common tests from which the numbers in the statements need not be the same."""
MIN_EQUAL_OUTPUTS = 0.9
"""Share of common inputs with equal outputs below which two problems are different. Real numbers may be rounded."""
BAND_VALUES = 3
"""Values of a signature in one of its bands. Pairs with an equal band are compared: 84 % at 0.35, 99.6 % at 0.5."""
BANDS = SIGNATURE_VALUES // BAND_VALUES
MAX_COMPARED = 100
"""Problems that are compared because of one equal band, or of an equal statement: the first ones. A phrase of all
statements of a source gives thousands of them the same band. Without a limit, the time grows with the square of their
number."""


def find_duplicates(fingerprints: Iterable[Fingerprint]) -> dict[str, Dropped]:
    """Find the candidates that duplicate a better one.

    Args:
        fingerprints: fingerprints of all candidates, in the order of the sources. Among problems whose tests are
            equally good, the first one stays.

    Returns:
        The dropped candidates by question id.
    """
    ranked = sorted(fingerprints, key=rank_tests, reverse=True)  # stable: the order of the sources is kept
    buckets = _Buckets(ranked)
    dropped = {}
    for index, fingerprint in enumerate(ranked):
        found = _find_original(index, ranked, buckets)
        if found is None:
            buckets.add(index)
        else:
            dropped[fingerprint.question_id] = found
    return dropped


def rank_tests(fingerprint: Fingerprint) -> tuple[bool, bool, int, int]:
    """Return a key that is larger for better tests.

    Tests that can be verified come first, since the others are dropped later on. Then a checker, the number of distinct
    tests, and the length of their inputs count.
    """
    return (
        fingerprint.has_right_programs,
        fingerprint.has_checker,
        len(fingerprint.tests),
        fingerprint.test_characters,
    )


@dataclass(frozen=True)
class CommonTests:
    """Inputs that two problems have in common.

    Attributes:
        inputs: number of common inputs.
        equal: number of those with the same output.
        fewest_tests: number of tests of the problem that has fewer.
    """

    inputs: int
    equal: int
    fewest_tests: int

    @property
    def min_similarity(self) -> float:
        """Similarity of the statements from which the problems are duplicates; infinite if the tests contradict it."""
        if not self.inputs:
            return MIN_SIMILARITY_WITHOUT_TESTS
        if self.equal < MIN_EQUAL_OUTPUTS * self.inputs:
            return math.inf
        return MIN_SIMILARITY if self.are_same else MIN_SIMILARITY_WITH_COMMON_TESTS

    @property
    def are_same(self) -> bool:
        """True if the problems have so many tests in common that they have the same tests."""
        if self.equal >= ENOUGH_COMMON_TESTS:
            return True
        return self.equal >= MIN_COMMON_TESTS and 2 * self.equal >= self.fewest_tests

    @property
    def are_many(self) -> bool:
        """True if the tests are the same, and many enough to outweigh a number that is another one."""
        return self.are_same and self.equal >= MANY_COMMON_TESTS

    def __str__(self) -> str:
        return f"{self.equal} of {self.inputs} common inputs have the same output"


def compare_tests(first: Fingerprint, second: Fingerprint) -> CommonTests:
    """Compare the tests of two problems."""
    tests, others = (np.frombuffer(item.tests, "<u8").reshape(-1, 2) for item in (first, second))
    inputs, places, other_places = np.intersect1d(tests[:, 0], others[:, 0], return_indices=True)
    equal = np.count_nonzero(tests[places, 1] == others[other_places, 1])
    return CommonTests(len(inputs), int(equal), min(len(tests), len(others)))


class _Buckets:
    """Kept candidates by statement, and by the bands of their signatures (locality-sensitive hashing).

    Only bands that several candidates have in common are stored.

    Attributes:
        signatures: [candidates, SIGNATURE_VALUES] uint32.
    """

    def __init__(self, ranked: Sequence[Fingerprint]) -> None:
        empty = bytes(4 * SIGNATURE_VALUES)
        data = b"".join(item.signature or empty for item in ranked)
        self.signatures = np.frombuffer(data, "<u4").reshape(-1, SIGNATURE_VALUES)
        self._statements = [item.statement for item in ranked]
        self._has_words = [bool(item.signature) for item in ranked]
        self._bands = np.stack(
            [
                _number_common_values(self.signatures[:, band * BAND_VALUES : (band + 1) * BAND_VALUES])
                for band in range(BANDS)
            ],
            axis=1,
        )
        self._by_statement: dict[bytes, list[int]] = defaultdict(list)
        self._by_band: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, index: int) -> None:
        """Add a candidate that is kept."""
        for bucket in (
            self._by_statement[self._statements[index]],
            *(self._by_band[key] for key in self._list_bands(index)),
        ):
            if len(bucket) < MAX_COMPARED:
                bucket.append(index)

    def find_equal(self, index: int) -> list[int]:
        """Return the kept candidates with the same statement."""
        return self._by_statement.get(self._statements[index], [])

    def find_similar(self, index: int) -> list[int]:
        """Return the kept candidates that have a band in common, the first ones first."""
        found: set[int] = set()
        for key in self._list_bands(index):
            found.update(self._by_band.get(key, ()))
        return sorted(found)

    def _list_bands(self, index: int) -> Iterator[tuple[int, int]]:
        if self._has_words[index]:
            bands = self._bands[index]
            for band in np.flatnonzero(bands):
                yield int(band), int(bands[band])


def _number_common_values(rows: np.ndarray) -> np.ndarray:
    """Return a number [rows] uint32 for each row of values: equal rows have equal numbers, and unique rows have 0."""
    keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[:, 0]
    _, numbers, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.where(counts[numbers] > 1, numbers + 1, 0).astype(np.uint32)


def _find_original(index: int, ranked: Sequence[Fingerprint], buckets: _Buckets) -> Dropped | None:
    """Return the record of a candidate that duplicates a kept one; None if it does not."""
    fingerprint = ranked[index]
    for other in buckets.find_equal(index):
        if compare_tests(ranked[other], fingerprint).min_similarity <= 1:
            return _drop(fingerprint, "duplicate", f"same statement as {ranked[other].question_id}")
    similar = buckets.find_similar(index)
    similarities = np.mean(buckets.signatures[similar] == buckets.signatures[index], axis=1)
    for place in np.argsort(-similarities, kind="stable"):
        similarity = float(similarities[place])
        if similarity < MIN_SIMILARITY:
            break
        other_fingerprint = ranked[similar[place]]
        common = compare_tests(other_fingerprint, fingerprint)
        has_same_numbers = other_fingerprint.numbers == fingerprint.numbers
        if similarity >= common.min_similarity and (common.are_many or has_same_numbers):
            detail = f"similarity {similarity:.2f} to {other_fingerprint.question_id}, {common}"
            return _drop(fingerprint, "near_duplicate", detail)
    return None


def _drop(fingerprint: Fingerprint, reason: str, detail: str) -> Dropped:
    return Dropped(
        question_id=fingerprint.question_id, source=fingerprint.source, stage="filter", reason=reason, detail=detail
    )
