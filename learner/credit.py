"""Credit: turn judged groups into a train batch, by shaped rewards, group advantages and the truncation mask.

completions ─► build_train_sequences ──────────────────────────────────┐
groups ─────► assign_credit (reward, advantage, mask) ─► build_train_batch ─► TrainBatch
"""

from __future__ import annotations

import itertools
import math
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
    """A rollout with its shaped reward, its advantage and the decision of the truncation mask.

    Attributes:
        shaped_reward: reward plus overlong penalty; None when the completion is excluded.
        unmasked_advantage: advantage before masking; None when the completion is excluded.
        advantage: advantage after masking (0 when masked); None when the completion is excluded.
    """

    rollout: Rollout
    shaped_reward: float | None
    unmasked_advantage: float | None
    advantage: float | None
    mask: MaskDecision


@dataclass(frozen=True, eq=False)
class CreditedGroup:
    """A group with the credit of its rollouts, in sample order; ``trained`` is False if dynamic sampling dropped it."""

    group: Group
    rollouts: tuple[CreditedRollout, ...]
    trained: bool = True


class NoTrainableCompletion(RunFailed, RuntimeError):
    """A step has no completion to train on."""


@dataclass(frozen=True, kw_only=True)
class CreditSettings:
    """Settings for turning rewards into advantages.

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

    Masked outputs count in the group's mean and standard deviation; their advantage is set to 0 afterwards.

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
        masked_advantage = 0.0 if advantage is not None and mask.masked else advantage
        credited.append(
            CreditedRollout(
                rollout=rollout,
                shaped_reward=reward,
                unmasked_advantage=advantage,
                advantage=masked_advantage,
                mask=mask,
            )
        )
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


def build_train_sequences(completions: Sequence[Completion]) -> dict[CompletionId, TrainSequence]:
    """Map each completion's id to its train sequence, in the given order; advantages are 0 until credit is assigned."""
    return {completion.id: _sequence(completion) for completion in completions}


def build_train_batch(
    groups: Sequence[CreditedGroup], mini_batch_size: int, sequences: Mapping[CompletionId, TrainSequence]
) -> TrainBatch:
    """Split the trained groups into mini-batches, without excluded completions.

    The batch is empty when dynamic sampling dropped every group: the step makes no update.

    Args:
        groups: all credited groups of the step.
        mini_batch_size: largest number of groups per mini-batch; the groups are split evenly.
        sequences: train sequences by completion id; missing ones (of further sampling rounds) are built.

    Raises NoTrainableCompletion when there is no group, or every completion is excluded.
    """
    if not groups:
        raise NoTrainableCompletion(
            "no group of the step was completed and judged in time: see the messages about dropped groups; raise "
            "generator.deadline_s if they missed the deadline"
        )
    if all(item.advantage is None for group in groups for item in group.rollouts):
        raise NoTrainableCompletion(
            "the evaluator failed on every completion of the step (sandbox_error); first detail: "
            f"{groups[0].rollouts[0].rollout.judgement.verdict.detail}"
        )
    mini_batches = []
    for part in split_evenly([group for group in groups if group.trained], mini_batch_size):
        items = [item for group in part for item in group.rollouts]
        mini_batches.append(
            tuple(
                replace(_sequence_of(item.rollout.completion, sequences), advantage=item.advantage)
                for item in items
                if item.advantage is not None
            )
        )
    return TrainBatch(tuple(mini_batch for mini_batch in mini_batches if mini_batch))


def split_evenly(groups: Sequence[CreditedGroup], size: int) -> list[Sequence[CreditedGroup]]:
    """Split groups into as few parts of at most ``size`` as possible, whose sizes differ by at most one.

    A last part of one group among parts of 32 would make an update as large as theirs from a 32nd of the data.
    """
    if not groups:
        return []
    count = math.ceil(len(groups) / size)
    smaller, larger_parts = divmod(len(groups), count)
    bounds = itertools.accumulate([smaller + (index < larger_parts) for index in range(count)], initial=0)
    return [groups[start:end] for start, end in itertools.pairwise(bounds)]


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
