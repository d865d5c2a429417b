"""Reader of LeetCodeDataset: LeetCode problems with about a hundred tests and a reference solution each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.curation.sources.python_asserts import parse_asserts
from launch.curation.sources.reader import Reader, SourceRow, make_problem, normalize_difficulty
from launch.problems.published_files import require_texts

COLUMNS = ("task_id", "problem_description", "starter_code", "completion", "entry_point", "test")


def parse_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row. Raises ProblemError.

    Tests come from the asserts and not from ``input_output``, where the text "8" and the number 8 look alike.
    """
    task_id, statement, starter_code, completion, entry_point, test = require_texts(row, COLUMNS)
    func_name = entry_point.rpartition(".")[2]
    date = row.get("estimated_date")
    problem = make_problem(
        source_id=task_id,
        statement=statement,
        tests=parse_asserts(test, starter_code, func_name).tests,
        title=task_id,
        platform="leetcode",
        difficulty=normalize_difficulty(row.get("difficulty")),
        contest_date=None if date is None else str(date),
        starter_code=starter_code,
        func_name=func_name,
    )
    return SourceRow(problem=problem, right_programs=[completion])


READER = Reader(
    name="leetcode_dataset",
    licence="MIT",
    parse=parse_row,
    repository="newfacade/LeetCodeDataset",
    files=("LeetCodeDataset-*-train.jsonl*",),
)
