"""Reader of open-r1/codeforces: problems with official tests, examples, and generated checkers where answers vary.

Its files were never seen. The columns are those of its card; a checker is run as in the authors' ``cf_scoring.py``.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from evaluator.problem import ProblemError, ProblemTest, get_text
from launch.curation.sources.checker_programs import make_custom_checker
from launch.curation.sources.published_tests import parse_tests
from launch.curation.sources.reader import (
    Reader,
    SourceRow,
    UnwantedRow,
    make_problem,
    normalize_difficulty,
)

_SECTIONS = (("Input", "input_format"), ("Output", "output_format"))


def parse_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row. Raises ProblemError, UnwantedRow."""
    if get_text(row, "interaction_format").strip():
        raise UnwantedRow("interactive", "the problem has an interaction format")
    if (mode := get_text(row, "input_mode") or "stdio") != "stdio":
        raise UnwantedRow("not_standard_io", f"input_mode: {mode}")
    source_id = get_text(row, "id")
    if not source_id:
        raise ProblemError("id: empty")
    examples = _read_tests(row, "examples")
    official = _read_tests(row, "official_tests")
    if not official:
        raise UnwantedRow("no_tests", "official_tests: empty; examples alone are no tests")
    shown = {(test.input.strip(), test.output.strip()) for test in examples}
    checker = get_text(row, "generated_checker")
    problem = make_problem(
        source_id=source_id,
        statement=_write_statement(row, examples),
        public_tests=examples,
        tests=[test for test in official if (test.input.strip(), test.output.strip()) not in shown],
        title=get_text(row, "title"),
        platform="codeforces",
        difficulty=normalize_difficulty(row.get("rating")),
        contest_date=_read_date(row.get("contest_start")),
        checker=make_custom_checker(checker) if checker else None,
    )
    return SourceRow(problem=problem)


def _read_tests(row: Mapping[str, Any], name: str) -> tuple[ProblemTest, ...]:
    return parse_tests(row[name], name).tests if row.get(name) else ()


def _write_statement(row: Mapping[str, Any], examples: tuple[ProblemTest, ...]) -> str:
    """Return the statement as Codeforces shows it, from the columns that hold its parts."""
    parts = [get_text(row, "description")]
    parts += [f"{title}\n\n{text}" for title, name in _SECTIONS if (text := get_text(row, name).strip())]
    if examples:
        parts.append("Examples")
        parts += [f"Input\n\n{test.input.strip()}\n\nOutput\n\n{test.output.strip()}" for test in examples]
    if note := get_text(row, "note").strip():
        parts.append(f"Note\n\n{note}")
    return "\n\n".join(part.strip() for part in parts)


def _read_date(value: object) -> str | None:
    """Return the ISO date of a time in seconds since 1970."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        return None
    try:
        return datetime.datetime.fromtimestamp(value, datetime.UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return None


READER = Reader(
    name="codeforces",
    licence="CC-BY-4.0",
    parse=parse_row,
    repository="open-r1/codeforces",
    files=("data/train-*.parquet",),
)
