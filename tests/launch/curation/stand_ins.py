"""Candidates for tests of curation. Every argument has a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluator.problem import Problem, ProblemTest
from launch.curation.candidates import Candidate


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
