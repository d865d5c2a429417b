"""One evaluator actor on the cluster, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import ray

from actors.evaluators.actor import EvaluatorActor, EvaluatorSettings
from actors.evaluators.autoscaling import IN_HAND
from learner.rollout import Judgement

RESOURCE = "evaluator"
"""The Ray resource of which each actor takes 1: nodes that are to hold evaluators declare how many."""


class EvaluatorHandle:
    """Starts an actor that takes ``cpus`` and one ``evaluator``; it is pending while no node has them free."""

    def __init__(self, settings: EvaluatorSettings, cpus: float) -> None:
        role: Any = ray.remote(EvaluatorActor).options(
            num_cpus=cpus,
            resources={RESOURCE: 1},
            scheduling_strategy="SPREAD",
            max_concurrency=2 * IN_HAND * settings.workers + 4,  # what the pool gives it, again if cancelled, and pings
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
        """End its process; its sandboxes end with it. Without effect on a dead one."""
        ray.kill(self.actor)
