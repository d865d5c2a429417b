"""Reader of LiveCodeBench's ``code_generation_lite``, of which only problems before the evaluated window are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evaluator.problem import parse_problem
from launch.curation.sources.reader import Reader, SourceRow, UnwantedRow
from launch.problems.date_window import parse_contest_day
from launch.problems.livecodebench import LCB_V6_FIRST_EXCLUDED_DAY, REPOSITORY, SHARDS


def parse_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row. Raises ProblemError, and UnwantedRow unless it is dated before ``LCB_V6_FIRST_EXCLUDED_DAY``."""
    problem = parse_problem(row)
    day = parse_contest_day(problem)
    if day is None:
        raise UnwantedRow("no_date", "contest_date: not an ISO date, so the problem may be in the evaluated window")
    if day >= LCB_V6_FIRST_EXCLUDED_DAY:
        raise UnwantedRow("evaluated_window", f"contest_date: {day} is not before {LCB_V6_FIRST_EXCLUDED_DAY}")
    return SourceRow(problem=replace(problem, extra={}))


READER = Reader(
    name="livecodebench",
    licence="CC",  # in the words of its card
    parse=parse_row,
    repository=REPOSITORY,
    files=tuple(f"{name}.jsonl" for name in SHARDS),
)
