"""The driver's handle of one generator: calls are cancelled with their caller, and its death is one error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import SchedulingStrategyT

from actors.generators.actor import EngineLost, GeneratorActor, GeneratorSettings, SampleRequest, engine_environment
from actors.lifecycle import MemberLost, one_line
from learner.rollout import Completion

T = TypeVar("T")
CONTROL_CALLS = 8  # watching, weights and stopping get through where as many requests as allowed are under way


class RemoteGenerator:
    """One actor with its engine. Every call raises MemberLost when either is dead, and is cancelled with its caller."""

    def __init__(self, name: str, actor: Any, settings: GeneratorSettings) -> None:
        self.name = name
        self.actor = actor
        self.settings = settings

    async def start(self) -> None:
        """Start the engine. Raises RayTaskError with what vLLM says when it cannot."""
        await self._result(self.actor.start.remote(self.settings))

    async def generate(self, request: SampleRequest) -> Completion:
        """One completion."""
        return await self._result(self.actor.generate.remote(request))

    async def sample_in_order(
        self, requests: Sequence[SampleRequest], seed: int
    ) -> AsyncIterator[tuple[int, Completion]]:
        """See GeneratorActor.sample_in_order."""
        stream = self.actor.sample_in_order.options(num_returns="streaming").remote(requests, seed)
        try:
            async for reference in stream:
                yield await self._result(reference)
        except RayActorError as error:
            raise MemberLost(self.name, one_line(error)) from error
        finally:
            ray.cancel(stream)

    async def watch(self) -> None:
        """Raises MemberLost when the actor or its engine dies; does not come back before."""
        await self._result(self.actor.watch.remote())

    def kill(self) -> None:
        """End the actor at once; its engine ends with it."""
        ray.kill(self.actor)

    async def _result(self, reference: ray.ObjectRef) -> Any:
        try:
            return await reference
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise
        except (RayActorError, EngineLost) as error:
            raise MemberLost(self.name, one_line(error)) from error


def remote_generators(
    strategies: Sequence[SchedulingStrategyT], cpus: float, concurrency: int, settings: GeneratorSettings
) -> Callable[[str, int, int], RemoteGenerator]:
    """Makes the actor of (name, index in the pool, how often it was restarted).

    ``strategies`` say where Ray puts that of each index; ``concurrency``: requests at once.
    """
    role: Any = ray.remote(GeneratorActor)

    def create(name: str, index: int, restart: int) -> RemoteGenerator:
        # Engines of one seed would draw the same numbers, and so give the same answers to the same prompt.
        seed = int(np.random.SeedSequence([settings.seed, index, restart]).generate_state(1)[0])
        actor = role.options(
            num_cpus=cpus,
            num_gpus=settings.tensor_parallel if settings.device == "cuda" else 0,
            max_concurrency=concurrency + CONTROL_CALLS,
            runtime_env={"env_vars": engine_environment(settings)},
            scheduling_strategy=strategies[index],
        ).remote()
        return RemoteGenerator(name, actor, replace(settings, seed=seed))

    return create
