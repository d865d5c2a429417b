"""The clipped surrogate (arXiv 2603.07777 eq. 1), token-level, high clip, no KL.

    J = 1/N * sum_t w_t * min( r_t * A_t , clip(r_t, 1 - eps, 1 + eps_high) * A_t )

N is the number of response tokens of the whole optimizer mini-batch over all ranks and micro-batches, so the loss
does not depend on how the batch was split. ``w`` is the truncated importance weight between sampler and learner.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SurrogateSums:
    """Sums over the tokens given (not means), to be added over micro-batches and ranks; float64 scalars."""

    tokens: Tensor
    loss: Tensor
    clipped_high: Tensor
    clipped_low: Tensor
    kl: Tensor


def clipped_surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, SurrogateSums]:
    """Sum over tokens of the negated surrogate, and the sums its metrics are made of.

    All inputs [N] float: log-probs of the sampled tokens under the current and the old policy, both at the sampling
    temperature; advantages; mismatch weights (detached). Divide the loss by the global token count.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    surrogate = torch.minimum(ratio * advantages, clipped * advantages)
    loss = -(weights * surrogate).sum()
    with torch.no_grad():
        sums = SurrogateSums(
            tokens=torch.tensor(logprobs.numel(), dtype=torch.float64),
            loss=loss.detach().double(),
            clipped_high=((ratio > 1.0 + clip_high) & (advantages > 0)).sum().double(),
            clipped_low=((ratio < 1.0 - clip_low) & (advantages < 0)).sum().double(),
            kl=(old_logprobs - logprobs).sum().double(),
        )
    return loss, sums


def mismatch_weights(old_logprobs: Tensor, sampler_logprobs: Tensor, cap: float) -> Tensor:
    """Truncated importance weights [N] between the sampler and the learner's old policy; ``cap`` 0 gives ones.

    The engine that samples and the learner that trains compute the same policy with different kernels; the weight
    min(cap, pi_old / pi_sampler) corrects for the difference without letting it explode.
    """
    if cap == 0:
        return torch.ones_like(old_logprobs)
    return torch.exp(old_logprobs - sampler_logprobs).clamp(max=cap)
