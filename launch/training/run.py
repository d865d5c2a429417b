"""A started training run: its actors, its problems, its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conf.schema import AlgorithmConfig, Config
from launch.problems.prompts import PromptedProblem
from launch.records.run_records import RunRecords
from launch.training.driver_state import DriverState
from launch.training.learner_client import LearnerClient
from launch.training.problem_order import ProblemOrder
from launch.training.rollouts import RolloutPlan, Rollouts
from launch.training.sampling import Sampler
from launch.training.temperature_stages import TemperatureStages, first_temperature, measure_grid
from learner.credit import CreditSettings
from learner.temperature_rules import Measurement
from learner.truncation_mask import TruncationMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The parts of a started run.

    Attributes:
        sampler: engines and evaluators, and how they are asked.
        learner: the learner, and the weights that engines get from it.
        training: problems to train on.
        held_out: problems to evaluate on.
        end_token_ids: end-of-sequence tokens, which do not count in the diversity D.
        resumed: driver state of the checkpoint that the run continues from.
    """

    config: Config
    sampler: Sampler
    learner: LearnerClient
    training: Sequence[PromptedProblem]
    held_out: Sequence[PromptedProblem]
    end_token_ids: frozenset[int]
    records: RunRecords
    resumed: DriverState | None

    async def temperature_stages(self) -> TemperatureStages:
        """Sampling temperature of the first step: from the checkpoint, else configured or calibrated."""
        if self.resumed is not None:
            state = self.resumed.temperature
            decisions = self.resumed.decisions
            self.records.directory.restore_decisions(decisions)
        else:
            state, decisions = await first_temperature(
                self.config, self.training, self.sampler, self.end_token_ids, self.records
            )

        async def measure(step: int) -> list[Measurement]:
            calibration = await measure_grid(
                self.config, self.training, self.sampler, self.end_token_ids, self.records, step=step
            )
            return calibration.measurements

        return TemperatureStages(self.config.temperature, state, self.records, measure=measure, decisions=decisions)

    def rollouts(self) -> Rollouts:
        """Rollouts of the run, empty or from the checkpoint. Raises CheckpointError."""
        algorithm = self.config.algorithm
        rollouts = Rollouts(
            plan=RolloutPlan(
                steps=self.config.run.steps,
                batch_size=algorithm.train_batch_size,
                group_size=algorithm.group_size,
                max_staleness=algorithm.max_staleness,
                max_rounds=algorithm.dynamic_sampling_rounds,
            ),
            problems=self.training,
            order=ProblemOrder(len(self.training), self.config.run.seed),
            sampler=self.sampler,
            display=self.records.display,
            first_step=self.records.directory.first_step,
        )
        if self.resumed is not None:
            rollouts.restore(self.resumed.buffer)
        return rollouts


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
