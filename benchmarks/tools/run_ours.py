"""This project's evaluator; a child of ``benchmarks.evaluator``.

The request is ``{"workers", "timeout_s", "memory_mb", "adaptive", "problems", "programs": [[question_id, code]]}`` with
``problems`` a path, the result a list of ``{"passed", "tests_run", "verdict"}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.tools.processes import serve
from evaluator import Evaluator, Limits, Problem, ProblemTest, load_problems


@contextmanager
def session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """An evaluator that has judged a few programs, so that all its workers have started."""
    problems = {problem.question_id: problem for problem in load_problems(request["problems"], strict=True).problems}
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
    """The evaluator as in plain scoring, or with the limits that training uses."""
    if adaptive:
        return Evaluator(limits, workers=workers, adaptive_timeout=True)
    return Evaluator(limits, workers=workers)


def warm_up(evaluator: Evaluator) -> None:
    """Keep every worker busy for a moment, without numpy and with it. Raises RuntimeError where that fails."""
    problem = Problem(
        question_id="warm-up",
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=(ProblemTest("", "1\n"),),
        private_tests=(),
    )
    for imports in ("time", "time, numpy"):
        program = f"import {imports}\ntime.sleep(0.2)\nprint(1)\n"
        verdicts = asyncio.run(evaluator.evaluate_many([(problem, program)] * (2 * evaluator.workers)))
        if not all(verdict.passed for verdict in verdicts):
            raise RuntimeError(f"the warm-up failed: {verdicts}")


if __name__ == "__main__":
    serve(session)
