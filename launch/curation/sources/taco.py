"""Reader of TACO-verified: problems of TACO whose solutions were run again, and only passing ones kept.

Its files were never seen. The columns are those of TACO's card; ``solutions`` is a list here and JSON text in TACO,
which this reader accepts, too.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from evaluator.problem import get_text
from launch.curation.sources.published_tests import parse_tests
from launch.curation.sources.reader import (
    Reader,
    SourceRow,
    get_programs,
    make_content_id,
    make_problem,
    normalize_difficulty,
)


def parse_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row. Raises ProblemError."""
    statement = get_text(row, "question")
    published = parse_tests(row.get("input_output"), "input_output")
    problem = make_problem(
        source_id=make_content_id(statement, published.tests),
        statement=statement,
        tests=published.tests,
        title=get_text(row, "name"),
        platform=get_text(row, "source").lower(),
        difficulty=normalize_difficulty(row.get("difficulty")),
        contest_date=_parse_date(row.get("date")),
        starter_code=get_text(row, "starter_code"),
        func_name=published.func_name,
    )
    return SourceRow(problem=problem, right_programs=get_programs(row.get("solutions"), "solutions"))


def _parse_date(value: object) -> str | None:
    """Return an ISO date; None for dates in other forms, of which TACO has several."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    try:
        return datetime.datetime.fromisoformat(str(value)).isoformat()
    except ValueError:
        return None


READER = Reader(
    name="taco",
    licence="Apache-2.0",
    parse=parse_row,
    repository="likaixin/TACO-verified",
    files=("data/train-*.parquet",),
)
