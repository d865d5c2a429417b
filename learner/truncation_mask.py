"""Truncation masks: set the advantage of outputs cut off by the length limit to 0.

    none         masks nothing
    failing      a test failed and |o_i| = L_max                    (DeepCoder's overlong filtering)
    all          |o_i| = L_max                                   (DAPO's overlong filtering)
    conditional  |o_i| = L_max  and  non_incorrect(o_i)  and  not repeat(o_i, m)  and  U(0,1) < rho
                                                                 (arXiv 2603.07777 eq. 2)

A masked output still counts in the group's mean and std, and its tokens still count in the loss's token count.
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
    """Choice of the truncation mask.

    Attributes:
        kind: mask in use.
        window: m of the conditional mask, in tokens.
        probability: rho of the conditional mask.
    """

    kind: MaskKind
    window: int
    probability: float


@dataclass(frozen=True)
class MaskDraw:
    """Source of the conditional mask's random draws U(0,1).

    Draws are a hash of their key, not of any state: a resumed or re-sharded run masks the same outputs.

    Attributes:
        seed: the run's seed.
        step: training step.
        occurrence: number of earlier groups of the same question in the step; each occurrence has draws of its own.
    """

    seed: int
    step: int
    occurrence: int = 0

    def uniform(self, question_id: str, sample_index: int) -> float:
        """Return the draw from U(0,1) for one output."""
        # repr quotes the question's name, so no two outputs share a key, whatever characters their names contain.
        key = repr((self.seed, self.step, question_id, self.occurrence, sample_index)).encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2.0**64


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDecision:
    """The mask's decision on one rollout; all fields except ``masked`` are the same for every kind of mask.

    Attributes:
        truncated: the output reached the length limit.
        incomplete: the output has no complete code block, or ends inside an open fence (``Judgement.incomplete``).
        repeats: the output ends in a repetition (``has_repeated_tail``).
        repeats_any_period: the output ends in a repetition of any period (``has_repeated_tail_any_period``); for
            metrics only.
        draw: the output's draw from U(0,1).
        eligible: all conditions of the conditional mask hold, except the random draw.
        masked: the mask in use sets the advantage to 0.
    """

    truncated: bool
    incomplete: bool
    repeats: bool
    repeats_any_period: bool
    draw: float
    eligible: bool
    masked: bool


def has_repeated_tail(token_ids: np.ndarray, window: int) -> bool:
    """Return True if the last ``window`` of the tokens [R] equal the ``window`` tokens before them.

    Repetitions are detected if their period divides ``window``.
    """
    if len(token_ids) < 2 * window:
        return False
    return bool(np.array_equal(token_ids[-window:], token_ids[-2 * window : -window]))


def has_repeated_tail_any_period(token_ids: np.ndarray, window: int) -> bool:
    """Return True if the last 2 x ``window`` of the tokens [R] repeat with any period up to ``window``.

    A metric only: it has no effect on the mask.
    """
    tail = token_ids[-2 * window :]
    if len(tail) < 2 * window:
        return False
    # Comparing bytes is 20 times as fast as one numpy call per period.
    content = tail.tobytes()
    width = tail.itemsize
    return any(content.startswith(content[period * width :]) for period in range(1, window + 1))


def decide_mask(rollout: Rollout, mask: TruncationMask, draw: MaskDraw) -> MaskDecision:
    """Decide whether the mask sets the advantage of a rollout to 0 (arXiv 2603.07777 eq. 2).

    An output is non-incorrect if it is correct, or incomplete: it has no complete code block, or ends inside an open
    fence. A truncated output with a complete program that fails is incorrect: the conditional mask never masks it.

    Args:
        rollout: the judged completion.
        mask: mask in use.
        draw: source of the random draw.
    """
    completion = rollout.completion
    judgement = rollout.judgement
    repeats = has_repeated_tail(completion.response_token_ids, mask.window)
    non_incorrect = judgement.verdict.passed or judgement.incomplete
    eligible = rollout.truncated and non_incorrect and not repeats
    drawn = draw.uniform(completion.question_id, completion.sample_index)
    if mask.kind == "conditional":
        masked = eligible and drawn < mask.probability
    elif mask.kind == "failing":
        masked = rollout.truncated and rollout.reward is not None and not rollout.passed
    else:
        masked = rollout.truncated and mask.kind == "all"
    return MaskDecision(
        truncated=rollout.truncated,
        incomplete=judgement.incomplete,
        repeats=repeats,
        repeats_any_period=has_repeated_tail_any_period(completion.response_token_ids, mask.window),
        draw=drawn,
        eligible=eligible,
        masked=masked,
    )
