"""Loader for benchmarks that are published as tasks with a reference solution and test code.

    rows ──► BenchmarkTask ──► CallRecorder: calls of the tests and of extra inputs ──► Problem ──► EvaluationSet

A task is a bad row if none of its calls can be turned into a test. If only some of them are dropped, it is kept, with a
remark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluator.inside.published import Published
from evaluator.problem import Problem, ProblemError, ProblemTest, parse_problem, to_row
from evaluator.sandbox import SandboxError
from launch.problems.evaluation_set import BadRow, BenchmarkError, EvaluationSet, LoadSummary
from launch.problems.published_files import download_from_hub, parse_rows
from launch.problems.recorded_calls import CallRecorder, RecordedCalls, make_checker


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkSource:
    """Place where a benchmark is published.

    Attributes:
        name: the benchmark's name, for messages.
        repository: data set on the hub, as "owner/name".
        file: path of the file in the repository.
        problem_count: number of problems in the file that are for evaluation.
    """

    name: str
    repository: str
    file: str
    problem_count: int


@dataclass(frozen=True)
class ExtraInputs:
    """Inputs of a task beyond those in its test code.

    Attributes:
        texts: tagged JSON texts, each a list of arguments.
        contract: source of a function that raises for invalid arguments, as for ``CallRecorder.record``.
        dropped: for each input that could not be converted, its JSON text and the reason.
    """

    texts: tuple[str, ...] = ()
    contract: str = ""
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkTask:
    """The task of one row of a benchmark.

    Attributes:
        question_id: id of the problem.
        question_content: statement of the problem.
        starter_code: code that the candidate's program starts from.
        published: the reference solution and its tests.
        call_names: the names by which the tests call the function.
        shows_tests: True if the statement shows the tests, so that they become public tests.
        checker: ``metadata.checker`` to use instead of the one that ``make_checker`` derives from the tests.
        make_extra_inputs: makes inputs beyond those in the tests, given the recorded calls of the tests.
    """

    question_id: str
    question_content: str
    starter_code: str
    published: Published
    call_names: tuple[str, ...]
    shows_tests: bool = False
    checker: Mapping[str, Any] | None = None
    make_extra_inputs: Callable[[Sequence[ProblemTest]], ExtraInputs] | None = None


ParseTask = Callable[[Mapping[str, Any]], BenchmarkTask | None]
"""Parse a row; return None for a row of another split. Raises ProblemError."""


def load_published_tasks(
    source: BenchmarkSource, local_copy: str | None, strict: bool, parse_task: ParseTask
) -> EvaluationSet:
    """Load the problems of a benchmark, in the order of its file.

    Args:
        source: place where the benchmark is published.
        local_copy: path of a copy of the published file; None downloads it from the hub.
        strict: raise for the first bad row instead of counting it.
        parse_task: parser of the benchmark's rows.

    Raises:
        BenchmarkError: the file is not available or has no usable problem, or there is no sandbox.
        ProblemError: a row is bad, and ``strict`` is set.
    """
    path = _locate_file(source, local_copy)
    problems: dict[str, Problem] = {}
    rejected: list[BadRow] = []
    remarks: list[str] = []
    other_splits = 0
    with CallRecorder() as recorder:
        for row in parse_rows(path, parse_task):
            result: tuple[Problem, list[str]] | BadRow
            if isinstance(row, BadRow):
                result = row
            else:
                number, task = row
                if task is None:
                    other_splits += 1
                    continue
                try:
                    result = _build_problem(number, task, path, recorder, problems)
                except SandboxError as error:
                    raise BenchmarkError(f"{path}: cannot run the reference solutions in a sandbox: {error}") from error
            if isinstance(result, BadRow):
                if strict:
                    raise ProblemError(str(result))
                rejected.append(result)
            else:
                problem, problem_remarks = result
                problems[problem.question_id] = problem
                remarks += problem_remarks
    if other_splits:
        remarks.insert(0, f"{path.name}: {other_splits} rows dropped (not in the test split)")
    published = source.problem_count if local_copy is None else None
    summary = LoadSummary(
        selected=len(problems), outside_window=0, undated=0, rejected=tuple(rejected), published=published
    )
    if not problems:
        first = f"; first bad row: {rejected[0]}" if rejected else ""
        raise BenchmarkError(f"{path}: no usable problem of {source.name}: {summary}{first}")
    return EvaluationSet(problems=tuple(problems.values()), summary=summary, window=None, remarks=tuple(remarks))


def _locate_file(source: BenchmarkSource, local_copy: str | None) -> Path:
    """Return the path of the published file: the local copy, or the file in the hub's cache. Raises BenchmarkError."""
    if local_copy is None:
        return download_from_hub(source.repository, source.file, "the file")
    path = Path(local_copy)
    if not path.is_file():
        raise BenchmarkError(f"dataset.held_out_path={local_copy}: no such file")
    return path


def _build_problem(
    number: int, task: BenchmarkTask, path: Path, recorder: CallRecorder, known: Mapping[str, Problem]
) -> tuple[Problem, list[str]] | BadRow:
    """Turn a task into a problem.

    Args:
        number: 1-based number of the task's row.
        task: the task.
        path: file of the row.
        recorder: recorder of the reference's calls.
        known: the problems before this one, by id.

    Returns:
        The problem and remarks about dropped calls, or a BadRow if the task has no usable test.

    Raises:
        SandboxError: the sandbox failed.
    """
    try:
        if task.question_id in known:
            raise ProblemError(f"task_id: duplicate of an earlier {task.question_id!r}")
        return build_problem(task, recorder)
    except ProblemError as error:
        return BadRow(path.name, number, str(error))


def build_problem(task: BenchmarkTask, recorder: CallRecorder) -> tuple[Problem, list[str]]:
    """Turn a task into a problem. Returns it with remarks about dropped calls.

    Raises:
        ProblemError: the task has no usable test.
        SandboxError: the sandbox failed.
    """
    checker = task.checker or make_checker(task.published, task.call_names)
    allow_truth_value = checker is not None and checker["type"] == "custom"
    calls = recorder.record(task.published, allow_truth_value=allow_truth_value)
    calls = _record_extra_inputs(task, calls, recorder, allow_truth_value)
    problem = _make_problem(task, calls, checker)
    dropped = calls.dropped
    if not dropped:
        return problem, []
    return problem, [
        f"{task.question_id}: {len(dropped)} of {calls.call_count} calls dropped (cannot be tests), first: {dropped[0]}"
    ]


def _record_extra_inputs(
    task: BenchmarkTask, base: RecordedCalls, recorder: CallRecorder, allow_truth_value: bool
) -> RecordedCalls:
    """Return the calls of the tests and of the task's extra inputs.

    If the reference cannot be run with the extra inputs, return ``base``, the calls of the tests alone, and count the
    extra inputs as dropped. Raises SandboxError.
    """
    if task.make_extra_inputs is None:
        return base
    inputs = task.make_extra_inputs(base.tests)
    try:
        calls = recorder.record(task.published, inputs.texts, inputs.contract, allow_truth_value)
        return RecordedCalls(calls.tests, (*calls.dropped, *inputs.dropped))
    except ProblemError as error:
        return RecordedCalls(base.tests, (*base.dropped, *(f"{text[:80]}: {error}" for text in inputs.texts)))


def _make_problem(task: BenchmarkTask, calls: RecordedCalls, checker: Mapping[str, Any] | None) -> Problem:
    """Build the problem.

    Raises ProblemError if there is no test, or if the problem is not valid in the format of problem files, through
    which it is passed once.
    """
    if not calls.tests:
        first = f", the first: {calls.dropped[0]}" if calls.dropped else ""
        raise ProblemError(
            f"no call in the published tests could be turned into a test; {len(calls.dropped)} dropped{first}"
        )
    problem = Problem(
        question_id=task.question_id,
        question_title=task.question_id,
        question_content=task.question_content,
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code=task.starter_code,
        public_tests=calls.tests if task.shows_tests else (),
        private_tests=() if task.shows_tests else calls.tests,
        func_name=task.published.entry_point,
        checker=checker,
        values="python",
    )
    return parse_problem(to_row(problem))
