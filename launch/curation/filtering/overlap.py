"""Overlap of candidates with test sets, by id, title, similarity of statements, coverage and date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluator.problem import Problem
from launch.curation.candidates import Candidate, Dropped
from launch.curation.filtering.coverage import CoverageIndex
from launch.problems.contamination import SIMILARITY_THRESHOLD, SimilarityIndex, normalize_text
from launch.problems.date_window import DateWindow, parse_contest_day

OverlapReason = Literal["id", "title", "similarity", "coverage", "date"]

_ORDINAL = re.compile(r"^\s*(?:problem\s+)?(?:[a-z]\d?|\d{1,4})\s*[.:)\-–]\s+", re.IGNORECASE)  # "B2. ", "A - "


@dataclass(frozen=True)
class TestSet:
    """Problems that nothing in the training set may overlap.

    Attributes:
        name: name of the benchmark or file.
        problems: the problems.
        window: days of its contests, in which no training problem may be dated; None if unknown.
    """

    __test__ = False  # not a class of tests

    name: str
    problems: tuple[Problem, ...]
    window: DateWindow | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Overlap of a candidate with a test set.

    Attributes:
        test_set: name of the test set.
        reason: the first reason that applies, in the order of ``OverlapReason``.
        test_id: id of the matching test problem; "" for ``date``.
        value: similarity or coverage of the statements; 1 for the other reasons.
    """

    test_set: str
    reason: OverlapReason
    test_id: str
    value: float

    def __str__(self) -> str:
        if self.reason == "date":
            return f"{self.test_set}: dated inside its window"
        measured = f" {self.value:.2f}" if self.reason in ("similarity", "coverage") else ""
        return f"{self.test_set}: {self.reason}{measured} of {self.test_id}"


class OverlapIndex:
    """Index of test sets. It can be sent to other processes.

    Args:
        test_sets: the test sets; names are unique.
    """

    def __init__(self, test_sets: Sequence[TestSet]) -> None:
        self._indexes = [_TestSetIndex(test_set) for test_set in test_sets]

    def check(self, candidate: Candidate) -> Dropped | None:
        """Return the record of a candidate that overlaps a test set; None if it overlaps none."""
        return make_dropped(candidate, self.find_overlaps(candidate))

    def find_overlaps(self, candidate: Candidate) -> tuple[Overlap, ...]:
        """Return the candidate's overlap with each test set that it overlaps."""
        found = (index.find_overlap(candidate) for index in self._indexes)
        return tuple(overlap for overlap in found if overlap is not None)


def make_dropped(candidate: Candidate, overlaps: Sequence[Overlap]) -> Dropped | None:
    """Return the record of a candidate with these overlaps; None without overlaps. The first one is the reason."""
    if not overlaps:
        return None
    return Dropped(
        question_id=candidate.problem.question_id,
        source=candidate.source,
        stage="filter",
        reason=f"overlap_{overlaps[0].reason}",
        detail="; ".join(map(str, overlaps)),
    )


def normalize_title(title: str) -> str:
    """Return the title's words without the letter or number of the problem in its contest.

    >>> normalize_title("B2. Power-of-Two"), normalize_title("A - Plus"), normalize_title("A+B")
    ('power of two', 'plus', 'a b')
    """
    return normalize_text(_ORDINAL.sub("", title))


class _TestSetIndex:
    """Index of one test set."""

    def __init__(self, test_set: TestSet) -> None:
        self._name = test_set.name
        self._window = test_set.window
        self._problems = [(problem.question_id, problem.platform) for problem in test_set.problems]
        self._ids = dict(reversed(self._problems))
        self._titles = {
            title: problem.question_id
            for problem in reversed(test_set.problems)
            if (title := normalize_title(problem.question_title))
        }
        statements = [problem.question_content for problem in test_set.problems]
        self._similarity = SimilarityIndex(statements)
        self._coverage = CoverageIndex(statements)

    def find_overlap(self, candidate: Candidate) -> Overlap | None:
        """Return the candidate's overlap with the test set; None if it has none."""
        problem = candidate.problem
        for question_id in (problem.question_id, candidate.source_id):
            if self._has_id(question_id, problem.platform):
                return self._make_overlap("id", question_id)
        title_owner = self._titles.get(normalize_title(problem.question_title))
        if title_owner is not None:
            return self._make_overlap("title", title_owner)
        position, similarity = self._similarity.find_most_similar(problem.question_content)
        if similarity > SIMILARITY_THRESHOLD:
            return self._make_overlap("similarity", self._problems[position][0], similarity)
        coverage = self._coverage.find_best_coverage(problem.question_content)
        if coverage is not None and coverage.is_copy:
            return self._make_overlap("coverage", self._problems[coverage.position][0], coverage.share)
        day = parse_contest_day(problem)
        if self._window is not None and day is not None and day in self._window:
            return self._make_overlap("date", "")
        return None

    def _has_id(self, question_id: str, platform: str) -> bool:
        """Return True for the id of a test problem. A bare number only counts on the same platform."""
        test_platform = self._ids.get(question_id)
        return test_platform is not None and (not question_id.isdecimal() or platform == test_platform != "other")

    def _make_overlap(self, reason: OverlapReason, test_id: str, value: float = 1.0) -> Overlap:
        return Overlap(test_set=self._name, reason=reason, test_id=test_id, value=value)
