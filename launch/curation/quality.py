"""Quality of the tests of a curated data set, measured with the labelled programs of its problems."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from launch.curation.curated_rows import CuratedProblem
from launch.curation.verification.intervals import Share


@dataclass(kw_only=True)
class SourceQuality:
    """Sums over the problems of a source, by the names of ``CuratedProblem`` and ``ProgramCounts``."""

    problems: int = 0
    weak_tests: int = 0
    float_checkers: int = 0
    unverified: int = 0
    dropped_tests: int = 0
    right: int = 0
    right_accepted: int = 0
    wrong: int = 0
    wrong_rejected: int = 0

    def add(self, problem: CuratedProblem) -> None:
        """Add a problem."""
        self.problems += 1
        self.weak_tests += problem.weak_tests
        self.float_checkers += problem.float_checker
        self.unverified += not problem.is_verified
        self.dropped_tests += len(problem.dropped_tests)
        self.right += problem.programs.right
        self.right_accepted += problem.programs.right_accepted
        self.wrong += problem.programs.wrong
        self.wrong_rejected += problem.programs.wrong_rejected

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the manifest."""
        return {
            "problems": self.problems,
            "weak_tests": self.weak_tests,
            "float_checkers": self.float_checkers,
            "unverified": self.unverified,
            "dropped_tests": self.dropped_tests,
            "true_positive": _make_rate(self.right_accepted, self.right),
            "true_negative": _make_rate(self.wrong_rejected, self.wrong),
        }


class QualityCounter:
    """Counter of the verdicts on labelled programs, by source."""

    def __init__(self) -> None:
        self._sources: defaultdict[str, SourceQuality] = defaultdict(SourceQuality)

    def add(self, problem: CuratedProblem) -> None:
        """Add a problem."""
        self._sources[problem.candidate.source].add(problem)

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the manifest by source."""
        return {source: self._sources[source].to_json() for source in sorted(self._sources)}


def _make_rate(count: int, total: int) -> dict[str, Any]:
    share = Share(count, total)
    return {"count": count, "of": total, "rate": share.value, "interval": list(share.interval)}
