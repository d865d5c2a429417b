"""The clipped surrogate of one token (arXiv 2603.07777 eq. 1): clip-higher, and optionally dual clip.

    surrogate_t = w_t * min( r_t * A_t , clip(r_t, 1 - eps, 1 + eps_high) * A_t )         r_t = pi_theta / pi_old

Both policies are evaluated at the sampling temperature. ``w`` is the mismatch weight (learner/mismatch.py). Dual clip
(arXiv 1912.09729) bounds the term of a token with negative advantage from below by c * A_t, so that a very large ratio
cannot dominate the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Bound on the absolute log ratio in surrogate and KL penalty: a float32 product with a much larger ratio would
overflow, and 0 * inf would be NaN."""


@dataclass(frozen=True)
class Clip:
    """Clip range of the probability ratio.

    Attributes:
        low: eps; ratios are clipped below 1 - eps.
        high: eps_high; ratios are clipped above 1 + eps_high.
        dual: the constant c > 1 of dual clip, None to turn dual clip off.
    """

    low: float
    high: float
    dual: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Surrogate:
    """The surrogate of N tokens and the clips that act on it.

    Attributes:
        value: [N] float, the surrogate; the only field that carries gradient.
        clipped_high: [N] bool, tokens whose gradient is zero because the ratio is above 1 + eps_high.
        clipped_low: [N] bool, tokens whose gradient is zero because the ratio is below 1 - eps.
        clipped_dual: [N] bool, tokens whose gradient is zero because of dual clip.
    """

    value: Tensor
    clipped_high: Tensor
    clipped_low: Tensor
    clipped_dual: Tensor


def clipped_surrogate(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mismatch_weights: Tensor, clip: Clip
) -> Surrogate:
    """Surrogate of every token, to be maximised (arXiv 2603.07777 eq. 1).

    Args:
        logprobs: [N] float, log-probs of the sampled tokens under the current policy, at the sampling temperature.
        old_logprobs: [N] float, the same under the old policy.
        advantages: [N] float.
        mismatch_weights: [N] float, constants (``learner.mismatch``).
        clip: clip range.
    """
    ratio = torch.exp((logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
    value = torch.minimum(ratio * advantages, ratio.clamp(1.0 - clip.low, 1.0 + clip.high) * advantages)
    dual = torch.zeros_like(ratio, dtype=torch.bool)
    if clip.dual is not None:
        bound = clip.dual * advantages
        dual = (advantages < 0) & (value < bound)
        value = torch.where(dual, bound, value)
    return Surrogate(
        value=mismatch_weights * value,
        clipped_high=(ratio > 1.0 + clip.high) & (advantages > 0),
        clipped_low=(ratio < 1.0 - clip.low) & (advantages < 0),
        clipped_dual=dual,
    )
