"""Verify candidates: each is kept with flags, or dropped with the reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from evaluator.evaluator import Evaluator
from evaluator.problem import Problem
from evaluator.verdict import Status
from launch.curation.candidates import Candidate, Dropped
from launch.curation.processing.examples import compare_examples
from launch.curation.processing.process import CONTRADICTED_EXAMPLE, DROPPED_TESTS
from launch.curation.verification.float_checker import find_float_checker, is_accepted
from launch.curation.verification.intervals import Share
from launch.curation.verification.references import NotJudged, Outcome, Reference, TestOutcome, run_references
from launch.curation.verification.several_answers import find_allowance

_FREE_CHECKERS = ("custom", "unordered", "unordered_deep")  # types of checkers that accept several answers


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationSettings:
    """Settings of the verification.

    Attributes:
        keep_unverified: keep problems without a reference that passes, except those with flaky references.
        min_true_negative_rate: share of wrong programs that tests must reject to be not weak.
        max_right_programs: number of right programs of a problem that are run, the first ones.
        max_wrong_programs: number of wrong programs of a problem that are run, the first ones.
    """

    keep_unverified: bool = False
    min_true_negative_rate: float = 0.8
    max_right_programs: int = 8
    max_wrong_programs: int = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class TestQuality:
    """Verdicts of a problem's tests on programs with labels.

    Attributes:
        true_positives: share of the right programs that pass.
        true_negatives: share of the wrong programs that fail.
    """

    __test__ = False  # not a class of tests

    true_positives: Share
    true_negatives: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """Problem that passed the verification.

    Attributes:
        candidate: the candidate, its problem without the dropped tests and with the checker that was written.
        is_verified: a reference passes all tests; False only with ``keep_unverified``.
        needs_checker: reason why comparing with the expected outputs would reject right programs; "" if it would not.
        weak_tests: the tests accept too many of the wrong programs.
        float_checker: a checker of real numbers was written.
        dropped_tests: for each test that was dropped here, its index among the candidate's tests and the reason; before
            them, the tests that processing dropped.
        quality: the verdicts of the tests on the labelled programs.
    """

    candidate: Candidate
    is_verified: bool
    needs_checker: str
    weak_tests: bool
    float_checker: bool
    dropped_tests: tuple[str, ...]
    quality: TestQuality


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """A candidate's problem with its references' outcomes, after dropping tests and writing a checker."""

    problem: Problem
    references: tuple[Reference, ...]
    dropped_tests: tuple[str, ...]
    float_checker: bool


def verify_candidates(
    candidates: Iterable[Candidate], evaluator: Evaluator, settings: VerificationSettings
) -> Iterator[Verified | Dropped]:
    """Verify candidates, as many at a time as the evaluator has workers; yield the results in the same order.

    Raises SandboxError if no sandbox starts on this machine.
    """
    _ = evaluator.missing  # fail here if no sandbox starts, not for each candidate
    pending: deque[Future[Verified | Dropped]] = deque()
    with ThreadPoolExecutor(evaluator.workers, thread_name_prefix="verification") as threads:
        try:
            for candidate in candidates:
                pending.append(threads.submit(verify_candidate, candidate, evaluator, settings))
                if len(pending) > 2 * evaluator.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def verify_candidate(candidate: Candidate, evaluator: Evaluator, settings: VerificationSettings) -> Verified | Dropped:
    """Verify one candidate."""
    broken = evaluator.find_broken_checkers([candidate.problem])
    if broken:
        return _drop(candidate, "broken_checker", broken[candidate.problem.question_id])
    try:
        references = run_references(
            candidate.problem, candidate.right_programs[: settings.max_right_programs], evaluator
        )
        judged = _write_float_checker(_drop_crashing_tests(candidate.problem, references))
        needs_checker = _find_missing_checker(judged)
        if not needs_checker and (failure := _find_failure(candidate, judged, settings)):
            return failure
        quality = _measure_tests(candidate, judged, evaluator, settings)
    except NotJudged as error:
        return _drop(candidate, "not_judged", str(error))
    true_negative_rate = quality.true_negatives.value
    extra = dict(judged.problem.extra)
    too_large: Sequence[str] = extra.pop(DROPPED_TESTS, ())
    return Verified(
        candidate=replace(candidate, problem=replace(judged.problem, extra=extra)),
        is_verified=any(reference.passed for reference in judged.references),
        needs_checker=needs_checker,
        weak_tests=true_negative_rate is not None and true_negative_rate < settings.min_true_negative_rate,
        float_checker=judged.float_checker,
        dropped_tests=(*too_large, *judged.dropped_tests),
        quality=quality,
    )


def _drop_crashing_tests(problem: Problem, references: Sequence[Reference]) -> _Judged:
    """Drop the tests on which every reference crashes, unless these are more than half of all tests."""
    crashing = {
        index: references[0].tests[index].detail
        for index in range(len(problem.tests))
        if references and all(reference.tests[index].outcome is Outcome.CRASHED for reference in references)
    }
    if 2 * len(crashing) > len(problem.tests):
        crashing = {}
    kept = [index for index in range(len(problem.tests)) if index not in crashing]
    public = len(problem.public_tests)
    return _Judged(
        problem=replace(
            problem,
            public_tests=tuple(problem.tests[index] for index in kept if index < public),
            private_tests=tuple(problem.tests[index] for index in kept if index >= public),
        ),
        references=tuple(reference.select_tests(kept) for reference in references),
        dropped_tests=tuple(
            f"test {index}: every reference crashes, the first with {detail}" for index, detail in crashing.items()
        ),
        float_checker=False,
    )


def _write_float_checker(judged: _Judged) -> _Judged:
    """Add a checker if all rejected answers of the references differ from the expected ones only in real numbers."""
    rejected = [
        (index, answer)
        for reference in judged.references
        for index, test in enumerate(reference.tests)
        for answer in test.answers
    ]
    checker = find_float_checker(judged.problem, rejected) if rejected else None
    if checker is None:
        return judged
    problem = replace(judged.problem, checker=checker)

    def judge_again(index: int, test: TestOutcome) -> TestOutcome:
        expected = problem.tests[index].output
        is_right = test.outcome is Outcome.WRONG and all(
            is_accepted(problem, checker, expected, answer) for answer in test.answers
        )
        return TestOutcome(outcome=Outcome.PASSED) if is_right else test

    references = tuple(
        replace(reference, tests=tuple(judge_again(index, test) for index, test in enumerate(reference.tests)))
        for reference in judged.references
    )
    return replace(judged, problem=problem, references=references, float_checker=True)


def _find_missing_checker(judged: _Judged) -> str:
    """Return why the problem needs a checker that it does not have; "" if it does not.

    References disagree if they give different answers to one input. If all give the same rejected answer, the expected
    output is wrong, or all references are. If every reference is unstable, the problem is flaky instead.
    """
    has_stable = any(not reference.has_outcome(Outcome.UNSTABLE) for reference in judged.references)
    for index in range(len(judged.problem.tests)):
        tests = [reference.tests[index] for reference in judged.references]
        answering = [test for test in tests if test.answers or test.outcome is Outcome.PASSED]
        rejected = {answer for test in answering for answer in test.answers}
        has_passed = any(test.outcome is Outcome.PASSED for test in answering)
        if has_stable and len(answering) > 1 and rejected and len(rejected) + has_passed > 1:
            return f"{len(answering)} right programs give different answers to test {index}"
    checker = judged.problem.checker
    if checker is not None and checker["type"] in _FREE_CHECKERS:
        return ""
    allowance = find_allowance(judged.problem.question_content)
    if allowance is not None:
        return f"the statement allows several answers: {allowance[:200]!r}"
    return _find_contradicted_example(judged)


def _find_contradicted_example(judged: _Judged) -> str:
    """Return the contradiction between an example in the statement and the tests that processing found; "" if none.

    A checker of numbers that was written since then may accept both outputs.
    """
    given = judged.problem.extra.get(CONTRADICTED_EXAMPLE)
    if given is None or (judged.float_checker and not compare_examples(judged.problem).contradictions):
        return ""
    return f"an example in the statement has another output than the test with the same input: {str(given)[:200]!r}"


def _find_failure(candidate: Candidate, judged: _Judged, settings: VerificationSettings) -> Dropped | None:
    """Return the record of a candidate without a reference that passes all tests; None if it stays."""
    if any(reference.passed for reference in judged.references):
        return None
    for reference in judged.references:
        for index, test in enumerate(reference.tests):
            if test.outcome is Outcome.UNSTABLE:
                return _drop(candidate, "flaky", f"test {index}: {test.detail} in two runs of the same program")
    if settings.keep_unverified:
        return None
    if not candidate.right_programs:
        return _drop(candidate, "no_passing_reference", "the source has no reference")
    if not judged.references:
        return _drop(candidate, "no_passing_reference", "no reference is a Python program")
    index, test = next(
        (index, test) for index, test in enumerate(judged.references[0].tests) if test.outcome is not Outcome.PASSED
    )
    detail = f"none of {len(judged.references)} references passes; the first fails test {index}: {test.detail}"
    return _drop(candidate, "no_passing_reference", detail)


def _measure_tests(
    candidate: Candidate, judged: _Judged, evaluator: Evaluator, settings: VerificationSettings
) -> TestQuality:
    """Judge the wrong programs and return the quality of the tests. Raises NotJudged."""
    programs = list(dict.fromkeys(candidate.wrong_programs[: settings.max_wrong_programs]))
    futures = [evaluator.submit(judged.problem, program) for program in programs]
    verdicts = [future.result() for future in futures]
    for verdict in verdicts:
        if verdict.status is Status.SANDBOX_ERROR:
            raise NotJudged(verdict.detail)
    verdicts = [verdict for verdict in verdicts if verdict.status is not Status.COMPILE_ERROR]
    return TestQuality(
        true_positives=Share(sum(reference.passed for reference in judged.references), len(judged.references)),
        true_negatives=Share(sum(not verdict.passed for verdict in verdicts), len(verdicts)),
    )


def _drop(candidate: Candidate, reason: str, detail: str) -> Dropped:
    return Dropped(
        question_id=candidate.problem.question_id,
        source=candidate.source,
        stage="verify",
        reason=reason,
        detail=detail,
    )
