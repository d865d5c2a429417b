"""Child process of ``benchmarks.evaluator``: this project's evaluator.

The request is ``{"workers", "timeout_s", "memory_mb", "adaptive", "problems", "programs": [[question_id, code]]}``;
``problems`` is the path of a file. The result is a list of ``{"passed", "tests_run", "verdict"}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.tools.labelled_programs import load_problems_by_id
from benchmarks.tools.problems import build_problem
from benchmarks.tools.processes import serve
from evaluator import Evaluator, Limits, ProblemTest


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Start an evaluator and all its workers; the work is one evaluation of all programs."""
    problems = load_problems_by_id(request["problems"])
    items = [(problems[question_id], code) for question_id, code in request["programs"]]
    limits = Limits(wall_s=request["timeout_s"], cpu_s=request["timeout_s"], memory_mb=request["memory_mb"])
    with build_evaluator(limits, request["workers"], request["adaptive"]) as evaluator:
        warm_up(evaluator)

        def work() -> list[dict[str, Any]]:
            verdicts = asyncio.run(evaluator.evaluate_many(items))
            return [
                {
                    "passed": verdict.passed,
                    "tests_run": verdict.tests_run,
                    "verdict": f"{verdict.status}: {verdict.detail}" if verdict.detail else str(verdict.status),
                }
                for verdict in verdicts
            ]

        yield work


def build_evaluator(limits: Limits, workers: int, adaptive: bool) -> Evaluator:
    """Build an evaluator with fixed time limits as in plain scoring, or with adaptive ones as in training."""
    if adaptive:
        return Evaluator(limits, workers=workers, adaptive_timeout=True)
    return Evaluator(limits, workers=workers)


def warm_up(evaluator: Evaluator) -> None:
    """Run a short program on every worker, without and with numpy. Raises RuntimeError if one does not pass."""
    problem = build_problem("warm-up", ProblemTest("", "1\n"))
    for imports in ("time", "time, numpy"):
        program = f"import {imports}\ntime.sleep(0.2)\nprint(1)\n"
        verdicts = asyncio.run(evaluator.evaluate_many([(problem, program)] * (2 * evaluator.workers)))
        if not all(verdict.passed for verdict in verdicts):
            raise RuntimeError(f"a warm-up program did not pass; verdicts: {verdicts}")


if __name__ == "__main__":
    serve(open_session)
