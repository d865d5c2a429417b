"""Candidates for tests of the curation."""

from __future__ import annotations

from typing import Any

from evaluator.problem import Problem, ProblemTest
from launch.curation.candidates import Candidate


def make_candidate(
    question_id: str = "set/1",
    right_programs: tuple[str, ...] = (),
    wrong_programs: tuple[str, ...] = (),
    **problem_changes: Any,
) -> Candidate:
    """Return a candidate; ``problem_changes`` are fields of its problem to replace."""
    source, _, source_id = question_id.partition("/")
    values: dict[str, Any] = {
        "question_title": "",
        "question_content": "Add the two numbers that are given on one line, and print their sum.\n",
        "platform": "other",
        "difficulty": None,
        "contest_date": None,
        "starter_code": "",
        "public_tests": (ProblemTest("1 2\n", "3\n"),),
        "private_tests": (),
    }
    return Candidate(
        problem=Problem(question_id=question_id, **(values | problem_changes)),
        source=source,
        source_id=source_id,
        licence="MIT",
        right_programs=right_programs,
        wrong_programs=wrong_programs,
    )


def make_tests(**outputs_by_input: str) -> tuple[ProblemTest, ...]:
    """Return tests with the given outputs by input."""
    return tuple(ProblemTest(f"{inp}\n", f"{output}\n") for inp, output in outputs_by_input.items())
