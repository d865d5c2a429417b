"""Sampler-learner mismatch: the engine that samples and the learner compute the same policy with different kernels.

A sampler log-prob that is not finite carries no information about its token: such tokens are excluded from the loss
and from the statistics, and are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def mismatch_weights(old_logprobs: Tensor, sampler_logprobs: Tensor, cap: float) -> Tensor:
    """Truncated importance weights min(cap, pi_old / pi_sampler), which correct the loss for the mismatch.

    The cap bounds the variance (truncated importance sampling; Yao et al. 2025, "On the Rollout-Training Mismatch in
    Modern RL Systems").

    Args:
        old_logprobs: [N] float, log-probs of the sampled tokens under the learner's old policy, at the sampling
            temperature.
        sampler_logprobs: [N] float, the same as reported by the sampling engine; finite.
        cap: largest weight; 0 turns the correction off, so that all weights are 1.

    Returns:
        [N] float, the weights.
    """
    if cap == 0:
        return torch.ones_like(old_logprobs)
    return torch.exp(old_logprobs - sampler_logprobs).clamp(max=cap)


@dataclass(frozen=True)
class MismatchStatistics:
    """Statistics over the tokens whose sampler log-prob is finite.

    Attributes:
        kl: mean of log pi_sampler - log pi_old, an estimate of KL(sampler, learner); 0 without tokens.
        ratio_max: largest pi_old / pi_sampler; 1 without tokens.
        non_finite: number of tokens whose sampler log-prob is not finite.
    """

    kl: float
    ratio_max: float
    non_finite: int


def mismatch_statistics(old_logprobs: Sequence[Tensor], sampler_logprobs: Sequence[Tensor]) -> MismatchStatistics:
    """Compare old and sampler log-probs over all sequences (one tensor [R_i] each), at the sampling temperature."""
    old = torch.cat([torch.empty(0), *old_logprobs]).double()
    sampler = torch.cat([torch.empty(0), *sampler_logprobs]).double()
    finite = sampler.isfinite()
    difference = (old - sampler)[finite]
    if len(difference) == 0:
        return MismatchStatistics(0.0, 1.0, len(sampler))
    return MismatchStatistics(float(-difference.mean()), float(difference.max().exp()), len(sampler) - len(difference))
