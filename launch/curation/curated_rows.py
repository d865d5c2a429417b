"""Problems that passed all stages, as rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from launch.curation.candidate_rows import (
    CANDIDATE_ROWS,
    RowFormat,
    decode_candidate,
    encode_candidate,
    read_rows,
)
from launch.curation.candidates import Candidate
from launch.problems.usable_problems import replace_surrogates


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramCounts:
    """Verdicts of a problem's tests on its labelled programs.

    Attributes:
        right: number of judged programs that are labelled as right.
        right_accepted: number of those that passed.
        wrong: number of judged programs that are labelled as wrong.
        wrong_rejected: number of those that failed.
    """

    right: int
    right_accepted: int
    wrong: int
    wrong_rejected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CuratedProblem:
    """Problem that passed all stages.

    Attributes:
        candidate: the problem with its provenance and labelled programs.
        needs_checker: reason why the problem needs a checker that it does not have; "" if it does not.
        weak_tests: the tests accept too many of the wrong programs.
        float_checker: a checker of numbers was written for the problem.
        is_verified: a right program passes all tests.
        dropped_tests: for each test that was too large, or that the verification dropped, its index and the reason.
        programs: verdicts of its labelled programs.
    """

    candidate: Candidate
    needs_checker: str
    weak_tests: bool
    float_checker: bool
    is_verified: bool
    dropped_tests: tuple[str, ...]
    programs: ProgramCounts


_FLAGS = (
    ("needs_checker", pa.string()),
    ("weak_tests", pa.bool_()),
    ("float_checker", pa.bool_()),
    ("is_verified", pa.bool_()),
)
_COUNTS = ("right", "right_accepted", "wrong", "wrong_rejected")


def encode_curated(curated: CuratedProblem) -> dict[str, Any]:
    """Make the columns of a problem. Raises CandidateError."""
    return {
        **encode_candidate(curated.candidate),
        **{name: getattr(curated, name) for name, _ in _FLAGS},
        "dropped_tests": [replace_surrogates(text) for text in curated.dropped_tests],
        **{name: getattr(curated.programs, name) for name in _COUNTS},
    }


def read_curated(path: Path) -> Iterator[CuratedProblem]:
    """Yield the problems of a Parquet file. Raises OSError."""
    for row in read_rows(path):
        yield CuratedProblem(
            candidate=decode_candidate(row),
            dropped_tests=tuple(row["dropped_tests"]),
            programs=ProgramCounts(**{name: row[name] for name in _COUNTS}),
            **{name: row[name] for name, _ in _FLAGS},
        )


CURATED_ROWS = RowFormat(
    pa.schema(
        [
            *CANDIDATE_ROWS.schema,
            *_FLAGS,
            ("dropped_tests", pa.list_(pa.string())),
            *((name, pa.int64()) for name in _COUNTS),
        ]
    ),
    encode_curated,
)
