"""Builder of problems whose tests are all that matters."""

from __future__ import annotations

from evaluator.problem import Problem, ProblemTest


def build_problem(question_id: str, *tests: ProblemTest) -> Problem:
    """Build a standard-input problem without a statement; all its tests are public."""
    return Problem(
        question_id=question_id,
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=tests,
        private_tests=(),
    )
