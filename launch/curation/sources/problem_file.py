"""Reader of a file of problems in this project's own format (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluator.problem import get_text, parse_problem
from launch.curation.sources.reader import Reader, SourceRow, get_programs

_CURATION_COLUMNS = (
    *("source", "licence", "source_id", "content_hash", "tests_hash", "needs_checker", "weak_tests"),
    *("is_verified", "dropped_tests", "difficulty_measured", "reference_solutions", "wrong_solutions"),
)
"""Columns that are read here or that curation writes itself, if the file is a curated set."""


def parse_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row. Raises ProblemError.

    ``reference_solutions`` are right programs, ``wrong_solutions`` wrong ones. Unknown columns are kept.
    """
    problem = parse_problem(row)
    extra = {name: value for name, value in problem.extra.items() if name not in _CURATION_COLUMNS}
    return SourceRow(
        problem=replace(problem, extra=extra),
        right_programs=get_programs(row.get("reference_solutions"), "reference_solutions"),
        wrong_programs=get_programs(row.get("wrong_solutions"), "wrong_solutions"),
        licence=get_text(row, "licence"),
    )


def make_file_reader(path: Path) -> Reader:
    """Return the reader of a file of problems, named after the file.

    >>> make_file_reader(Path("data/my.problems.jsonl.gz")).name
    'my'
    """
    return Reader(name=path.name.partition(".")[0] or "problems", licence="unknown", parse=parse_row)
