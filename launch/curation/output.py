"""Files of a curated data set: ``problems.parquet``, ``needs_checker.parquet`` and ``dropped.parquet``.

Problems that need a checker they do not have would reject right programs: they are kept apart, so that
``problems.parquet`` can be trained on as it is.

Tests are in the row of their problem, since the file is in the format of problems (docs/formats.md). Each distinct
input is stored once per problem, and ``tests_hash`` identifies a problem's tests. A table of tests that problems refer
to by hash would not pay: among 949 processed problems of published sets, tests that several problems have in common are
0.4 % of the bytes, since such problems are mostly duplicates, which the filter drops.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.problem import Problem, to_row
from launch.curation.blocks import measure_row, replace_file
from launch.curation.candidate_rows import DROPPED_ROWS
from launch.curation.candidates import Dropped
from launch.curation.curated_rows import CuratedProblem
from launch.problems.usable_problems import is_unicode, make_prompt_texts_unicode, replace_surrogates

PROBLEMS_FILE = "problems.parquet"
NEEDS_CHECKER_FILE = "needs_checker.parquet"
DROPPED_FILE = "dropped.parquet"

_GROUP_ROWS = 256  # of a row group, which a writer keeps in memory
_GROUP_BYTES = 64 << 20
_METADATA = "metadata"
_DIFFICULTY = pa.struct(
    [("policy", pa.string()), ("temperature", pa.float64()), ("samples", pa.int64()), ("passed", pa.int64())]
)
PROBLEM_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("question_id", "question_title", "question_content", "platform")),
        *((name, pa.string()) for name in ("difficulty", "contest_date", "starter_code")),
        *((name, pa.string()) for name in ("public_test_cases", "private_test_cases", "metadata")),
        ("reference_solutions", pa.list_(pa.string())),
        ("wrong_solutions", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("source", "licence", "source_id", "content_hash", "tests_hash")),
        ("needs_checker", pa.bool_()),
        ("weak_tests", pa.bool_()),
        ("is_verified", pa.bool_()),
        ("dropped_tests", pa.list_(pa.string())),
        ("difficulty_measured", pa.list_(_DIFFICULTY)),
        ("extra", pa.string()),
    ]
)
"""Columns of ``problems.parquet``; docs/formats.md describes them. ``extra`` has the source's other columns as JSON."""


@dataclass(frozen=True, slots=True)
class WrittenProblems:
    """Problems that were written.

    Attributes:
        licences: number of problems in ``problems.parquet`` by source and licence.
        kept_apart: the problems in ``needs_checker.parquet``.
    """

    licences: dict[str, Counter[str]]
    kept_apart: list[Dropped]


def write_problems(folder: Path, problems: Iterable[CuratedProblem]) -> WrittenProblems:
    """Write ``problems.parquet`` and ``needs_checker.parquet``, each atomically, in the given order. Raises OSError."""
    written = WrittenProblems({}, [])
    with (
        open_writer(folder / PROBLEMS_FILE, PROBLEM_SCHEMA) as usable,
        open_writer(folder / NEEDS_CHECKER_FILE, PROBLEM_SCHEMA) as others,
    ):
        for problem in problems:
            candidate = problem.candidate
            if problem.needs_checker:
                others.write(make_problem_row(problem))
                written.kept_apart.append(
                    Dropped(
                        question_id=candidate.problem.question_id,
                        source=candidate.source,
                        stage="verify",
                        reason="needs_checker",
                        detail=problem.needs_checker,
                    )
                )
            else:
                usable.write(make_problem_row(problem))
                written.licences.setdefault(candidate.source, Counter())[candidate.licence] += 1
    return written


def write_dropped(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write ``dropped.parquet`` atomically. Raises OSError."""
    with open_writer(folder / DROPPED_FILE, DROPPED_ROWS.schema) as writer:
        for row in rows:
            writer.write(row)


def make_problem_row(curated: CuratedProblem) -> dict[str, Any]:
    """Make the row of a problem in ``PROBLEM_SCHEMA``.

    Programs with a lone surrogate cannot be run and are left out.
    """
    candidate = curated.candidate
    problem = make_prompt_texts_unicode(candidate.problem)
    extra = dict(problem.extra)
    metadata = extra.pop(_METADATA, None)
    row = to_row(replace(problem, extra={} if metadata is None else {_METADATA: metadata}))
    return row | {
        "question_title": replace_surrogates(problem.question_title),
        "reference_solutions": [program for program in candidate.right_programs if is_unicode(program)],
        "wrong_solutions": [program for program in candidate.wrong_programs if is_unicode(program)],
        "source": candidate.source,
        "licence": candidate.licence,
        "source_id": candidate.source_id,
        "content_hash": hash_content(problem),
        "tests_hash": hash_tests(problem),
        "needs_checker": curated.needs_checker != "",
        "weak_tests": curated.weak_tests,
        "is_verified": curated.is_verified,
        "dropped_tests": list(curated.dropped_tests),
        "difficulty_measured": [],
        "extra": json.dumps(extra, default=str) if extra else None,
    }


def hash_content(problem: Problem) -> str:
    """Return the SHA-256 of what a prompt is made of: statement, starter code and name of the function."""
    return _hash_json([problem.question_content, problem.starter_code, problem.func_name])


def hash_tests(problem: Problem) -> str:
    """Return the SHA-256 of what decides a verdict: tests, checker and encoding of values."""
    tests = [(test.input, test.output, test.testtype) for test in problem.tests]
    checker = None if problem.checker is None else dict(problem.checker)
    return _hash_json([tests, checker, problem.values])


def _hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class RowWriter:
    """Writer of a Parquet file, row by row."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def write(self, row: dict[str, Any]) -> None:
        """Add a row. Raises OSError."""
        self._rows.append(row)
        self._bytes += measure_row(row)
        if len(self._rows) == _GROUP_ROWS or self._bytes > _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows added since the last row group as a row group. Raises OSError."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []
            self._bytes = 0


@contextmanager
def open_writer(path: Path, schema: pa.Schema) -> Iterator[RowWriter]:
    """Open a Parquet file for writing; it appears when the block is left without an error. Raises OSError."""
    with replace_file(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as parquet:
        writer = RowWriter(parquet, schema)
        yield writer
        writer.flush()
