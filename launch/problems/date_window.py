"""Contest dates of problems, and windows of such dates."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from evaluator.problem import Problem


@dataclass(frozen=True)
class DateWindow:
    """The days from ``start`` to ``end``, both included; None leaves a side open."""

    start: datetime.date | None
    end: datetime.date | None

    def __contains__(self, day: datetime.date) -> bool:
        return (self.start is None or self.start <= day) and (self.end is None or day <= self.end)

    def __str__(self) -> str:
        return f"{self.start or ''}..{self.end or ''}"

    @property
    def is_unbounded(self) -> bool:
        """True if both sides are open, so that the window contains every day."""
        return self.start is None and self.end is None

    def intersect(self, other: DateWindow) -> DateWindow:
        """Return the window of the days that are in both."""
        starts = [day for day in (self.start, other.start) if day is not None]
        ends = [day for day in (self.end, other.end) if day is not None]
        return DateWindow(max(starts, default=None), min(ends, default=None))


def parse_contest_day(problem: Problem) -> datetime.date | None:
    """Return the day of the problem's contest, or None if its date is missing or not in ISO format."""
    try:
        return datetime.datetime.fromisoformat(problem.contest_date or "").date()
    except ValueError:
        return None
