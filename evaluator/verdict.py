"""What an evaluation says about one program: a status, counts, and which comparison accepted it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """How a program ended. ``sandbox_error`` is a failure of the evaluator, never of the program: do not score it."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    COMPILE_ERROR = "compile_error"
    NO_CODE = "no_code"
    SANDBOX_ERROR = "sandbox_error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The judgement of one program on one problem.

    ``tests_run`` counts the tests that were started; ``first_failed`` is an index into ``Problem.tests`` (None when no
    test failed). ``accepted_by`` names the loosest comparison strategy that any passed test needed, and is set only
    when the program passed. ``seconds`` is the wall time the whole evaluation took; ``detail`` is for a person.
    """

    status: Status
    tests_passed: int
    tests_run: int
    tests_total: int
    first_failed: int | None
    accepted_by: str | None
    seconds: float
    detail: str

    @property
    def passed(self) -> bool:
        """Whether every test passed: the 0/1 reward."""
        return self.status is Status.PASSED
