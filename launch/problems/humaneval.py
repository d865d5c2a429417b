"""OpenAI's HumanEval (arXiv 2107.03374): its 164 published problems, from the hub or a copy."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from evaluator.inside.published import Published
from evaluator.problem import ProblemError
from launch.problems.evaluation_set import EvaluationSet
from launch.problems.published_tasks import Benchmark, Task, load_tasks
from launch.problems.recorded_calls import parsed
from launch.problems.rows import required

BENCHMARK = Benchmark(
    name="HumanEval",
    repository="openai/openai_humaneval",
    file="openai_humaneval/test-00000-of-00001.parquet",
    problems=164,
)
COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def load_humaneval(local: str | None, strict: bool) -> EvaluationSet:
    """All problems of the published file, in its order; ``local`` is a copy of it, None takes it from the hub.

    Raises BenchmarkError when the file cannot be had or holds no usable problem, and with ``strict`` ProblemError for
    the first bad row.
    """
    return load_tasks(BENCHMARK, local, strict, task)


def task(row: Mapping[str, Any]) -> Task:
    """A row's task. The prompt, which ends in a docstring, is a whole program: what it imports and defines besides the
    function is there for a candidate that leaves it out, as when it completes the prompt. Raises ProblemError."""
    task_id, prompt, entry_point, solution, test = required(row, COLUMNS)
    functions = [node.name for node in parsed(prompt, "prompt").body if isinstance(node, ast.FunctionDef)]
    if entry_point not in functions:
        raise ProblemError(f"entry_point: the prompt defines {', '.join(functions) or 'nothing'}, not {entry_point!r}")
    return Task(
        question_id=task_id,
        question_content=f"Complete the Python function `{entry_point}`:\n\n```python\n{prompt.strip()}\n```",
        starter_code=prompt,
        published=Published(entry_point, prompt + solution, f"{test}\n\ncheck({entry_point})\n"),
        called=("candidate", entry_point),
    )
