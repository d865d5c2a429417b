"""Candidates and dropped rows as rows of Parquet files.

A candidate's names are columns of text. Its problem and programs are ASCII JSON texts, since tests and programs may
hold lone surrogates, which a column of text cannot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.problem import Problem, ProblemTest
from launch.curation.candidates import Candidate, Dropped
from launch.problems.usable_problems import NAMES, is_unicode, replace_surrogates

MAX_DETAIL = 1000
"""Characters of ``Dropped.detail`` that are stored."""

_READ_ROWS = 16  # decoded at a time, since tests may be large
_TESTS = ("public_tests", "private_tests")


class CandidateError(ValueError):
    """A candidate cannot be stored. The message has the reason.

    Attributes:
        candidate: the candidate.
    """

    def __init__(self, candidate: Candidate, reason: str) -> None:
        super().__init__(reason)
        self.candidate = candidate


@dataclass(frozen=True)
class RowFormat:
    """Storage format of a kind of rows.

    Attributes:
        schema: columns of the Parquet files, among them ``source``.
        encode: makes the columns of a row. Raises CandidateError if the row cannot be stored.
    """

    schema: pa.Schema
    encode: Callable[[Any], dict[str, Any]]


def encode_candidate(candidate: Candidate) -> dict[str, Any]:
    """Make the columns of a candidate.

    Values of ``Problem.extra`` that JSON does not have, such as dates, become text.

    Raises:
        CandidateError: a name holds a lone surrogate, or ``Problem.extra`` cannot be written as JSON.
    """
    problem = candidate.problem
    names = {name: getattr(problem, name) or "" for name in NAMES}
    for name, text in {**names, "source": candidate.source, "source_id": candidate.source_id}.items():
        if not is_unicode(text):
            raise CandidateError(candidate, f"{name}: not Unicode, since it has a lone surrogate")
    try:
        return {
            "question_id": problem.question_id,
            "source": candidate.source,
            "source_id": candidate.source_id,
            "licence": replace_surrogates(candidate.licence),
            "problem": encode_problem(problem),
            "right_programs": json.dumps(candidate.right_programs),
            "wrong_programs": json.dumps(candidate.wrong_programs),
        }
    except (ValueError, TypeError, RecursionError) as error:
        raise CandidateError(candidate, f"cannot be stored as JSON: {error}") from error


def decode_candidate(row: Mapping[str, Any]) -> Candidate:
    """Make the candidate of a stored row: inverse of ``encode_candidate``."""
    return Candidate(
        problem=decode_problem(row["problem"]),
        source=row["source"],
        source_id=row["source_id"],
        licence=row["licence"],
        right_programs=tuple(json.loads(row["right_programs"])),
        wrong_programs=tuple(json.loads(row["wrong_programs"])),
    )


def encode_problem(problem: Problem) -> str:
    """Return a problem as ASCII JSON text of its fields, without those that have their default."""
    values: dict[str, Any] = {
        field.name: value for field in fields(problem) if (value := getattr(problem, field.name)) != field.default
    }
    for name in _TESTS:
        values[name] = [(test.input, test.output, test.testtype) for test in values[name]]
    for name in ("checker", "extra"):
        if name in values:
            values[name] = dict(values[name])
    return json.dumps(values, default=str)


def decode_problem(text: str) -> Problem:
    """Return the problem of a JSON text: inverse of ``encode_problem``."""
    values = json.loads(text)
    for name in _TESTS:
        values[name] = tuple(ProblemTest(*test) for test in values[name])
    return Problem(**values)


def encode_dropped(dropped: Dropped) -> dict[str, Any]:
    """Make the columns of a dropped row. Lone surrogates are replaced, and the detail is cut at ``MAX_DETAIL``."""
    return {
        "question_id": replace_surrogates(dropped.question_id),
        "source": replace_surrogates(dropped.source),
        "stage": dropped.stage,
        "reason": dropped.reason,
        "detail": replace_surrogates(dropped.detail[:MAX_DETAIL]),
    }


def make_text_schema(*names: str) -> pa.Schema:
    """Return a schema of columns of text."""
    return pa.schema([pa.field(name, pa.string(), nullable=False) for name in names])


CANDIDATE_ROWS = RowFormat(
    make_text_schema(
        *("question_id", "source", "source_id", "licence", "problem", "right_programs", "wrong_programs"),
    ),
    encode_candidate,
)
DROPPED_ROWS = RowFormat(make_text_schema("question_id", "source", "stage", "reason", "detail"), encode_dropped)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, of which few are decoded at a time. Raises OSError.

    Args:
        path: the file.
        columns: names of the columns to read; None reads all.
    """
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=_READ_ROWS, columns=columns):
            yield from batch.to_pylist()


def read_candidates(path: Path) -> Iterator[Candidate]:
    """Yield the candidates of a Parquet file. Raises OSError."""
    return map(decode_candidate, read_rows(path))
