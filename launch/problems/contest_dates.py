"""When a problem was set, and windows of such days."""

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
    def unbounded(self) -> bool:
        """Whether it holds every day."""
        return self.start is None and self.end is None

    def within(self, other: DateWindow) -> DateWindow:
        """The days that are in both."""
        starts = [day for day in (self.start, other.start) if day is not None]
        ends = [day for day in (self.end, other.end) if day is not None]
        return DateWindow(max(starts, default=None), min(ends, default=None))

    def completed(self, other: DateWindow) -> DateWindow:
        """With the sides that are open here taken from ``other``."""
        return DateWindow(self.start or other.start, self.end or other.end)


def contest_day(problem: Problem) -> datetime.date | None:
    """The day of the problem's contest; None where the row has no date, or none that is in ISO format."""
    try:
        return datetime.datetime.fromisoformat(problem.contest_date or "").date()
    except ValueError:
        return None
