"""The evaluator role: judges completions in sandboxes, several at a time, in a Ray actor on CPU resources."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from evaluator.comparison import Policy
from evaluator.evaluator import Evaluator
from evaluator.extraction import extract_code
from evaluator.problem import Problem
from evaluator.sandbox import Limits
from learner.rollout import Judgement


@dataclass(frozen=True)
class EvaluatorSettings:
    """What an evaluator is started with; see ``evaluator.Evaluator``."""

    limits: Limits
    workers: int
    policy: Policy
    adaptive_timeout: bool
    strict: bool


class EvaluatorActor:
    """Extracts the program from a completion's text and judges it.

    Ray runs ``judge`` concurrently on one event loop; at most ``workers`` programs run at once, the rest queue here.
    """

    def __init__(self, settings: EvaluatorSettings) -> None:
        self.evaluator = Evaluator(
            settings.limits,
            settings.workers,
            policy=settings.policy,
            strict=settings.strict,
            adaptive_timeout=settings.adaptive_timeout,
        )

    async def start(self) -> tuple[str, ...]:
        """Warm a sandbox; names of the fences that this host lacks."""
        return await asyncio.get_running_loop().run_in_executor(None, lambda: self.evaluator.missing)

    async def judge(self, problem: Problem, text: str) -> Judgement:
        """Judge the program in ``text``; a sandbox that fails twice gives status ``sandbox_error``."""
        extraction = extract_code(text, problem.func_name)
        verdict = await asyncio.wrap_future(self.evaluator.submit(problem, extraction.code))
        return Judgement(verdict, extraction.code, extraction.incomplete, verdict.seconds)

    async def ping(self) -> None:
        """Answered while the event loop runs."""

    async def processes(self) -> list[int]:
        """Process id of this actor; its sandboxes end with it."""
        return [os.getpid()]

    async def stop(self) -> None:
        """End the sandboxes."""
        await asyncio.get_running_loop().run_in_executor(None, self.evaluator.close)
