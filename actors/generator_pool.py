"""The vLLM engines behind one call, routed by outstanding tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import ray

from actors.generator import GeneratorActor, GeneratorSettings, SampleRequest, engine_environment
from actors.routing import LeastBusy
from actors.waiting import gather
from learner.rollout import Completion


class GenerationFailed(RuntimeError):
    """A completion cannot be had: every engine that was asked for it died."""


class GeneratorPool:
    """vLLM engines."""

    def __init__(self, count: int, cpus: float, concurrency: int, settings: GeneratorSettings) -> None:
        self.settings = settings
        gpus = settings.tensor_parallel if settings.device == "cuda" else 0
        role: Any = ray.remote(GeneratorActor).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_concurrency=concurrency,
            runtime_env={"env_vars": engine_environment(settings)},
        )
        self.actors: list[Any] = [role.remote() for _ in range(count)]
        self.names = [f"generator {index}" for index in range(count)]
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
