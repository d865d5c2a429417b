"""The learner's ranks in step: every call goes to all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import SchedulingStrategyT

from actors.learner import LearnerActor
from actors.waiting import gather
from learner.learner import LearnerSettings, UpdateMetrics
from learner.rollout import TrainBatch, TrainSequence

T = TypeVar("T")


class LearnerGroup:
    """FSDP2 ranks; every call goes to all of them."""

    def __init__(
        self,
        strategies: Sequence[SchedulingStrategyT],
        cpus: float,
        threads: int,
        settings: LearnerSettings,
    ) -> None:
        """One rank for each of ``strategies``, which say where Ray puts it."""
        self.settings = settings
        environment = {
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
        }
        role: Any = ray.remote(LearnerActor)
        self.actors: list[Any] = [
            role.options(
                num_cpus=cpus,
                num_gpus=1 if settings.device == "cuda" else 0,
                scheduling_strategy=strategy,
                runtime_env={"env_vars": environment},
            ).remote(rank, len(strategies), threads)
            for rank, strategy in enumerate(strategies)
        ]
        self.names = [f"learner rank {rank}" for rank in range(len(strategies))]

    async def start(self, deadline_s: float, checkpoint: str | None) -> None:
        """Load the model on all ranks, from ``checkpoint`` if given; returns when they are ready."""
        found = self.actors[0].address.remote()
        (address,) = await gather({self.names[0]: found}, "the learner's address", deadline_s)
        await self._on_all(
            "starting the learner",
            deadline_s,
            lambda rank: rank.start.remote(self.settings, address, deadline_s, checkpoint),
        )

    async def prepare(self, sequences: Sequence[TrainSequence], deadline_s: float) -> float:
        """Old log-probs of a step's completions, for its update; the seconds they took on the first rank."""
        shared = ray.put(sequences)
        return (await self._on_all("old log-probs", deadline_s, lambda rank: rank.prepare.remote(shared)))[0]

    async def update(self, batch: TrainBatch, deadline_s: float) -> UpdateMetrics:
        """One training step on all ranks; the metrics are the same on each, so the first's are returned."""
        shared = ray.put(batch)
        return (await self._on_all("the update", deadline_s, lambda rank: rank.update.remote(shared)))[0]

    async def logprobs(self, sequences: Sequence[TrainSequence], deadline_s: float) -> list[np.ndarray]:
        """Log-probs [R_i] of the sequences' response tokens under the present policy."""
        shared = ray.put(sequences)
        return (await self._on_all("log-probs", deadline_s, lambda rank: rank.logprobs.remote(shared)))[0]

    async def save(self, path: str, driver_files: Mapping[str, bytes], deadline_s: float) -> None:
        """Write a checkpoint with the driver's files, by name, in it; returns when it is complete."""
        shared = ray.put(driver_files)
        await self._on_all(f"checkpoint {path}", deadline_s, lambda rank: rank.save.remote(path, shared))

    async def _on_all(self, what: str, deadline_s: float, call: Callable[[ActorHandle], Awaitable[T]]) -> list[T]:
        calls = {name: call(actor) for name, actor in zip(self.names, self.actors, strict=True)}
        return await gather(calls, what, deadline_s)
