"""The actors of a training run: reserved, started and stopped together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.evaluators.pool import EvaluatorPool
from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.lifecycle import stop_all
from actors.weights.transfer import TransferSettings, open_transfer
from conf.schema import Config
from launch.cluster.pools import evaluator_pool, generator_pool, learner_group
from launch.cluster.reservation import Reservation
from launch.evaluation.evaluation import in_flight, in_judgement
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.training.policy import Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """Generators, evaluators and learner of one run, in their room on the cluster."""

    generators: GeneratorPool
    evaluators: EvaluatorPool
    learner: LearnerGroup
    reservation: Reservation

    async def start(self, config: Config, directory: RunDirectory, display: Display) -> Weights:
        """Start all at once, the learner from the directory's checkpoint, and connect learner and engines."""
        weights: asyncio.Future[Weights] = asyncio.get_running_loop().create_future()

        async def admit(name: str, generator: Any) -> None:
            await (await weights).admit(name, generator)

        checkpoint = str(directory.checkpoint.absolute()) if directory.checkpoint else None
        display.phase("starting learner and engines")
        missing, *_ = await asyncio.gather(
            self.evaluators.start(config.generator.start_deadline_s),
            self.generators.start(config.generator.start_deadline_s, admit),
            self.learner.start(config.learner.start_deadline_s, checkpoint),
        )
        if missing:
            display.say(f"programs are fenced less than they could be: their host refuses {', '.join(missing)}")
        wanted = config.weight_transfer
        transfer = await open_transfer(
            self.learner.actors,
            self.generators.live,
            wanted.backend,
            (config.learner.device, config.generator.device),
            TransferSettings(
                dtype=config.model.dtype,
                bucket_mb=wanted.bucket_mb,
                checksum=wanted.checksum,
                deadline_s=wanted.deadline_s,
            ),
        )
        weights.set_result(Weights(self.learner, transfer, self.generators, display, directory.first_step))
        return weights.result()

    async def stop(self) -> None:
        """End all actors, whatever they do, and give their room back."""
        self.generators.close()
        await self.evaluators.stop()
        stop_all([*self.generators.actors, *self.evaluators.actors, *self.learner.actors])
        self.reservation.release()


def make_team(config: Config, model: Path, reservation: Reservation) -> Team:
    """Actors that are not started yet."""
    longest = max(config.generator.max_response_tokens, config.answer_tokens)
    tokens = config.generator.max_prompt_tokens + longest
    return Team(
        generators=generator_pool(config, model, concurrency(config), tokens, reservation),
        evaluators=evaluator_pool(config),
        learner=learner_group(config, model, reservation),
        reservation=reservation,
    )


def concurrency(config: Config) -> int:
    """Calls in flight per actor at most: all steps under way, or what an evaluation has under way."""
    algorithm = config.algorithm
    groups = algorithm.train_batch_size * (algorithm.max_staleness + 1)
    return max(groups * algorithm.group_size, in_flight(config), in_judgement(config)) + 8
