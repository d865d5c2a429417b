"""An evaluation in LiveCodeBench's own output format, so that its tools, and those made for its files, can read it.

Source: ``CodeGenerationProblem.insert_output`` and ``insert_output_evaluation``, ``runner/main.py``,
``codegen_metrics`` and ``compute_scores`` of https://github.com/LiveCodeBench/LiveCodeBench. Three files, problems by
question id:

    Scenario.codegeneration_N_T.json            the answers and their programs
    Scenario.codegeneration_N_T_eval.json       [pass@k, results by problem and sample, metadata]
    Scenario.codegeneration_N_T_eval_all.json   the first with graded_list, pass@1 and metadata: for compute_scores

Attempts that do not count (``launch.evaluation.scores``) are not in the lists, which may then differ in length.
compute_scores takes that, but says 1 for pass@k of a problem with fewer than k attempts: only its k up to the fewest
mean something.
It would take a problem without attempts for solved, so those are left out, and named to the caller. custom_evaluator,
which judges code_list anew, wants every problem of its benchmark and lists of one length.
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
from launch.evaluation.answers import Answer, Key
from launch.evaluation.scores import counted
from learner.rollout import Judgement

Attempt = tuple[Answer, Judgement]

KS = (1, 5, 10, 20, 40, 50, 75, 100, 125, 150, 200, 500, 1000)  # as in codegen_metrics
SHOWN = 300  # characters of a test in the metadata
# Their tools parse every date: a problem without one gets the first day there is, before the start of any window.
NO_DATE = datetime.datetime.min
# What their graders report, and their self-repair prompt understands: code and words. It has only these four kinds.
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
    """Where the three files are, and of which problems (question ids) they say less than the evaluation knows.

    ``left_out``: without attempts. ``undated``: without a date in ISO format; written as of ``NO_DATE``.
    """

    output: Path
    evaluation: Path
    evaluation_all: Path
    left_out: tuple[str, ...]
    undated: tuple[str, ...]


def write_livecodebench_files(
    directory: Path,
    problems: Sequence[Problem],
    samples: int,
    temperature: float,
    answers: Mapping[Key, Answer],
    judgements: Mapping[Key, Judgement],
) -> WrittenFiles:
    """Write the three files, each whole or not at all, over those of before.

    Raises ValueError when there is no attempt at any problem: their tools cannot read a file of none. Raises OSError.
    """
    attempted: list[tuple[Problem, tuple[Attempt, ...]]] = []
    left_out: list[str] = []
    for problem in sorted(problems, key=lambda problem: problem.question_id):
        if attempts := counted(problem, samples, answers, judgements):
            attempted.append((problem, attempts))
        else:
            left_out.append(problem.question_id)
    if not attempted:
        raise ValueError("no attempt at any problem: nothing to write for LiveCodeBench's tools")
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"Scenario.codegeneration_{samples}_{float(temperature)}"
    written = WrittenFiles(
        output=directory / f"{stem}.json",
        evaluation=directory / f"{stem}_eval.json",
        evaluation_all=directory / f"{stem}_eval_all.json",
        left_out=tuple(left_out),
        undated=tuple(problem.question_id for problem, _ in attempted if _date(problem) == NO_DATE),
    )
    _write_list(written.output, (output_row(*one) for one in attempted))
    _write_list(written.evaluation, evaluation(attempted))
    _write_list(written.evaluation_all, (evaluated_row(*one) for one in attempted))
    return written


def output_row(problem: Problem, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The problem's fields, its answers and their programs in the order of the samples ("" for an answer without)."""
    return {
        "question_title": problem.question_title,
        "question_content": problem.question_content,
        "platform": problem.platform,
        "question_id": problem.question_id,
        "contest_id": problem.extra.get("contest_id", ""),
        "contest_date": _date(problem).isoformat(),
        "starter_code": problem.starter_code,
        "difficulty": problem.difficulty,
        "output_list": [answer.text for answer, _ in attempts],
        "code_list": [judgement.code or "" for _, judgement in attempts],
    }


def evaluated_row(problem: Problem, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """``output_row`` with what the evaluator says of each program, in the same order."""
    graded = [judgement.verdict.passed for _, judgement in attempts]
    return {
        **output_row(problem, attempts),
        "graded_list": graded,
        "pass@1": sum(graded) / len(graded),
        "metadata": [metadata(problem, *attempt) for attempt in attempts],
    }


def evaluation(attempted: Sequence[tuple[Problem, Sequence[Attempt]]]) -> list[Any]:
    """What ``codegen_metrics`` gives: pass@k, ``results`` and ``metadata``, by place of the problem and by sample.

    pass@k, as a mean and by problem, is for those of its ``KS`` that every problem has the attempts for.
    """
    counts = [(len(attempts), sum(judgement.verdict.passed for _, judgement in attempts)) for _, attempts in attempted]
    fewest = min(tried for tried, _ in counts)
    detail = {
        f"pass@{k}": {str(place): pass_at_k(tried, passed, k) for place, (tried, passed) in enumerate(counts)}
        for k in KS
        if k <= fewest
    }
    means = {name: sum(values.values()) / len(values) for name, values in detail.items()}
    return [
        {**means, "detail": detail},
        {
            str(place): [results(judgement) for _, judgement in attempts]
            for place, (_, attempts) in enumerate(attempted)
        },
        [[metadata(problem, *attempt) for attempt in attempts] for problem, attempts in attempted],
    ]


def results(judgement: Judgement) -> list[bool | int]:
    """True for each test that passed; where the program failed, then the code of how."""
    verdict = judgement.verdict
    passed: list[bool | int] = [True] * verdict.tests_passed
    return passed if verdict.passed else [*passed, ERRORS[verdict.status][0]]


def metadata(problem: Problem, answer: Answer, judgement: Judgement) -> str:
    """JSON of the keys their tools know, and of ours: ``status``, ``sample_index``.

    A program's output is not kept: ``output`` holds what the evaluator has to say of it.
    """
    verdict = judgement.verdict
    values: dict[str, Any] = {"status": str(verdict.status), "sample_index": answer.sample_index}
    if verdict.passed:
        return json.dumps({"execution time": verdict.seconds, **values})
    code, message = ERRORS[verdict.status]
    values |= {"error_code": code, "error_message": message, "error": verdict.detail or message}
    if verdict.first_failed is not None:
        test = problem.tests[verdict.first_failed]
        values |= {"inputs": _shown(test.input), "expected": _shown(test.output), "output": verdict.detail}
    return json.dumps(values)


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}...{text[-SHOWN // 2 :]}"


def _date(problem: Problem) -> datetime.datetime:
    """Without a time zone: their tools compare it with days that have none."""
    try:
        return datetime.datetime.fromisoformat(problem.contest_date or "").replace(tzinfo=None)
    except ValueError:
        return NO_DATE


def _write_list(path: Path, values: Iterable[Any]) -> None:
    """A JSON list, an element at a time: all answers as one text would be as large as the log again."""
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "w", encoding="utf-8") as file:
        for place, value in enumerate(values):
            file.write(",\n" if place else "[\n")
            file.write(json.dumps(value))  # not json.dump, which encodes in Python
        file.write("\n]\n")
    os.replace(unfinished, path)
