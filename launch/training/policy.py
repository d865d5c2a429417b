"""The policy's weights: one version at a time in the learner, and which of the engines serve it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.weights.transfer import Publication, WeightTransfer, WeightTransferError
from launch.records.display import Display
from learner.learner import UpdateMetrics
from learner.rollout import TrainBatch, TrainSequence


class Weights:
    """Updates the learner and publishes what came of it. ``version`` is that of the learner's weights.

    An engine that was restarted is given them whenever the learner is not changing them.
    """

    def __init__(
        self, learner: LearnerGroup, transfer: WeightTransfer, generators: GeneratorPool, display: Display, version: int
    ) -> None:
        self.learner = learner
        self.transfer = transfer
        self.generators = generators
        self.display = display
        self.version = version
        self.steady = asyncio.Lock()

    async def prepare(self, sequences: Sequence[TrainSequence], deadline_s: float) -> float:
        """Old log-probs of a step's completions, while their verdicts come; the learner's seconds."""
        async with self.steady:
            return await self.learner.prepare(sequences, deadline_s)

    async def update(self, batch: TrainBatch, deadline_s: float) -> UpdateMetrics:
        """One training step; the learner then has the next version."""
        async with self.steady:
            metrics = await self.learner.update(batch, deadline_s)
            self.version += 1
        return metrics

    async def publish(self) -> Publication:
        """Give the learner's version to all engines; those that do not take it in time are replaced.

        Where none takes it, the first that is added will be given it before it serves.
        """
        async with self.steady:
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
            self.display.say(f"{name} did not take weights version {self.version} and is restarted: {reason}")
            self.generators.replace(name, reason)
        return publication

    async def admit(self, name: str, generator: Any) -> None:
        """Give the learner's version to an engine that was restarted: it serves nothing before it has it."""
        async with self.steady:
            await self.transfer.connect({name: generator})
            await self.transfer.publish(self.version, [name])
        self.display.say(f"{name} was restarted and serves weights version {self.version}")
