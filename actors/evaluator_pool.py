"""The evaluator actors behind one call, routed by load."""

from __future__ import annotations

from typing import Any

import ray

from actors.evaluator import EvaluatorActor, EvaluatorSettings
from actors.routing import LeastBusy
from actors.waiting import gather
from evaluator.problem import Problem
from learner.rollout import Judgement


class EvaluatorPool:
    """Sandboxes."""

    def __init__(self, count: int, cpus: float, settings: EvaluatorSettings, concurrency: int) -> None:
        role: Any = ray.remote(EvaluatorActor).options(num_cpus=cpus, max_concurrency=concurrency)
        self.actors: list[Any] = [role.remote(settings) for _ in range(count)]
        self.names = [f"evaluator {index}" for index in range(count)]
        self.routing = LeastBusy(self.actors)

    async def start(self, deadline_s: float) -> list[str]:
        """Warm a sandbox on each; returns the names of the fences that one of their hosts lacks."""
        starts = {name: actor.start.remote() for name, actor in zip(self.names, self.actors, strict=True)}
        missing = await gather(starts, "starting the evaluators", deadline_s)
        return sorted({name for names in missing for name in names})

    async def judge(self, problem: Problem, text: str) -> Judgement:
        """The verdict on the program in ``text``."""
        return await self.routing.call(1, lambda actor: actor.judge.remote(problem, text))
