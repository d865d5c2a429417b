"""Verdict on one program: a status, test counts, and the comparison strategy that accepted it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """Result of judging a program. Do not score ``sandbox_error``: it is the evaluator's failure, not the program's."""

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
    """Verdict on one program for one problem.

    Attributes:
        status: the decisive result.
        tests_passed: number of tests passed.
        tests_run: number of tests started.
        tests_total: number of tests of the problem.
        first_failed: index of the first failed test in ``Problem.tests``; None if no test failed.
        accepted_by: loosest comparison strategy that any passed test needed; None unless the program passed.
        seconds: wall time of the whole evaluation.
        detail: explanation for a reader.
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
        """True if every test passed: the 0/1 reward."""
        return self.status is Status.PASSED


def build_verdict_without_tests(status: Status, detail: str, tests_total: int = 0, seconds: float = 0.0) -> Verdict:
    """Return the verdict on a program of which no test was run."""
    return Verdict(
        status=status,
        tests_passed=0,
        tests_run=0,
        tests_total=tests_total,
        first_failed=None,
        accepted_by=None,
        seconds=seconds,
        detail=detail,
    )
