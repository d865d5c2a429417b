"""The conditional truncation mask (arXiv 2603.07777 eq. 2): promising outputs cut off by the length limit.

    M_i = 1[ |o_i| = L_max  and  non_incorrect(o_i)  and  not repeat(o_i, m)  and  U(0,1) < rho ]

A masked output keeps its place in the group's mean and std; its own advantage becomes 0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from learner.rollout import Rollout


@dataclass(frozen=True)
class MaskDecision:
    """Why a rollout is masked or not; ``masked`` is true only where ``eligible`` is."""

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
    return any(np.array_equal(tail[period:], tail[:-period]) for period in range(1, window + 1))


def mask_uniform(seed: int, step: int, question_id: str, sample_index: int) -> float:
    """U(0,1) that depends only on its arguments: a resumed or re-sharded run masks the same outputs."""
    key = f"{seed}/{step}/{question_id}/{sample_index}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2.0**64


def mask_decision(rollout: Rollout, window: int, probability: float, seed: int, step: int) -> MaskDecision:
    """Apply the mask's four conditions to one rollout.

    Non-incorrect means correct, or incomplete: no complete code block, or the text ends inside an open fence. A
    truncated output with a complete, failing program is incorrect and never masked.
    """
    completion, judgement = rollout.completion, rollout.judgement
    repeating = repeats(completion.response_token_ids, window)
    non_incorrect = judgement.verdict.passed or judgement.incomplete
    eligible = rollout.truncated and non_incorrect and not repeating
    drawn = mask_uniform(seed, step, completion.question_id, completion.sample_index)
    any_period = repeats_any_period(completion.response_token_ids, window)
    return MaskDecision(rollout.truncated, repeating, any_period, eligible, eligible and drawn < probability)
