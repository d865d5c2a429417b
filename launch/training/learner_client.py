"""The driver's only access to the learner: prepare, update, publish, save.

The learner holds one policy version at a time. A lock keeps its weights from being sent while an update changes them:

    train_step ─► prepare, update, publish ─┐
    restarted engine ─► admit ──────────────┴─► wait for the lock ─► learner ranks ─► (publish, admit) engines
    checkpoint ─► save ─► learner ranks, whose calls run in the order in which they were made
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.weights.transfer import Publication, WeightTransfer, WeightTransferError
from launch.records.display import Display
from learner.learner import UpdateResult
from learner.rollout import TrainBatch, TrainSequence


class LearnerClient:
    """Updates the learner's weights and publishes them to the engines; ``version`` is that of the learner's weights."""

    def __init__(
        self,
        *,
        learner: LearnerGroup,
        transfer: WeightTransfer,
        generators: GeneratorPool,
        display: Display,
        version: int,
        deadline_s: float,
    ) -> None:
        """Args:
        learner: started learner ranks.
        transfer: connected weight transfer.
        generators: engines that receive the weights.
        display: where dropped and restarted engines are reported.
        version: policy version of the learner's weights.
        deadline_s: seconds for each call of the learner.
        """
        self.learner = learner
        self.transfer = transfer
        self.generators = generators
        self.display = display
        self.version = version
        self.deadline_s = deadline_s
        self.weights_lock = asyncio.Lock()

    @property
    def ranks(self) -> list[str]:
        """Names of the learner's ranks."""
        return self.learner.names

    async def prepare(self, sequences: Sequence[TrainSequence]) -> float:
        """Compute old log-probs for the next update; return the seconds that the learner took."""
        async with self.weights_lock:
            return await self.learner.prepare(sequences, self.deadline_s)

    async def update(self, batch: TrainBatch) -> UpdateResult:
        """Train one step and increase ``version`` by 1."""
        async with self.weights_lock:
            result = await self.learner.update(batch, self.deadline_s)
            self.version += 1
        return result

    async def publish(self) -> Publication:
        """Send the learner's version to all engines; replace those that do not load it in time.

        If none loads it, the first engine that is added gets it before it serves.
        """
        async with self.weights_lock:
            try:
                publication = await self.transfer.publish(self.version)
            except WeightTransferError as error:
                publication = Publication(
                    version=self.version,
                    bytes=0,
                    write_seconds=0.0,
                    load_seconds=0.0,
                    dropped=dict.fromkeys(self.generators.live, str(error)),
                )
        for name, reason in publication.dropped.items():
            self.display.warn(f"{name} did not load weights version {self.version} and is restarted: {reason}")
            self.generators.replace(name, reason)
        return publication

    async def save(self, path: Path, driver_files: Mapping[str, bytes]) -> None:
        """Write a checkpoint to ``path``, which must be absolute, with the driver's files by name."""
        await self.learner.save(str(path), driver_files, self.deadline_s)

    async def admit(self, name: str, generator: Any) -> None:
        """Send the learner's version to a restarted engine, which serves nothing before it has it."""
        async with self.weights_lock:
            await self.transfer.connect({name: generator})
            await self.transfer.publish(self.version, [name])
        self.display.print_line(f"{name} was restarted and serves weights version {self.version}")
