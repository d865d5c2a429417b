"""Credit: from judged groups to a train batch, by shaped rewards, group advantages and the truncation mask.

completions ─► train_sequences ──────────────────────────────────┐
groups ─────► assign_credit (reward, advantage, mask) ─► train_batch ─► TrainBatch
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluator.errors import RunFailed
from learner.advantage import AdvantageKind, group_advantages
from learner.overlong_penalty import overlong_penalty
from learner.rollout import Completion, CompletionId, Group, Rollout, TrainBatch, TrainSequence
from learner.truncation_mask import MaskDecision, MaskDraw, TruncationMask, decide_mask


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class CreditedRollout:
    """A rollout with its credit.

    Attributes:
        shaped_reward: reward plus overlong penalty; None when the completion is excluded.
        advantage: advantage after masking (0 when masked); None when the completion is excluded.
    """

    rollout: Rollout
    shaped_reward: float | None
    advantage: float | None
    mask: MaskDecision


@dataclass(frozen=True, eq=False)
class CreditedGroup:
    """A group with the credit of its rollouts, in sample order; ``trained`` is False if dynamic sampling dropped it."""

    group: Group
    rollouts: tuple[CreditedRollout, ...]
    trained: bool = True


class EmptyBatch(RunFailed, RuntimeError):
    """A step has no completion to train on."""


@dataclass(frozen=True, kw_only=True)
class CreditSettings:
    """Settings of the way from rewards to advantages.

    Attributes:
        overlong_penalty: largest penalty, reached at ``max_response_tokens``; 0 for no penalty.
        overlong_cache: number of tokens before the limit over which the penalty grows (L_cache).
        seed: seed of the truncation mask's random draws.
    """

    advantage: AdvantageKind
    overlong_penalty: float
    overlong_cache: int
    max_response_tokens: int
    mask: TruncationMask
    seed: int


def assign_credit(
    groups: Sequence[Group], trained: Sequence[bool], settings: CreditSettings, step: int
) -> list[CreditedGroup]:
    """Assign credit to all groups of a step, in their order.

    Args:
        groups: judged groups.
        trained: per group, False if dynamic sampling dropped it.
        settings: settings of reward shaping, advantage and mask.
        step: training step, on which the mask's random draws depend.
    """
    occurrences: Counter[str] = Counter()
    credited = []
    for group, is_trained in zip(groups, trained, strict=True):
        credited_group = assign_group_credit(group, settings, step, occurrences[group.question_id])
        credited.append(replace(credited_group, trained=is_trained))
        occurrences[group.question_id] += 1
    return credited


def assign_group_credit(group: Group, settings: CreditSettings, step: int, occurrence: int = 0) -> CreditedGroup:
    """Assign credit to a group (arXiv 2603.07777 eq. 1 and 2).

    Masked outputs count in the group's mean and standard deviation; then their advantage becomes 0.

    Args:
        group: a judged group.
        settings: settings of reward shaping, advantage and mask.
        step: training step, on which the mask's random draws depend.
        occurrence: number of earlier groups of the same question in the step, so that each draws its own mask.
    """
    shaped_rewards = [_shaped_reward(rollout, settings) for rollout in group.rollouts]
    advantages = group_advantages(shaped_rewards, settings.advantage)
    draw = MaskDraw(settings.seed, step, occurrence)
    credited = []
    for rollout, reward, advantage in zip(group.rollouts, shaped_rewards, advantages, strict=True):
        mask = decide_mask(rollout, settings.mask, draw)
        if advantage is not None and mask.masked:
            advantage = 0.0
        credited.append(CreditedRollout(rollout=rollout, shaped_reward=reward, advantage=advantage, mask=mask))
    return CreditedGroup(group, tuple(credited))


def _shaped_reward(rollout: Rollout, settings: CreditSettings) -> float | None:
    """Reward plus overlong penalty; None when the completion is excluded."""
    if rollout.reward is None:
        return None
    weight = settings.overlong_penalty
    if weight == 0:
        return rollout.reward
    length = len(rollout.completion.response_token_ids)
    return rollout.reward + weight * overlong_penalty(length, settings.max_response_tokens, settings.overlong_cache)


def train_sequences(completions: Sequence[Completion]) -> dict[CompletionId, TrainSequence]:
    """Sequences of ``completions`` by identity, in their order, with advantage 0 until their groups are credited."""
    return {completion.id: _sequence(completion) for completion in completions}


def train_batch(
    groups: Sequence[CreditedGroup], mini_batch_size: int, sequences: Mapping[CompletionId, TrainSequence]
) -> TrainBatch:
    """Split the trained groups into mini-batches, without excluded completions.

    The batch is empty when dynamic sampling dropped every group: the step makes no update.

    Args:
        groups: all credited groups of the step.
        mini_batch_size: groups per mini-batch.
        sequences: sequences of the step that exist already; those of further sampling rounds are added here.

    Raises EmptyBatch when there is no group, or every completion is excluded.
    """
    if not groups:
        raise EmptyBatch(
            "no group of the step was completed and judged in time: see the messages about dropped groups; raise "
            "generator.deadline_s if they missed the deadline"
        )
    if all(item.advantage is None for group in groups for item in group.rollouts):
        raise EmptyBatch(
            "the evaluator failed on every completion of the step (sandbox_error): see the evaluators' log"
        )
    trained = [group for group in groups if group.trained]
    mini_batches = []
    for start in range(0, len(trained), mini_batch_size):
        items = [item for group in trained[start : start + mini_batch_size] for item in group.rollouts]
        mini_batches.append(
            tuple(
                replace(_sequence_of(item.rollout.completion, sequences), advantage=item.advantage)
                for item in items
                if item.advantage is not None
            )
        )
    return TrainBatch(tuple(mini_batch for mini_batch in mini_batches if mini_batch))


def _sequence_of(completion: Completion, sequences: Mapping[CompletionId, TrainSequence]) -> TrainSequence:
    return sequences[completion.id] if completion.id in sequences else _sequence(completion)


def _sequence(completion: Completion) -> TrainSequence:
    return TrainSequence(
        token_ids=np.concatenate([completion.prompt_token_ids, completion.response_token_ids]).astype(np.int64),
        prompt_length=len(completion.prompt_token_ids),
        sampler_logprobs=completion.sampler_logprobs,
        temperature=completion.temperature,
        name=completion.name,
        id=completion.id,
    )
