"""The clipped surrogate of one token (arXiv 2603.07777 eq. 1): high clip, and dual clip where it is wanted.

    surrogate_t = w_t * min( r_t * A_t , clip(r_t, 1 - eps, 1 + eps_high) * A_t )         r_t = pi_theta / pi_old

Both policies are taken at the sampling temperature. ``w`` is the mismatch weight (learner/mismatch.py). Dual clip
(arXiv 1912.09729) bounds the term of a bad token from below by c * A_t, so that a ratio that ran away cannot dominate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_LOG_RATIO = 20.0
"""Log ratios are bounded by this: beyond exp(20) a float32 product would overflow and 0 * inf would be NaN."""


@dataclass(frozen=True)
class Clip:
    """``low`` and ``high``: eps and eps_high. ``dual``: c > 1, or None for no dual clip."""

    low: float
    high: float
    dual: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Surrogate:
    """Per token, all [N]: ``value`` carries gradient; the bools say which clip took the gradient away."""

    value: Tensor
    clipped_high: Tensor
    clipped_low: Tensor
    clipped_dual: Tensor


def clipped_surrogate(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mismatch_weights: Tensor, clip: Clip
) -> Surrogate:
    """The surrogate of every token, to be maximised.

    All inputs [N] float: log-probs of the sampled tokens under the current and the old policy, both at the sampling
    temperature; advantages; mismatch weights (constants).
    """
    ratio = torch.exp((logprobs - old_logprobs).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
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
