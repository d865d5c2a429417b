"""Group of the learner's ranks: every call goes to all of them, because ranks compute collectively.

The driver awaits a method of ``LearnerGroup``; the group calls the method of the same name on each ``LearnerActor`` and
waits for all ranks, until the deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import SchedulingStrategyT

from actors.learner import CONTROL, LearnerActor
from actors.log_files import get_log_path, raise_actor_failed
from actors.waiting import gather
from learner.learner import LearnerSettings, UpdateResult
from learner.rollout import TrainBatch, TrainSequence

T = TypeVar("T")


class LearnerGroup:
    """FSDP2 ranks, called together.

    ``deadline_s`` of the methods bounds the whole call; they raise DeadlineExceeded with the ranks that are pending, or
    the first error of a rank: ActorFailed unless a UserError or RunFailed caused it.
    """

    def __init__(
        self,
        strategies: Sequence[SchedulingStrategyT],
        cpus: float,
        threads: int,
        settings: LearnerSettings,
        logs: Path | None = None,
    ) -> None:
        """Create one actor per rank.

        Args:
            strategies: Ray scheduling strategy of each rank, which places it on a node.
            cpus: CPUs that each rank reserves.
            threads: PyTorch threads of each rank.
            settings: settings of the learner.
            logs: folder of the ranks' log files; None to leave their output to Ray.
        """
        self.settings = settings
        self.names = [f"learner rank {rank}" for rank in range(len(strategies))]
        self.log_paths = [get_log_path(logs, name) for name in self.names]
        environment = {
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
        }
        if settings.device == "cuda":
            # Micro-batches have many different sizes; blocks of fixed sizes would leave holes that nothing fits.
            environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
        remote: Any = ray.remote  # its type has no concurrency groups
        role = remote(concurrency_groups={CONTROL: 1})(LearnerActor)
        self.actors: list[Any] = [
            role.options(
                num_cpus=cpus,
                num_gpus=1 if settings.device == "cuda" else 0,
                scheduling_strategy=strategy,
                runtime_env={"env_vars": environment},
            ).remote(rank, len(strategies), threads, self.log_paths[rank])
            for rank, strategy in enumerate(strategies)
        ]

    async def start(self, deadline_s: float, checkpoint: str | None) -> None:
        """Load the model on all ranks, from the directory ``checkpoint`` if given; return when all are ready."""
        address_reference = self.actors[0].find_free_address.remote()
        (address,) = await gather({self.names[0]: address_reference}, "finding the learner's address", deadline_s)
        await self._call_all(
            "starting the learner",
            deadline_s,
            lambda rank: rank.start.remote(self.settings, address, deadline_s, checkpoint),
        )

    async def prepare(self, sequences: Sequence[TrainSequence], deadline_s: float) -> float:
        """Compute and cache the old log-probs of a step's completions; return the seconds rank 0 took."""
        shared = ray.put(sequences)
        return (await self._call_all("old log-probs", deadline_s, lambda rank: rank.prepare.remote(shared)))[0]

    async def update(self, batch: TrainBatch, deadline_s: float) -> UpdateResult:
        """Run one training step on all ranks; return the result of rank 0, whose metrics equal those of the others."""
        shared = ray.put(batch)
        return (await self._call_all("the update", deadline_s, lambda rank: rank.update.remote(shared)))[0]

    async def compute_logprobs(self, sequences: Sequence[TrainSequence], deadline_s: float) -> list[np.ndarray]:
        """Return the log-probs [R_i] float32 of each sequence's response tokens under the current policy."""
        shared = ray.put(sequences)
        return (await self._call_all("log-probs", deadline_s, lambda rank: rank.compute_logprobs.remote(shared)))[0]

    async def save(self, path: str, driver_files: Mapping[str, bytes], deadline_s: float) -> None:
        """Write a checkpoint to ``path``; return when it is complete.

        ``driver_files``: contents by file name, stored inside the checkpoint.
        """
        shared = ray.put(driver_files)
        await self._call_all(f"checkpoint {path}", deadline_s, lambda rank: rank.save.remote(path, shared))

    async def _call_all(
        self, operation: str, deadline_s: float, call: Callable[[ActorHandle], Awaitable[T]]
    ) -> list[T]:
        calls = {
            name: self._call_rank(rank, call(actor))
            for rank, (name, actor) in enumerate(zip(self.names, self.actors, strict=True))
        }
        return await gather(calls, operation, deadline_s)

    async def _call_rank(self, rank: int, call: Awaitable[T]) -> T:
        try:
            return await call
        except RayError as error:
            raise_actor_failed(self.names[rank], error, self.log_paths[rank])
