"""The vLLM engines behind one call, routed by outstanding tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import SchedulingStrategyT

from actors.generator import GeneratorActor, GeneratorSettings, SampleRequest, engine_environment
from actors.routing import LeastBusy
from actors.waiting import gather
from learner.rollout import Completion


class GeneratorPool:
    """vLLM engines."""

    def __init__(
        self, strategies: Sequence[SchedulingStrategyT], cpus: float, concurrency: int, settings: GeneratorSettings
    ) -> None:
        """One engine for each of ``strategies``, which say where Ray puts it."""
        self.settings = settings
        gpus = settings.tensor_parallel if settings.device == "cuda" else 0
        role: Any = ray.remote(GeneratorActor)
        self.actors: list[Any] = [
            role.options(
                num_cpus=cpus,
                num_gpus=gpus,
                scheduling_strategy=strategy,
                max_concurrency=concurrency,
                runtime_env={"env_vars": engine_environment(settings)},
            ).remote()
            for strategy in strategies
        ]
        self.names = [f"generator {index}" for index in range(len(strategies))]
        self.routing = LeastBusy(self.actors)

    async def start(self, deadline_s: float) -> None:
        """Start the engines, all at once; returns when they are ready."""
        # Engines of one seed would draw the same numbers, and so give the same answers to the same prompt.
        seeds = np.random.SeedSequence(self.settings.seed).generate_state(len(self.actors))
        starts = {
            name: actor.start.remote(replace(self.settings, seed=int(seed)))
            for name, actor, seed in zip(self.names, self.actors, seeds, strict=True)
        }
        await gather(starts, "starting the engines", deadline_s)

    async def generate(self, request: SampleRequest) -> Completion:
        """One completion from the engine with the fewest outstanding tokens."""
        return await self.routing.call(request.max_tokens, lambda actor: actor.generate.remote(request))
