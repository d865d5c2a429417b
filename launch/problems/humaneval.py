"""Loader for OpenAI's HumanEval (arXiv 2107.03374): 164 problems, from the hub or a local copy."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from evaluator.inside.published import Published
from evaluator.problem import ProblemError
from launch.problems.benchmark_tasks import BenchmarkSource, BenchmarkTask, load_published_tasks
from launch.problems.evaluation_set import EvaluationSet
from launch.problems.published_files import require_texts
from launch.problems.recorded_calls import parse_python

SOURCE = BenchmarkSource(
    name="HumanEval",
    repository="openai/openai_humaneval",
    file="openai_humaneval/test-00000-of-00001.parquet",
    problem_count=164,
)
COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def load_humaneval(local_copy: str | None, strict: bool) -> EvaluationSet:
    """Load all problems of the published file, in its order.

    ``local_copy`` is the path of a copy of the file; None downloads it from the hub.

    Raises:
        BenchmarkError: the file is not available or has no usable problem.
        ProblemError: a row is bad, and ``strict`` is set.
    """
    return load_published_tasks(SOURCE, local_copy, strict, parse_task)


def parse_task(row: Mapping[str, Any]) -> BenchmarkTask:
    """Parse a row. Raises ProblemError.

    The prompt ends in the function's docstring, so it is a complete program and serves as starter code: its imports and
    helper functions are then defined for a candidate that does not repeat them, as they are if it completes the prompt.
    """
    task_id, prompt, entry_point, solution, test = require_texts(row, COLUMNS)
    functions = [node.name for node in parse_python(prompt, "prompt").body if isinstance(node, ast.FunctionDef)]
    if entry_point not in functions:
        raise ProblemError(f"entry_point: the prompt defines {', '.join(functions) or 'nothing'}, not {entry_point!r}")
    return BenchmarkTask(
        question_id=task_id,
        question_content=f"Complete the Python function `{entry_point}`:\n\n```python\n{prompt.strip()}\n```",
        starter_code=prompt,
        published=Published(entry_point, prompt + solution, f"{test}\n\ncheck({entry_point})\n"),
        call_names=("candidate", entry_point),
    )
