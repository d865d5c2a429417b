"""Outcome of a training step: the credit of its groups, and everything that its metrics are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from actors.waiting import run_in_thread
from actors.weights.transfer import Publication
from launch.records.timeline import Laps
from launch.training.old_logprobs import PreparedStep
from launch.training.rollouts import SampledStep
from launch.training.run import Run, credit_settings
from learner.credit import CreditedGroup, assign_credit, build_train_batch
from learner.diversity import distinct_ngram_ratio
from learner.learner import UpdateMetrics
from learner.rollout import CompletionId, TrainBatch, TrainSequence
from learner.temperature_rules import TemperatureState


@dataclass(frozen=True)
class StepCredit:
    """Credit of a step's groups in their order, the diversity D of each (None: too short), and the train batch."""

    groups: list[CreditedGroup]
    diversity: list[float | None]
    batch: TrainBatch


async def credit_step(
    run: Run, step: int, sampled: SampledStep, sequences: Mapping[CompletionId, TrainSequence]
) -> StepCredit:
    """Turn a step's rewards into advantages, masks and mini-batches. Raises NoTrainableCompletion.

    It runs in a thread: meanwhile the event loop hands completions of later steps to the evaluators.

    Args:
        run: the run.
        step: training step.
        sampled: judged groups of the step.
        sequences: sequences of the step's completions that exist already.
    """
    config = run.config
    settings = credit_settings(config.algorithm, config.generator.max_response_tokens, config.run.seed)

    def credit() -> StepCredit:
        groups = assign_credit(sampled.groups, sampled.trained, settings, step)
        diversity = [distinct_ngram_ratio(group.responses, run.end_token_ids) for group in sampled.groups]
        return StepCredit(groups, diversity, build_train_batch(groups, config.algorithm.mini_batch_size, sequences))

    return await run_in_thread(credit, f"the credit of step {step}", config.learner.deadline_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOutcome:
    """Everything that a step's metrics and records are computed from.

    Attributes:
        temperature: state with the step's diversity in it.
        prepared: the step's sequences, and the learner's time for the old log-probs computed before the update.
        learner_logprobs: the learner's old log-probs [R] of the completions that the update trained on.
        laps: times of the step's parts on the driver.
    """

    sampled: SampledStep
    credit: StepCredit
    temperature: TemperatureState
    prepared: PreparedStep
    update: UpdateMetrics
    learner_logprobs: Mapping[CompletionId, np.ndarray]
    publication: Publication
    laps: Laps

    @property
    def version(self) -> int:
        """Policy version that was trained: the one before the published version."""
        return self.publication.version - 1
