"""Driver's handle to one generator: cancels calls with their caller, and reports any death as MemberFailed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import SchedulingStrategyT

from actors.generators.actor import EngineFailed, GeneratorActor, GeneratorSettings, SampleRequest, engine_environment
from actors.lifecycle import MemberFailed
from actors.log_files import describe_death, get_log_path, raise_actor_failed
from learner.rollout import Completion

T = TypeVar("T")
CONTROL_CALLS = 8
"""Concurrent calls beyond the requests, so that watching, weight loading and stopping get through to a full actor."""


class RemoteGenerator:
    """Handle to an actor with its engine.

    A call raises MemberFailed when the actor or its engine is dead. When its caller is cancelled, so is the call.
    """

    def __init__(self, name: str, actor: Any, settings: GeneratorSettings, log_path: Path | None = None) -> None:
        self.name = name
        self.actor = actor
        self.settings = settings
        self.log_path = log_path

    async def start(self) -> None:
        """Start the engine. Raises ActorFailed, with the last lines of its log, if the engine cannot start."""
        try:
            await self.actor.start.remote(self.settings)
        except RayError as error:
            raise_actor_failed(self.name, error, self.log_path)

    async def generate(self, request: SampleRequest) -> Completion:
        """Sample one completion."""
        return await self._await_result(self.actor.generate.remote(request))

    async def sample_in_order(
        self, requests: Sequence[SampleRequest], seed: int
    ) -> AsyncIterator[tuple[int, Completion]]:
        """Call ``GeneratorActor.sample_in_order`` and yield its results as they finish."""
        stream = self.actor.sample_in_order.options(num_returns="streaming").remote(requests, seed)
        try:
            async for reference in stream:
                yield await self._await_result(reference)
        except RayActorError as error:
            raise MemberFailed(self.name, describe_death(error, self.log_path)) from error
        finally:
            ray.cancel(stream)

    async def watch(self) -> None:
        """Wait until the actor or its engine dies, then raise MemberFailed; never returns."""
        await self._await_result(self.actor.watch.remote())

    def kill(self) -> None:
        """End the actor at once; its engine ends with it."""
        ray.kill(self.actor)

    async def _await_result(self, reference: ray.ObjectRef) -> Any:
        try:
            return await reference
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise
        except (RayActorError, EngineFailed) as error:
            raise MemberFailed(self.name, describe_death(error, self.log_path)) from error


def make_generator_factory(
    strategies: Sequence[SchedulingStrategyT],
    cpus: float,
    concurrency: int,
    settings: GeneratorSettings,
    logs: Path | None = None,
) -> Callable[[str, int, int], RemoteGenerator]:
    """Return a factory of generators: ``create(name, index, restart)`` creates the actor and returns its handle.

    ``index`` is the generator's index in the pool, ``restart`` the number of times it was restarted before.

    Args:
        strategies: Ray scheduling strategy of each index, which places the actor on a node.
        cpus: CPUs that each actor reserves.
        concurrency: largest number of requests in flight per actor.
        settings: settings of the engines; each actor gets its own seed derived from ``settings.seed``.
        logs: folder of the actors' log files; None to leave their output to Ray.
    """
    role: Any = ray.remote(GeneratorActor)

    def create(name: str, index: int, restart: int) -> RemoteGenerator:
        # Engines with equal seeds would draw the same numbers and give the same answers to the same prompt.
        seed = int(np.random.SeedSequence([settings.seed, index, restart]).generate_state(1)[0])
        actor = role.options(
            num_cpus=cpus,
            num_gpus=settings.tensor_parallel if settings.device == "cuda" else 0,
            max_concurrency=concurrency + CONTROL_CALLS,
            runtime_env={"env_vars": engine_environment(settings)},
            scheduling_strategy=strategies[index],
        ).remote(get_log_path(logs, name))
        return RemoteGenerator(name, actor, replace(settings, seed=seed), get_log_path(logs, name))

    return create
