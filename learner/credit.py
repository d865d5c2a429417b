"""From judged groups to a train batch: shaped rewards, advantages over each group, truncation mask, mini-batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluator.errors import RunFailed
from learner.advantage import AdvantageKind, group_advantages
from learner.overlong_penalty import overlong_penalty
from learner.rollout import Completion, Group, Rollout, TrainBatch, TrainSequence
from learner.truncation_mask import MaskDecision, MaskDraw, TruncationMask, mask_decision


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Credited:
    """A rollout with the credit it gets.

    ``shaped_reward``: the reward and the overlong penalty; ``advantage`` after masking. Both None when it is excluded.
    """

    rollout: Rollout
    shaped_reward: float | None
    advantage: float | None
    mask: MaskDecision


@dataclass(frozen=True, eq=False)
class CreditedGroup:
    """A group with its rollouts' credit; not ``trained`` when dynamic sampling left it out."""

    group: Group
    credited: tuple[Credited, ...]
    trained: bool = True


class EmptyBatch(RunFailed, RuntimeError):
    """No completion of a step can be trained on."""


@dataclass(frozen=True, kw_only=True)
class CreditSettings:
    """How rewards become advantages.

    ``overlong_penalty``: most that a reward falls by as a response nears ``max_response_tokens`` (0: no penalty), over
    the last ``overlong_cache`` tokens (L_cache). ``seed``: of the truncation mask's draws.
    """

    advantage: AdvantageKind
    overlong_penalty: float
    overlong_cache: int
    max_response_tokens: int
    mask: TruncationMask
    seed: int


def credit_step(
    groups: Sequence[Group], trained: Sequence[bool], settings: CreditSettings, step: int
) -> list[CreditedGroup]:
    """Credit for all groups of a step; a question that comes again draws its masks anew."""
    seen: Counter[str] = Counter()
    credited = []
    for group, kept in zip(groups, trained, strict=True):
        one = assign_credit(group, settings, step, seen[group.question_id])
        credited.append(replace(one, trained=kept))
        seen[group.question_id] += 1
    return credited


def assign_credit(group: Group, settings: CreditSettings, step: int, occurrence: int = 0) -> CreditedGroup:
    """Advantages over the whole group, masked outputs included in its mean and std; masked ones then get 0.

    ``occurrence``: how many groups of the same question came before this one in the step.
    """
    shaped = [_shaped_reward(rollout, settings) for rollout in group.rollouts]
    advantages = group_advantages(shaped, settings.advantage)
    draw = MaskDraw(settings.seed, step, occurrence)
    credited = []
    for rollout, reward, advantage in zip(group.rollouts, shaped, advantages, strict=True):
        mask = mask_decision(rollout, settings.mask, draw)
        credited.append(
            Credited(
                rollout=rollout,
                shaped_reward=reward,
                advantage=0.0 if mask.masked and advantage is not None else advantage,
                mask=mask,
            )
        )
    return CreditedGroup(group, tuple(credited))


def _shaped_reward(rollout: Rollout, settings: CreditSettings) -> float | None:
    if rollout.reward is None:
        return None
    weight = settings.overlong_penalty
    length = len(rollout.completion.response_token_ids)
    if weight == 0:
        return rollout.reward
    return rollout.reward + weight * overlong_penalty(length, settings.max_response_tokens, settings.overlong_cache)


def unjudged_sequences(completions: Sequence[Completion]) -> list[TrainSequence]:
    """What ``Learner.prepare`` wants of completions whose credit is not known yet."""
    return [_sequence(completion, 0.0, place) for place, completion in enumerate(completions)]


def train_batch(
    groups: Sequence[CreditedGroup], mini_batch_size: int, prepared: Sequence[Completion] = ()
) -> TrainBatch:
    """Mini-batches of ``mini_batch_size`` trained groups each; excluded completions are left out.

    ``prepared``: the completions of ``unjudged_sequences``, in its order.

    When dynamic sampling left out every group, the batch is empty: the step makes no update. Raises EmptyBatch when
    every completion is excluded.
    """
    places = {id(completion): place for place, completion in enumerate(prepared)}
    minis = []
    trained = [group for group in groups if group.trained]
    for start in range(0, len(trained), mini_batch_size):
        credited = [item for group in trained[start : start + mini_batch_size] for item in group.credited]
        minis.append(
            tuple(
                _sequence(item.rollout.completion, item.advantage, places.get(id(item.rollout.completion)))
                for item in credited
                if item.advantage is not None
            )
        )
    if all(item.advantage is None for group in groups for item in group.credited):
        raise EmptyBatch("the evaluator failed on every completion of the step (sandbox_error): look at its log")
    return TrainBatch(tuple(mini for mini in minis if mini))


def _sequence(completion: Completion, advantage: float, place: int | None) -> TrainSequence:
    return TrainSequence(
        token_ids=np.concatenate([completion.prompt_token_ids, completion.response_token_ids]).astype(np.int64),
        prompt_length=len(completion.prompt_token_ids),
        sampler_logprobs=completion.sampler_logprobs,
        temperature=completion.temperature,
        advantage=advantage,
        name=completion.name,
        place=place,
    )
