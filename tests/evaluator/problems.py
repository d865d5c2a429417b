"""Builder of problems for the evaluator's tests. ``tests.factories`` has another, but imports the learner."""

from typing import Any

from evaluator import Problem, ProblemTest


def make_problem_with_tests(*tests: ProblemTest, **changes: Any) -> Problem:
    """Return a problem whose first test is public and whose other tests are private.

    Args:
        tests: tests in the order in which they are run.
        changes: fields of ``Problem`` that differ from the defaults.
    """
    values: dict[str, Any] = {
        "question_id": "q",
        "question_title": "",
        "question_content": "",
        "platform": "other",
        "difficulty": None,
        "contest_date": None,
        "starter_code": "",
        "public_tests": tests[:1],
        "private_tests": tests[1:],
    }
    return Problem(**(values | changes))
