"""A set of problems to evaluate on, with a summary of the rows it was read from."""

from __future__ import annotations

from dataclasses import dataclass

from evaluator.errors import UserError
from evaluator.problem import Problem
from launch.problems.date_window import DateWindow


class BenchmarkError(UserError, ValueError):
    """The benchmark cannot be fetched, or has no usable problem; the message says what to do."""


@dataclass(frozen=True)
class BadRow:
    """A row that was skipped.

    Attributes:
        file: name of the file, or the setting that names the problems.
        line: 1-based line (JSONL) or position (JSON list, Parquet); None if the reason names the problem, or if the
            rest of the file was skipped.
        reason: why it was skipped.
    """

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadSummary:
    """Counts of the rows that were selected and of those that were dropped.

    Attributes:
        selected: problems in the evaluation set.
        outside_window: problems dropped because they are dated outside the date window.
        undated: problems dropped because there is a date window and they have no ISO date.
        rejected: rows that are no valid problem, and problems that no run can use.
        published: number of problems that the published files hold for this selection; None if unknown.
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
        dropped = {
            "outside the date window": self.outside_window,
            "without a date": self.undated,
            "bad rows": len(self.rejected),
        }
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
        return f"{text}; dropped: {counts}" if counts else text


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSet:
    """Problems to evaluate on.

    Attributes:
        problems: the problems, in the order of the files.
        summary: counts of selected and dropped rows.
        window: days that a training set must exclude; None if unknown.
        remarks: messages for the user, for example about problems that were kept without some of their tests.
    """

    problems: tuple[Problem, ...]
    summary: LoadSummary
    window: DateWindow | None
    remarks: tuple[str, ...] = ()
