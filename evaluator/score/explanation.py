"""Explanation of one verdict: the tests of a program with input, expected and actual output."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

from evaluator.custom_checker import CheckedReferences
from evaluator.errors import UserError
from evaluator.evaluator import apply_problem_limits
from evaluator.judging import TestResult, VerdictBuilder, Worker, judge
from evaluator.problem import Problem, ProblemTest
from evaluator.sandbox import SandboxError
from evaluator.score.inputs import Submission
from evaluator.score.options import Options
from evaluator.score.terminal import escape, find_difference, format_excerpt, shorten_line
from evaluator.verdict import Status, Verdict


def explain_program(submission: Submission, options: Options) -> tuple[Verdict, str]:
    """Judge one program with all tests of its problem, and return the verdict and a text about each test.

    Raises UserError if no sandbox can start or, with ``strict``, if a fence is missing.
    """
    problem = submission.problem
    assert problem is not None
    builder = VerdictBuilder(total=len(problem.tests), all_tests=True, closing=threading.Event())
    answers: dict[int, str] = {}  # by index of the test
    if submission.failure:
        verdict = builder.build_verdict_without_tests(Status.SANDBOX_ERROR, submission.failure)
    else:
        verdict = _judge_all_tests(submission, problem, options, builder, answers)
    title = f"program {submission.index} for problem {escape(submission.question_id)}: {verdict.status}"
    title += f", {verdict.tests_passed} of {verdict.tests_total} tests passed"
    if verdict.detail and not builder.results:  # otherwise it is the detail of a test
        title += f" ({shorten_line(verdict.detail)})"
    return verdict, "\n\n".join([title, *_format_tests(problem, builder.results, answers)])


def _judge_all_tests(
    submission: Submission, problem: Problem, options: Options, builder: VerdictBuilder, answers: dict[int, str]
) -> Verdict:
    """Judge the program, and add its answers to ``answers``, by index of the test."""
    worker = Worker.create(options.strict, CheckedReferences())
    try:
        worker.light.start()
        return judge(
            worker=worker,
            problem=problem,
            code=submission.code,
            limits=apply_problem_limits(problem, options.limits),
            policy=options.policy,
            builder=builder,
            on_answer=lambda answer: answers.update({len(builder.results): answer}),
        )
    except SandboxError as error:
        raise UserError(f"the sandbox does not start: {error}") from error
    finally:
        worker.close()


def _format_tests(problem: Problem, results: Sequence[TestResult], answers: Mapping[int, str]) -> Iterator[str]:
    for index, test in enumerate(problem.tests):
        kind = "public" if index < len(problem.public_tests) else "private"
        outcome = _describe_result(results[index]) if index < len(results) else "not run"
        yield f"test {index} ({kind}): {outcome}\n{_format_test(test, answers.get(index))}"


def _describe_result(result: TestResult) -> str:
    reason = shorten_line(result.detail)
    if result.accepted_by is not None:
        reason = f"by {result.accepted_by}"
    elif reason:
        reason = f"({reason})"
    return f"{result.status} {reason}".rstrip() + f", {result.seconds:.2f} s"


def _format_test(test: ProblemTest, answer: str | None) -> str:
    line, column = (0, 0) if answer is None else find_difference(test.output, answer)
    texts = {
        "input": format_excerpt(test.input),
        "expected": format_excerpt(test.output, line, column),
        "actual": ["(none)"] if answer is None else format_excerpt(answer, line, column),
    }
    labels = {name: [name] + [""] * (len(lines) - 1) for name, lines in texts.items()}
    return "\n".join(
        f"  {label:10}{text}".rstrip()
        for name, lines in texts.items()
        for label, text in zip(labels[name], lines, strict=True)
    )
