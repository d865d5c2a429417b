"""Read files of solutions: programs, or raw model answers, for problems given by question id."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluator.extraction import extract_code
from evaluator.problem import Problem
from evaluator.row_files import RejectedRow, RowFile, get_question_id
from evaluator.sandbox import SandboxError


@dataclass(frozen=True, kw_only=True, slots=True)
class SolutionRow:
    """Programs for one problem.

    Attributes:
        row: 1-based line number (JSONL) or position in the list (JSON).
        question_id: id of the problem.
        texts: programs or, with ``raw``, complete model answers.
        raw: code has yet to be extracted from ``texts``.
    """

    row: int
    question_id: str
    texts: tuple[str, ...]
    raw: bool

    def iter_programs(self, problem: Problem) -> Iterator[str | SandboxError | None]:
        """Yield the programs in order; None for an answer without a program that fits ``problem``.

        For an answer that could not be parsed, for a reason that is not in the answer, the error is yielded.
        """
        for text in self.texts:
            yield _extract_program(text, problem) if self.raw else text


def read_solutions(source: Path | RowFile) -> Iterator[SolutionRow | RejectedRow]:
    """Yield the rows of a JSON list, JSONL or Parquet file, compressed with gzip or not (``evaluator.row_files``).

    An invalid row is yielded as a RejectedRow. Raises OSError if the file cannot be read, and RowFileError if it is
    damaged.
    """
    if not isinstance(source, RowFile):
        with RowFile(source) as file:
            yield from read_solutions(file)
        return
    for row in source.read():
        yield row if isinstance(row, RejectedRow) else _parse_row(*row)


def _extract_program(answer: str, problem: Problem) -> str | SandboxError | None:
    try:
        return extract_code(answer, problem.func_name).code
    except SandboxError as error:
        return error


def _parse_row(number: int, row: Mapping[str, Any]) -> SolutionRow | RejectedRow:
    question_id = get_question_id(row)
    if question_id is None:
        reason = f"question_id: expected a non-empty string, got {_abbreviate(row.get('question_id'))}"
        return RejectedRow(number, reason)
    # LiveCodeBench's own result files have both columns. It judged the extracted programs (code_list), and so do we.
    has_code = row.get("code_list") is not None or "output_list" not in row  # a table has both columns in each row
    name = "code_list" if has_code and "code_list" in row else "output_list"
    texts = row.get(name)
    if name not in row:
        hint = "; this looks like a row of problems" if "public_test_cases" in row else ""
        return RejectedRow(number, f"neither code_list nor output_list, only {_abbreviate(sorted(row))}{hint}")
    if not isinstance(texts, list) or not texts:
        return RejectedRow(number, f"{name}: expected a list with at least one text, got {_abbreviate(texts)}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            return RejectedRow(number, f"{name}[{index}]: expected text, got {_abbreviate(text)}")
    return SolutionRow(row=number, question_id=question_id, texts=tuple(texts), raw=name == "output_list")


def _abbreviate(value: object) -> str:
    try:
        text = json.dumps(value, default=str)  # Parquet may hold values that JSON cannot
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= 80 else text[:77] + "..."
