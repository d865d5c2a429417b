"""The evaluator role: a Ray actor on CPU that judges completions in sandboxes, and the driver's handle of one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import ray

from actors.evaluators.autoscaling import IN_HAND
from evaluator.comparison import Policy
from evaluator.evaluator import Evaluator
from evaluator.extraction import extract_code
from evaluator.problem import Problem
from evaluator.sandbox import Limits
from learner.rollout import Judgement

RESOURCE = "evaluator"
"""The Ray resource of which each actor takes 1: nodes that are to hold evaluators declare how many."""


@dataclass(frozen=True, kw_only=True)
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
        return Judgement(
            verdict=verdict, code=extraction.code, incomplete=extraction.incomplete, seconds=verdict.seconds
        )

    async def ping(self) -> None:
        """Answered while the event loop runs."""

    async def processes(self) -> list[int]:
        """Process id of this actor; its sandboxes end with it."""
        return [os.getpid()]

    async def stop(self) -> None:
        """End the sandboxes."""
        await asyncio.get_running_loop().run_in_executor(None, self.evaluator.close)


class EvaluatorHandle:
    """The driver's handle of one actor. It takes ``cpus`` and one ``evaluator``: pending until a node has them free."""

    def __init__(self, settings: EvaluatorSettings, cpus: float) -> None:
        role: Any = ray.remote(EvaluatorActor).options(
            num_cpus=cpus,
            resources={RESOURCE: 1},
            scheduling_strategy="SPREAD",
            max_concurrency=2 * IN_HAND * settings.workers + 4,  # the pool's calls, twice if cancelled, and pings
        )
        self.actor: Any = role.remote(settings)

    def start(self) -> Awaitable[tuple[str, ...]]:
        """See ``EvaluatorActor.start``."""
        reference: Awaitable[tuple[str, ...]] = self.actor.start.remote()
        return reference

    async def judge(self, problem: Any, text: str) -> Judgement:
        """See ``EvaluatorActor.judge``; ``problem`` is a reference to one. Cancelled, it is dropped from the queue."""
        reference: Any = self.actor.judge.remote(problem, text)
        try:
            judgement: Judgement = await reference
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise
        return judgement

    def ping(self) -> Awaitable[None]:
        """Answered at once by an actor that lives."""
        reference: Awaitable[None] = self.actor.ping.remote()
        return reference

    def stop(self) -> Awaitable[None]:
        """End its sandboxes."""
        reference: Awaitable[None] = self.actor.stop.remote()
        return reference

    def kill(self) -> None:
        """End its process; its sandboxes end with it. No effect on a dead one."""
        ray.kill(self.actor)
