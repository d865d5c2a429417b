"""Candidates and functions of stages for tests of curation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluator.problem import Problem, ProblemTest
from launch.curation.candidates import Candidate, Dropped, StageName
from launch.curation.curated_rows import CuratedProblem, ProgramCounts
from launch.curation.stage_functions import Examination, StageFunctions


def make_candidate(
    source_id: str = "1",
    *,
    source: str = "set",
    question_id: str | None = None,
    content: str = "Print the sum of two numbers.",
    platform: str = "other",
    tests: tuple[ProblemTest, ...] = (ProblemTest("1 2\n", "3\n"),),
    right_programs: tuple[str, ...] = ("print(sum(map(int, input().split())))",),
    wrong_programs: tuple[str, ...] = (),
    extra: Mapping[str, Any] | None = None,
) -> Candidate:
    """Build a candidate whose question id follows from source and source id, unless it is given."""
    problem = Problem(
        question_id=f"{source}/{source_id}" if question_id is None else question_id,
        question_title="",
        question_content=content,
        platform=platform,
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=(),
        private_tests=tests,
        extra=extra or {},
    )
    return Candidate(
        problem=problem,
        source=source,
        source_id=source_id,
        licence="MIT",
        right_programs=right_programs,
        wrong_programs=wrong_programs,
    )


def read_file(path: Path) -> Iterator[Candidate | Dropped]:
    """Read a JSON file of numbers: a number becomes a candidate, anything else is dropped."""
    for row, number in enumerate(json.loads(path.read_text()), 1):
        if isinstance(number, int):
            yield make_candidate(str(number), source=path.stem, content=f"Print {number % 100}.")
        else:
            yield drop(f"{path.stem}/{path.name}:{row}", path.stem, "collect", "bad_row")


def drop_multiples_of_seven(candidate: Candidate) -> Candidate | Dropped:
    if int(candidate.source_id) % 7 == 0:
        return drop(candidate.problem.question_id, candidate.source, "process", "image")
    return candidate


def examine(candidate: Candidate) -> Examination:
    """Find that statements about 5 and 6 overlap test sets."""
    problem = candidate.problem
    fingerprint = (problem.question_id, candidate.source, problem.question_content)
    test_sets = {"Print 5.": ("first", "second"), "Print 6.": ("second",)}.get(problem.question_content, ())
    dropped = drop(problem.question_id, candidate.source, "filter", "overlap") if test_sets else None
    return Examination(fingerprint, test_sets, dropped)


def find_duplicates(fingerprints: Iterable[tuple[str, str, str]]) -> Mapping[str, Dropped]:
    """Drop all but the first of the candidates with the same statement."""
    first: dict[str, str] = {}
    duplicates = {}
    for question_id, source, content in fingerprints:
        if first.setdefault(content, question_id) != question_id:
            duplicates[question_id] = drop(question_id, source, "filter", "duplicate")
    return duplicates


def verify(candidates: Iterable[Candidate]) -> Iterator[CuratedProblem | Dropped]:
    """Drop problem 11 as flaky; find that problem 12 needs a checker; accept the others."""
    for candidate in candidates:
        if candidate.source_id == "11":
            yield drop(candidate.problem.question_id, candidate.source, "verify", "flaky")
            continue
        yield CuratedProblem(
            candidate=candidate,
            needs_checker="two answers" if candidate.source_id == "12" else "",
            weak_tests=candidate.source_id == "13",
            float_checker=False,
            is_verified=True,
            dropped_tests=("test 3: crashes",),
            programs=ProgramCounts(right=2, right_accepted=1, wrong=10, wrong_rejected=9),
        )


FUNCTIONS = StageFunctions(
    collect=read_file,
    process=drop_multiples_of_seven,
    examine=examine,
    find_duplicates=find_duplicates,
    verify=verify,
)
"""Stages that take next to no time."""


def drop(question_id: str, source: str, stage: StageName, reason: str) -> Dropped:
    return Dropped(question_id=question_id, source=source, stage=stage, reason=reason, detail="for the test")
