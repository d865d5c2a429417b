"""Runs of a candidate's reference programs on all tests, twice, and their outcome on each test."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluator.evaluator import Evaluator, ProgramRun
from evaluator.problem import Problem
from evaluator.verdict import Status

RUNS = 2


class Outcome(enum.Enum):
    """Outcome of one program on one test, over all runs."""

    PASSED = "passed"
    WRONG = "wrong answer"
    CRASHED = "runtime error"
    LIMIT = "limit"
    UNSTABLE = "unstable"


@dataclass(frozen=True, kw_only=True, slots=True)
class TestOutcome:
    """Outcome of one program on one test.

    Attributes:
        outcome: the outcome over all runs.
        answers: the rejected answers, without repetition.
        detail: explanation for a reader.
    """

    __test__ = False  # not a class of tests

    outcome: Outcome
    answers: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Reference:
    """Reference program with its outcome on each test."""

    code: str
    tests: tuple[TestOutcome, ...]

    @property
    def passed(self) -> bool:
        """True if the program passed all tests in all runs."""
        return all(test.outcome is Outcome.PASSED for test in self.tests)

    def has_outcome(self, outcome: Outcome) -> bool:
        """Return True if the program has this outcome on a test."""
        return any(test.outcome is outcome for test in self.tests)

    def select_tests(self, indices: Sequence[int]) -> Reference:
        """Return the reference with the outcomes on these tests only."""
        return replace(self, tests=tuple(self.tests[index] for index in indices))


class NotJudged(Exception):
    """Error for a program without a verdict: the sandbox, the checker or an expected output is unusable."""


def run_references(problem: Problem, programs: Sequence[str], evaluator: Evaluator) -> list[Reference]:
    """Run programs on all tests of a problem, twice. Programs that are not Python are left out. Raises NotJudged."""
    futures = [
        (code, [evaluator.submit_all_tests(problem, code) for _ in range(RUNS)]) for code in dict.fromkeys(programs)
    ]
    references = []
    for code, attempts in futures:
        runs = [attempt.result() for attempt in attempts]
        for run in runs:
            if run.verdict.status is Status.SANDBOX_ERROR:
                raise NotJudged(run.verdict.detail)
        if any(run.verdict.status is Status.COMPILE_ERROR for run in runs):
            continue
        outcomes = tuple(_merge_runs(runs, index) for index in range(len(problem.tests)))
        references.append(Reference(code, outcomes))
    return references


def _merge_runs(runs: Sequence[ProgramRun], index: int) -> TestOutcome:
    """Return the outcome on a test over all runs."""
    # A program that used up its time for all tests has no result of the last ones.
    results = [run.results[index] if index < len(run.results) else None for run in runs]
    statuses = {Status.TIME_LIMIT if result is None else result.status for result in results}
    if statuses == {Status.PASSED}:
        return TestOutcome(outcome=Outcome.PASSED)
    answers = tuple(dict.fromkeys(run.answers[index] for run in runs if index in run.answers))
    detail = next((result.detail for result in results if result and result.detail), "")
    if len(statuses) > 1 or len(answers) > 1:
        detail = " and ".join(sorted(statuses))
        return TestOutcome(outcome=Outcome.UNSTABLE, answers=answers, detail=detail)
    (status,) = statuses
    outcome = {Status.WRONG_ANSWER: Outcome.WRONG, Status.RUNTIME_ERROR: Outcome.CRASHED}.get(status, Outcome.LIMIT)
    return TestOutcome(outcome=outcome, answers=answers, detail=f"{status}: {detail}")
