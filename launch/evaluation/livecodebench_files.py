"""Writer of an evaluation in LiveCodeBench's output format, for LiveCodeBench's tools and others that read its files.

The format is that of ``CodeGenerationProblem.insert_output`` and ``insert_output_evaluation``, ``runner/main.py``,
``codegen_metrics`` and ``compute_scores`` in https://github.com/LiveCodeBench/LiveCodeBench. There are three files,
sorted by question id, for N samples at temperature T:

    Scenario.codegeneration_N_T.json            answers and their programs
    Scenario.codegeneration_N_T_eval.json       [pass@k, results by problem and sample, metadata]
    Scenario.codegeneration_N_T_eval_all.json   the first file with graded_list, pass@1 and metadata: for compute_scores

Limits:
- Answers that do not count as attempts (``launch.evaluation.scores``) are not in the lists, whose lengths may therefore
  differ. compute_scores accepts that, but reports pass@k = 1 for a problem with fewer than k attempts: use its figures
  only for k up to the smallest number of attempts.
- Problems without attempts are not in the files, because compute_scores would count them as solved. The caller gets
  their ids.
- custom_evaluator, which judges code_list again, needs every problem of its benchmark and lists of equal length.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluator.pass_at_k import pass_at_k
from evaluator.problem import Problem
from evaluator.verdict import Status
from launch.evaluation.answers import Answer, AnswerKey
from launch.evaluation.scores import list_attempts
from learner.rollout import Judgement

Attempt = tuple[Answer, Judgement]

KS = (1, 5, 10, 20, 40, 50, 75, 100, 125, 150, 200, 500, 1000)  # as in codegen_metrics
MAX_TEST_CHARACTERS = 300  # of a test's input or output in the metadata
# LiveCodeBench's tools parse every date, so a problem without one gets the earliest date, which is before any window.
NO_DATE = datetime.datetime.min
# (error code, error message) as LiveCodeBench's graders report them; its self-repair prompt knows only these codes.
ERRORS = {
    Status.COMPILE_ERROR: (-1, "Compilation Error"),
    Status.NO_CODE: (-1, "No program in the answer"),
    Status.WRONG_ANSWER: (-2, "Wrong Answer"),
    Status.TIME_LIMIT: (-3, "Time Limit Exceeded"),
    Status.RUNTIME_ERROR: (-4, "Runtime Error"),
    Status.MEMORY_LIMIT: (-4, "Memory Limit Exceeded"),
    Status.OUTPUT_LIMIT: (-4, "Output Limit Exceeded"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFiles:
    """Paths of the three files, and the question ids that they do not represent fully.

    Attributes:
        output: file of answers and programs.
        evaluation: file of pass@k, results and metadata.
        evaluation_all: file for compute_scores.
        unattempted: problems without attempts, which are not in the files.
        undated: problems without a date in ISO format, which are written with ``NO_DATE``.
    """

    output: Path
    evaluation: Path
    evaluation_all: Path
    unattempted: tuple[str, ...]
    undated: tuple[str, ...]


def write_livecodebench_files(
    directory: Path,
    problems: Sequence[Problem],
    samples: int,
    temperature: float,
    answers: Mapping[AnswerKey, Answer],
    judgements: Mapping[AnswerKey, Judgement],
) -> WrittenFiles:
    """Write the three files, each atomically; existing files are replaced.

    Args:
        directory: where to write; created if missing.
        problems: all problems of the evaluation.
        samples: answers per problem that the evaluation asked for.
        temperature: sampling temperature.
        answers: answers by (question id, sample index).
        judgements: judgements by the same keys.

    Raises:
        ValueError: no problem has an attempt; LiveCodeBench's tools cannot read empty files.
        OSError: a file cannot be written.
    """
    attempted: list[tuple[Problem, tuple[Attempt, ...]]] = []
    unattempted: list[str] = []
    for problem in sorted(problems, key=lambda problem: problem.question_id):
        if attempts := list_attempts(problem, samples, answers, judgements):
            attempted.append((problem, attempts))
        else:
            unattempted.append(problem.question_id)
    if not attempted:
        raise ValueError("no attempt at any problem: nothing to write for LiveCodeBench's tools")
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"Scenario.codegeneration_{samples}_{float(temperature)}"
    written = WrittenFiles(
        output=directory / f"{stem}.json",
        evaluation=directory / f"{stem}_eval.json",
        evaluation_all=directory / f"{stem}_eval_all.json",
        unattempted=tuple(unattempted),
        undated=tuple(problem.question_id for problem, _ in attempted if _parse_date(problem) == NO_DATE),
    )
    _write_list(written.output, (make_output_row(problem, attempts) for problem, attempts in attempted))
    _write_list(written.evaluation, make_evaluation(attempted))
    _write_list(written.evaluation_all, (make_evaluated_row(problem, attempts) for problem, attempts in attempted))
    return written


def make_output_row(problem: Problem, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return the problem's fields, and its answers and programs in sample order ("" if an answer has no program)."""
    return {
        "question_title": problem.question_title,
        "question_content": problem.question_content,
        "platform": problem.platform,
        "question_id": problem.question_id,
        "contest_id": problem.extra.get("contest_id", ""),
        "contest_date": _parse_date(problem).isoformat(),
        "starter_code": problem.starter_code,
        "difficulty": problem.difficulty,
        "output_list": [answer.text for answer, _ in attempts],
        "code_list": [judgement.code or "" for _, judgement in attempts],
    }


def make_evaluated_row(problem: Problem, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return ``make_output_row`` with the judgement of each program, in the same order."""
    graded = [judgement.verdict.passed for _, judgement in attempts]
    return {
        **make_output_row(problem, attempts),
        "graded_list": graded,
        "pass@1": sum(graded) / len(graded),
        "metadata": [make_metadata(problem, *attempt) for attempt in attempts],
    }


def make_evaluation(attempted: Sequence[tuple[Problem, Sequence[Attempt]]]) -> list[Any]:
    """Return the output of ``codegen_metrics``: [pass@k, results by problem index and sample, metadata].

    pass@k is given as a mean and for each problem, for every k of ``KS`` for which all problems have k attempts.
    """
    counts = [(len(attempts), sum(judgement.verdict.passed for _, judgement in attempts)) for _, attempts in attempted]
    fewest = min(tried for tried, _ in counts)
    detail = {
        f"pass@{k}": {str(index): pass_at_k(tried, passed, k) for index, (tried, passed) in enumerate(counts)}
        for k in KS
        if k <= fewest
    }
    means = {name: sum(values.values()) / len(values) for name, values in detail.items()}
    return [
        {**means, "detail": detail},
        {
            str(index): [make_results(judgement) for _, judgement in attempts]
            for index, (_, attempts) in enumerate(attempted)
        },
        [[make_metadata(problem, *attempt) for attempt in attempts] for problem, attempts in attempted],
    ]


def make_results(judgement: Judgement) -> list[bool | int]:
    """Return True for each test passed; if the program failed, then its error code."""
    verdict = judgement.verdict
    passed: list[bool | int] = [True] * verdict.tests_passed
    return passed if verdict.passed else [*passed, ERRORS[verdict.status][0]]


def make_metadata(problem: Problem, answer: Answer, judgement: Judgement) -> str:
    """Return the metadata of an attempt as JSON: the keys of LiveCodeBench, and ``status`` and ``sample_index``.

    ``output`` holds the evaluator's detail message, because the program's own output is not kept.
    """
    verdict = judgement.verdict
    values: dict[str, Any] = {"status": str(verdict.status), "sample_index": answer.sample_index}
    if verdict.passed:
        return json.dumps({"execution time": verdict.seconds, **values})
    code, message = ERRORS[verdict.status]
    values |= {"error_code": code, "error_message": message, "error": verdict.detail or message}
    if verdict.first_failed is not None:
        test = problem.tests[verdict.first_failed]
        values |= {"inputs": _shorten(test.input), "expected": _shorten(test.output), "output": verdict.detail}
    return json.dumps(values)


def _shorten(text: str) -> str:
    half = MAX_TEST_CHARACTERS // 2
    return text if len(text) <= MAX_TEST_CHARACTERS else f"{text[:half]}...{text[-half:]}"


def _parse_date(problem: Problem) -> datetime.datetime:
    """Return the contest date without a time zone: LiveCodeBench's tools compare it with dates that have none."""
    try:
        return datetime.datetime.fromisoformat(problem.contest_date or "").replace(tzinfo=None)
    except ValueError:
        return NO_DATE


def _write_list(path: Path, values: Iterable[Any]) -> None:
    """Write a JSON list, one element at a time: the text of all answers would take as much memory as the log."""
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "w", encoding="utf-8") as file:
        for index, value in enumerate(values):
            file.write(",\n" if index else "[\n")
            file.write(json.dumps(value))  # not json.dump, whose encoder is the slow one in Python
        file.write("\n]\n")
    os.replace(unfinished, path)
