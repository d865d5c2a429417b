"""Benchmarks published as tasks with a reference solution and test code: from rows to an EvaluationSet.

    rows ──► Task ──► Recorder: the tests' calls (then further inputs) ──► Problem ──► EvaluationSet

A task without a single call that can be a test is a bad row; one that loses some of them is kept, with a remark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError, XetDownloadError

from evaluator.inside.published import Published
from evaluator.problem import Problem, ProblemError, ProblemTest, parse_problem, to_row
from evaluator.sandbox import SandboxError
from launch.problems.evaluation_set import BadRow, BenchmarkError, EvaluationSet, Summary
from launch.problems.recorded_calls import Recorded, Recorder, checker
from launch.problems.rows import ENDINGS, read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """Where a benchmark is published: ``file`` of the hub's data set ``repository``, with so many problems."""

    name: str
    repository: str
    file: str
    problems: int


@dataclass(frozen=True)
class Inputs:
    """Further inputs of a task: tagged JSON texts of lists of arguments. ``contract``: see ``Recorder.record``."""

    texts: tuple[str, ...] = ()
    contract: str = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One row's task. ``called``: the names by which the tests call the function.

    ``shown``: the statement shows the tests. ``checker``: a ``metadata.checker`` for results, in place of the one that
    the tests make necessary. ``further`` makes inputs beyond the tests' own out of the calls that these made.
    """

    question_id: str
    question_content: str
    starter_code: str
    published: Published
    called: tuple[str, ...]
    shown: bool = False
    checker: Mapping[str, Any] | None = None
    further: Callable[[Sequence[ProblemTest]], Inputs] | None = None


def load_tasks(
    benchmark: Benchmark, local: str | None, strict: bool, read: Callable[[Mapping[str, Any]], Task | None]
) -> EvaluationSet:
    """The problems of a benchmark, in its file's order. ``read`` gives a row's task, None for one of another split.

    Raises BenchmarkError and, with ``strict``, ProblemError as LiveCodeBench's loader does.
    """
    path = _file(benchmark, local)
    problems: dict[str, Problem] = {}
    rejected: list[BadRow] = []
    remarks: list[str] = []
    elsewhere = 0
    with Recorder() as recorder:
        for row in _tasks(path, read):
            if row is None:
                elsewhere += 1
                continue
            try:
                found = row if isinstance(row, BadRow) else _problem(*row, path, recorder, problems)
            except SandboxError as error:
                raise BenchmarkError(f"{path}: no sandbox to run its reference solutions in: {error}") from error
            if isinstance(found, BadRow):
                if strict:
                    raise ProblemError(str(found))
                rejected.append(found)
            else:
                problem, remark = found
                problems[problem.question_id] = problem
                remarks += remark
    if elsewhere:
        remarks.insert(0, f"{path.name}: {elsewhere} rows are not of the split that is evaluated on")
    published = benchmark.problems if local is None else None
    summary = Summary(
        selected=len(problems), outside_window=0, undated=0, rejected=tuple(rejected), published=published
    )
    if not problems:
        first = f"; the first: {rejected[0]}" if rejected else ""
        raise BenchmarkError(f"{path}: no usable problem of {benchmark.name}: {summary}{first}")
    return EvaluationSet(problems=tuple(problems.values()), summary=summary, window=None, remarks=tuple(remarks))


def _file(benchmark: Benchmark, local: str | None) -> Path:
    """The published file, in the hub's own cache or where ``local`` says. Raises BenchmarkError."""
    if local is not None:
        path = Path(local)
        if not path.is_file():
            raise BenchmarkError(f"dataset.held_out_path={local}: no such file")
        if not path.name.endswith(ENDINGS):
            raise BenchmarkError(f"dataset.held_out_path={local}: cannot be read: not one of {', '.join(ENDINGS)}")
        return path
    try:
        return Path(hf_hub_download(benchmark.repository, benchmark.file, repo_type="dataset"))
    except (OSError, HTTPError, XetDownloadError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BenchmarkError(
            f"the hub does not give {benchmark.file} of {benchmark.repository} ({reason}). Download it where there is "
            "a network and set dataset.held_out_path to it"
        ) from error


def _tasks(path: Path, read: Callable[[Mapping[str, Any]], Task | None]) -> Iterator[tuple[int, Task] | BadRow | None]:
    for row in read_rows(path):
        if isinstance(row, BadRow):
            yield row
            continue
        number, columns = row
        try:
            task = read(columns)
            yield None if task is None else (number, task)
        except ProblemError as error:
            yield BadRow(path.name, number, str(error))


def _problem(
    number: int, task: Task, path: Path, recorder: Recorder, known: Mapping[str, Problem]
) -> tuple[Problem, list[str]] | BadRow:
    """The task's problem and what there is to remark, or why there is none. Raises SandboxError."""
    try:
        if task.question_id in known:
            raise ProblemError(f"task_id: {task.question_id!r} came before")
        judged_by = task.checker or checker(task.published, task.called)
        truth = judged_by is not None and judged_by["type"] == "custom"
        tests = recorder.record(task.published, truth=truth)
        tests = _further(task, tests, recorder, truth)
        problem = _as_problem(task, tests, judged_by)
    except ProblemError as error:
        return BadRow(path.name, number, str(error))
    left_out = tests.left_out
    if not left_out:
        return problem, []
    total = len(problem.tests) + len(left_out)
    return problem, [f"{task.question_id}: {len(left_out)} of {total} calls cannot be tests, such as {left_out[0]}"]


def _further(task: Task, base: Recorded, recorder: Recorder, truth: bool) -> Recorded:
    """The calls of the tests and those with further inputs; the tests' own where these cannot be run. Raises
    SandboxError."""
    if task.further is None:
        return base
    inputs = task.further(base.tests)
    try:
        recorded = recorder.record(task.published, inputs.texts, inputs.contract, truth)
        return Recorded(recorded.tests, (*recorded.left_out, *inputs.left_out))
    except ProblemError as error:
        return Recorded(base.tests, (*base.left_out, *(f"{text[:80]}: {error}" for text in inputs.texts)))


def _as_problem(task: Task, recorded: Recorded, judged_by: Mapping[str, Any] | None) -> Problem:
    """Raises ProblemError, also for what no file of problems could hold."""
    if not recorded.tests:
        first = f", such as {recorded.left_out[0]}" if recorded.left_out else ""
        raise ProblemError(f"no call of its tests can be a test: {len(recorded.left_out)} cannot{first}")
    problem = Problem(
        question_id=task.question_id,
        question_title=task.question_id,
        question_content=task.question_content,
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code=task.starter_code,
        public_tests=recorded.tests if task.shown else (),
        private_tests=() if task.shown else recorded.tests,
        func_name=task.published.entry_point,
        checker=judged_by,
        values="python",
    )
    return parse_problem(to_row(problem))
