"""The actors of a training run: reserved, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.evaluators.pool import EvaluatorPool
from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.lifecycle import stop_all
from actors.weights.transfer import TransferSettings, open_transfer
from conf.schema import Config
from evaluator.sandbox import describe_missing_fences
from launch.cluster.pools import make_evaluator_pool, make_generator_pool, make_learner_group
from launch.cluster.reservation import Reservation
from launch.evaluation.evaluation import compute_max_in_flight, compute_max_judging
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.training.learner_client import LearnerClient


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """Generators, evaluators and learner of a run, in their reservation on the cluster."""

    generators: GeneratorPool
    evaluators: EvaluatorPool
    learner: LearnerGroup
    reservation: Reservation

    async def start(self, config: Config, directory: RunDirectory, display: Display) -> LearnerClient:
        """Start all actors at once, the learner from the directory's checkpoint, and connect learner and engines."""
        client: asyncio.Future[LearnerClient] = asyncio.get_running_loop().create_future()

        async def admit(name: str, generator: Any) -> None:
            await (await client).admit(name, generator)

        checkpoint = str(directory.checkpoint.absolute()) if directory.checkpoint else None
        display.set_phase("starting learner and engines")
        missing, *_ = await asyncio.gather(
            self.evaluators.start(config.generator.start_deadline_s),
            self.generators.start(config.generator.start_deadline_s, admit),
            self.learner.start(config.learner.start_deadline_s, checkpoint),
        )
        if missing:
            display.warn(describe_missing_fences(missing))
        settings = config.weight_transfer
        transfer = await open_transfer(
            self.learner.actors,
            self.generators.live,
            settings.backend,
            (config.learner.device, config.generator.device),
            TransferSettings(
                dtype=config.model.dtype,
                bucket_mb=settings.bucket_mb,
                checksum=settings.checksum,
                deadline_s=settings.deadline_s,
            ),
        )
        client.set_result(
            LearnerClient(
                learner=self.learner,
                transfer=transfer,
                generators=self.generators,
                display=display,
                version=directory.first_step,
                deadline_s=config.learner.deadline_s,
            )
        )
        return client.result()

    async def stop(self) -> None:
        """End all actors, whatever state they are in, and release their reservation."""
        self.generators.close()
        await self.evaluators.stop()
        stop_all([*self.generators.actors, *self.evaluators.actors, *self.learner.actors])
        self.reservation.release()


def make_team(config: Config, model: Path, reservation: Reservation, held_out: Sequence[PromptedProblem]) -> Team:
    """Create the actors of a run without starting them; ``held_out`` are the problems that it is evaluated on."""
    longest_held_out = max((len(prompted.token_ids) for prompted in held_out), default=0)
    tokens = max(
        config.generator.max_prompt_tokens + config.generator.max_response_tokens,
        longest_held_out + config.answer_tokens,
    )
    return Team(
        generators=make_generator_pool(config, model, concurrency(config), tokens, reservation),
        evaluators=make_evaluator_pool(config),
        learner=make_learner_group(config, model, reservation),
        reservation=reservation,
    )


def concurrency(config: Config) -> int:
    """Largest number of calls in flight per actor: those of all steps in progress, or of an evaluation."""
    algorithm = config.algorithm
    groups = algorithm.train_batch_size * (algorithm.max_staleness + 1)
    return max(groups * algorithm.group_size, compute_max_in_flight(config), compute_max_judging(config)) + 8
