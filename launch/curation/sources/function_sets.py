"""Readers of sets of Python functions: HumanEval, MBPP and MBPP+, and any set with their columns.

Their tests are code. The reference runs with it in a sandbox, and each call that it makes becomes a test
(``launch/problems/recorded_calls.py``), so reading a row takes a fraction of a second.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evaluator.sandbox import SandboxError
from launch.curation.sources.reader import Reader, SourceRow
from launch.problems import humaneval, mbpp
from launch.problems.benchmark_tasks import BenchmarkTask, build_problem
from launch.problems.evaluation_set import BenchmarkError
from launch.problems.recorded_calls import CallRecorder

PLUS_LICENCE = "Apache-2.0"  # of MBPP+, unlike MBPP


@functools.cache
def _get_recorder() -> CallRecorder:
    """Return this process's recorder. Its sandbox starts with the first row, and ends with the process."""
    return CallRecorder()


def _read_task(task: BenchmarkTask) -> SourceRow:
    """Turn a task into a problem. Raises ProblemError, and BenchmarkError if there is no sandbox."""
    try:
        problem, _ = build_problem(task, _get_recorder())
    except SandboxError as error:
        raise BenchmarkError(f"{task.question_id}: cannot run the reference solution in a sandbox: {error}") from error
    return SourceRow(problem=problem, right_programs=[task.published.reference])


def parse_humaneval_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row of HumanEval. Raises ProblemError, and BenchmarkError if there is no sandbox."""
    return _read_task(humaneval.parse_task(row))


def parse_mbpp_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row of MBPP, of any split, or of MBPP+. Raises ProblemError, and BenchmarkError if there is no sandbox."""
    parsed = _read_task(mbpp.parse_any_task(row))
    return replace(parsed, licence=PLUS_LICENCE) if "plus_input" in row else parsed


HUMANEVAL = Reader(
    name="humaneval",
    licence="MIT",
    parse=parse_humaneval_row,
    repository=humaneval.SOURCE.repository,
    files=(humaneval.SOURCE.file,),
)
MBPP = Reader(
    name="mbpp",
    licence="CC-BY-4.0",
    parse=parse_mbpp_row,
    repository=mbpp.SOURCE.repository,
    files=("full/train-*.parquet",),
)
