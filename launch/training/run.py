"""A run that has started: its actors, its data, its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from actors.evaluators.pool import EvaluatorPool
from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from conf.schema import AlgorithmConfig, Config
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.records.timeline import Lap, Timeline
from launch.training.driver_state import DriverState
from launch.training.policy import Weights
from launch.training.problem_order import ProblemOrder
from launch.training.rollouts import RolloutPlan, Rollouts, SampledStep
from launch.training.sampling import Sampler
from launch.training.temperature_stages import Temperature, first_temperature
from learner.credit import CreditedGroup, CreditSettings, credit_step
from learner.learner import UpdateMetrics
from learner.truncation_mask import TruncationMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The parts of a run that has started: its actors, its data, its directory."""

    config: Config
    generators: GeneratorPool
    evaluators: EvaluatorPool
    learner: LearnerGroup
    weights: Weights
    training: Sequence[PromptedProblem]
    held_out: Sequence[PromptedProblem]
    directory: RunDirectory
    display: Display
    tokenizer: Any
    resumed: DriverState | None
    """Of the checkpoint that the run goes on from."""
    timeline: Timeline
    writer: SummaryWriter | None
    """TensorBoard's, where it is wanted."""

    @property
    def sampler(self) -> Sampler:
        generator = self.config.generator
        seed = self.config.run.seed if self.config.run.deterministic else None
        return Sampler(
            generators=self.generators,
            evaluators=self.evaluators,
            max_tokens=generator.max_response_tokens,
            deadline_s=generator.deadline_s,
            seed=seed,
        )

    @property
    def ends(self) -> set[int]:
        """The end-of-sequence tokens, which diversity leaves out."""
        return {self.tokenizer.eos_token_id}

    async def temperature(self) -> Temperature:
        """As the checkpoint says, else as configured or calibrated."""
        config = self.config
        directory = self.directory
        display = self.display
        if self.resumed is not None:
            state = self.resumed.temperature
        else:
            state = await first_temperature(
                config=config,
                training=self.training,
                sampler=self.sampler,
                ends=self.ends,
                directory=directory,
                display=display,
            )
        return Temperature(config, state, directory, display)

    def rollouts(self) -> Rollouts:
        """Begun, or as the checkpoint says."""
        config = self.config
        algorithm = self.config.algorithm
        first = self.directory.first_step
        plan = RolloutPlan(
            steps=config.run.steps,
            batch_size=algorithm.train_batch_size,
            group_size=algorithm.group_size,
            max_staleness=algorithm.max_staleness,
            most_rounds=algorithm.dynamic_sampling_rounds,
        )
        order = ProblemOrder(len(self.training), config.run.seed)
        rollouts = Rollouts(
            plan=plan, problems=self.training, order=order, sampler=self.sampler, display=self.display, first_step=first
        )
        if self.resumed is not None:
            rollouts.restore(self.resumed.buffer)
        return rollouts

    def record(self, row: Mapping[str, float]) -> None:
        """A row of the metrics, and the timeline so far."""
        self.directory.append_metrics(row)
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(name, value, int(row["step"]))
        self.timeline.flush()

    def credit(self, sampled: SampledStep, step: int) -> list[CreditedGroup]:
        config = self.config
        settings = credit_settings(config.algorithm, config.generator.max_response_tokens, config.run.seed)
        return credit_step(sampled.groups, sampled.trained, settings, step)

    def draw_actors(
        self, step: int, prepared: tuple[Lap, float], updated: tuple[Lap, UpdateMetrics], publish: Lap
    ) -> None:
        """The tracks of the actors in the timeline: the driver's are drawn by ``Laps``.

        ``prepared``, ``updated``: the driver's laps, and what the learner says of its own time in them.
        """
        timeline = self.timeline
        (preparing, seconds) = prepared
        (updating, update) = updated
        for rank in self.learner.names:
            timeline.span(rank, "old log-probs", preparing.ended - seconds, preparing.ended, step=step)
            timeline.span(rank, "update", updating.ended - update.update_seconds, updating.ended, step=step)
            timeline.span(rank, "publish", publish.started, publish.ended, step=step)
        for generator in self.generators.live:
            timeline.span(f"{generator} weights", "load", publish.started, publish.ended, step=step)
        timeline.members(self.generators.activity.take(), "generate", step)
        timeline.members(self.evaluators.activity.take(), "evaluate", step)


def credit_settings(algorithm: AlgorithmConfig, max_response_tokens: int, seed: int) -> CreditSettings:
    """Settings of ``learner.credit`` for responses of at most ``max_response_tokens`` tokens."""
    return CreditSettings(
        advantage=algorithm.advantage,
        overlong_penalty=algorithm.overlong_penalty,
        overlong_cache=round(algorithm.overlong_cache * max_response_tokens),
        max_response_tokens=max_response_tokens,
        mask=TruncationMask(algorithm.truncation_mask, algorithm.repeat_window, algorithm.mask_probability),
        seed=seed,
    )
