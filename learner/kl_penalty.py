"""The KL penalty against a frozen reference policy (arXiv 2402.03300 eq. 4), used only if its weight is positive."""

from __future__ import annotations

import torch
from torch import Tensor

from learner.clipped_surrogate import MAX_LOG_RATIO


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """The k3 estimate of KL(policy, reference) for each sampled token: exp(d) - d - 1, d = log pi_ref - log pi.

    Unbiased for tokens sampled from the policy, and never negative (Schulman 2020, "Approximating KL divergence").

    Args:
        logprobs: [N] float, log-probs of the sampled tokens under the policy, at the sampling temperature. Only these
            carry gradient.
        reference_logprobs: [N] float, the same under the reference policy.

    Returns:
        [N] float, the estimates.
    """
    difference = (reference_logprobs.detach() - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.exp(difference) - difference - 1.0
