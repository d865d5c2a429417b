"""A set of problems to evaluate on, with what became of the rows that it was read from."""

from __future__ import annotations

from dataclasses import dataclass

from evaluator.errors import UserError
from evaluator.problem import Problem
from launch.problems.contest_dates import DateWindow


class BenchmarkError(UserError, ValueError):
    """The benchmark cannot be had, or nothing in it can be used; the message says what to do."""


@dataclass(frozen=True)
class BadRow:
    """What was skipped: a file, its 1-based line (JSONL) or row (Parquet), and why. Without a line, the file's rest."""

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What became of the rows. ``published``: how many problems the selection has in the published files, if known.

    ``undated`` counts problems that a window of days left out because they have no ISO date.
    """

    selected: int
    outside_window: int
    undated: int
    rejected: tuple[BadRow, ...]
    published: int | None = None

    def __str__(self) -> str:
        text = f"{self.selected} problems"
        if self.published is not None and self.published != self.selected:
            text += f" (published: {self.published})"
        left_out = {
            "outside the window": self.outside_window,
            "without a date": self.undated,
            "bad rows": len(self.rejected),
        }
        counts = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
        return f"{text}; left out: {counts}" if counts else text


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSet:
    """Problems to evaluate on, and the window of days that a training set has to keep out (None: none is known).

    ``remarks`` tell of problems that were taken in, but not with all their tests.
    """

    problems: tuple[Problem, ...]
    summary: Summary
    window: DateWindow | None
    remarks: tuple[str, ...] = ()
