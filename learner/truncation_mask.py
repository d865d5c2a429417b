"""Truncation masks: outputs cut off by the length limit whose advantage becomes 0.

    none         nothing is masked
    failing      reward 0 and |o_i| = L_max                      (DeepCoder's overlong filtering)
    all          |o_i| = L_max                                   (DAPO's overlong filtering)
    conditional  |o_i| = L_max  and  non_incorrect(o_i)  and  not repeat(o_i, m)  and  U(0,1) < rho
                                                                 (arXiv 2603.07777 eq. 2)

A masked output keeps its place in the group's mean and std, and its tokens in the loss's token count.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from learner.rollout import Rollout

MaskKind = Literal["none", "failing", "all", "conditional"]


@dataclass(frozen=True)
class TruncationMask:
    """Which mask is on; ``window`` is m and ``probability`` rho of the conditional one."""

    kind: MaskKind
    window: int
    probability: float


@dataclass(frozen=True)
class MaskDraw:
    """What U(0,1) depends on, so that a resumed or re-sharded run masks the same outputs.

    ``occurrence``: how many groups of the same question came before this one in the step; each draws for itself.
    """

    seed: int
    step: int
    occurrence: int = 0

    def uniform(self, question_id: str, sample_index: int) -> float:
        """U(0,1) of one output."""
        # repr quotes the question's name, so no two outputs share a key whatever their names hold.
        key = repr((self.seed, self.step, question_id, self.occurrence, sample_index)).encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2.0**64


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDecision:
    """Whether a rollout is masked, and the conditional mask's conditions, known whichever mask is on.

    ``eligible``: all of them but the draw.
    """

    truncated: bool
    repeats: bool
    repeats_any_period: bool
    eligible: bool
    masked: bool


def repeats(token_ids: np.ndarray, window: int) -> bool:
    """The last ``window`` tokens [R] equal the ``window`` before them (so any period that divides it is found)."""
    if len(token_ids) < 2 * window:
        return False
    return bool(np.array_equal(token_ids[-window:], token_ids[-2 * window : -window]))


def repeats_any_period(token_ids: np.ndarray, window: int) -> bool:
    """The last 2 x ``window`` tokens [R] repeat with some period of at most ``window``: logged, never decides."""
    tail = token_ids[-2 * window :]
    if len(tail) < 2 * window:
        return False
    content, width = tail.tobytes(), tail.itemsize  # comparing bytes is 20 times as fast as calling numpy so often
    return any(content.startswith(content[period * width :]) for period in range(1, window + 1))


def mask_decision(rollout: Rollout, mask: TruncationMask, draw: MaskDraw) -> MaskDecision:
    """Apply the mask to one rollout.

    Non-incorrect means correct, or incomplete: no complete code block, or the text ends inside an open fence. A
    truncated output with a complete, failing program is incorrect and never masked conditionally.
    """
    completion = rollout.completion
    judgement = rollout.judgement
    repeating = repeats(completion.response_token_ids, mask.window)
    non_incorrect = judgement.verdict.passed or judgement.incomplete
    eligible = rollout.truncated and non_incorrect and not repeating
    if mask.kind == "conditional":
        masked = eligible and draw.uniform(completion.question_id, completion.sample_index) < mask.probability
    elif mask.kind == "failing":
        masked = rollout.truncated and rollout.reward == 0
    else:
        masked = rollout.truncated and mask.kind == "all"
    any_period = repeats_any_period(completion.response_token_ids, mask.window)
    return MaskDecision(
        truncated=rollout.truncated, repeats=repeating, repeats_any_period=any_period, eligible=eligible, masked=masked
    )
