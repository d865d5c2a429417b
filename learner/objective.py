"""The objective (arXiv 2603.07777 eq. 1): weighted sum of clipped surrogate minus KL penalty over tokens.

    loss = - sum_t weight_t * ( surrogate_t - beta0 * k3_t )

over the tokens of an optimizer mini-batch. Everything except the current policy's log-probs is computed once per
sequence, before the mini-batch is split over ranks and micro-batches. The losses of the parts add up to the loss of the
whole mini-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learner.clipped_surrogate import Clip, clipped_surrogate
from learner.kl_penalty import k3
from learner.loss_aggregation import Aggregation, token_weights
from learner.mismatch import mismatch_weights
from learner.rollout import TrainSequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """Constants of the objective; each is documented in the configuration (``algorithm.*``)."""

    aggregation: Aggregation
    clip: Clip
    kl_weight: float
    mismatch_cap: float
    max_response_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTokens:
    """Inputs of the loss for N response tokens, except their current log-probs; constant during an update.

    Attributes:
        counted: [N] bool, True for the C tokens whose sampler log-prob is finite; only these enter the loss.
        old_logprobs: [C] float, log-probs under the old policy.
        reference_logprobs: [C] float, log-probs under the reference policy; None without a KL penalty.
        mismatch_weights: [C] float.
        advantages: [C] float.
        weights: [C] float, aggregation weights; they sum to 1 over a mini-batch for ``token_mean`` and
            ``sequence_mean``.
    """

    counted: Tensor
    old_logprobs: Tensor
    reference_logprobs: Tensor | None
    mismatch_weights: Tensor
    advantages: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> LossTokens:
        """Copy all tensors to ``device``."""
        reference = self.reference_logprobs
        return LossTokens(
            counted=self.counted.to(device),
            old_logprobs=self.old_logprobs.to(device),
            reference_logprobs=None if reference is None else reference.to(device),
            mismatch_weights=self.mismatch_weights.to(device),
            advantages=self.advantages.to(device),
            weights=self.weights.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSums:
    """Sums over a set of tokens, all float64 scalars, to be added over micro-batches and ranks.

    Attributes:
        active_tokens: number of tokens with a finite sampler log-prob and a non-zero advantage.
        pg_loss: weighted sum of the negated surrogate.
        kl_loss: weighted sum of the KL estimate, without beta0.
        clipped_high: number of tokens clipped at 1 + eps_high.
        clipped_low: number of tokens clipped at 1 - eps.
        clipped_dual: number of tokens limited by dual clipping.
        ppo_kl: sum of old minus current log-prob over the active tokens.
    """

    active_tokens: Tensor
    pg_loss: Tensor
    kl_loss: Tensor
    clipped_high: Tensor
    clipped_low: Tensor
    clipped_dual: Tensor
    ppo_kl: Tensor


def build_loss_tokens(
    mini_batch: Sequence[TrainSequence],
    old_logprobs: Sequence[Tensor],
    reference_logprobs: Sequence[Tensor] | None,
    objective: Objective,
) -> list[LossTokens]:
    """Compute the inputs of the loss for each sequence of a mini-batch, on the CPU.

    Args:
        mini_batch: all sequences of the mini-batch, since the aggregation weights depend on all of them.
        old_logprobs: [R_i] float32 of each sequence, under the old policy, on the CPU.
        reference_logprobs: [R_i] float32 of each sequence, under the reference policy, on the CPU; None without a KL
            penalty.
        objective: constants of the objective.
    """
    counted = [torch.from_numpy(sequence.sampler_logprobs).isfinite() for sequence in mini_batch]
    counts = [int(mask.sum()) for mask in counted]
    weights = token_weights(counts, objective.aggregation, objective.max_response_tokens)
    result = []
    for place, sequence in enumerate(mini_batch):
        mask = counted[place]
        old = old_logprobs[place][mask]
        sampler = torch.from_numpy(sequence.sampler_logprobs)[mask].to(old.dtype)
        result.append(
            LossTokens(
                counted=mask,
                old_logprobs=old,
                reference_logprobs=None if reference_logprobs is None else reference_logprobs[place][mask],
                mismatch_weights=mismatch_weights(old, sampler, objective.mismatch_cap),
                advantages=torch.full_like(old, sequence.advantage),
                weights=torch.full_like(old, weights[place]),
            )
        )
    return result


def concatenate_loss_tokens(parts: Sequence[LossTokens]) -> LossTokens:
    """Concatenate the loss inputs of at least one sequence, in order."""
    references = [part.reference_logprobs for part in parts if part.reference_logprobs is not None]
    return LossTokens(
        counted=torch.cat([part.counted for part in parts]),
        old_logprobs=torch.cat([part.old_logprobs for part in parts]),
        reference_logprobs=torch.cat(references) if references else None,
        mismatch_weights=torch.cat([part.mismatch_weights for part in parts]),
        advantages=torch.cat([part.advantages for part in parts]),
        weights=torch.cat([part.weights for part in parts]),
    )


def policy_loss(logprobs: Tensor, tokens: LossTokens, objective: Objective) -> tuple[Tensor, LossSums]:
    """Loss of a set of tokens, which is their share of the mini-batch's loss (arXiv 2603.07777 eq. 1).

    Args:
        logprobs: [N] float, log-probs of the response tokens under the current policy, at the sampling temperature.
        tokens: the other inputs of the loss for the same N tokens.
        objective: constants of the objective.

    Returns:
        The loss, a scalar that carries gradient, and the sums from which the metrics are computed.
    """
    current = logprobs[tokens.counted]
    surrogate = clipped_surrogate(
        current, tokens.old_logprobs, tokens.advantages, tokens.mismatch_weights, objective.clip
    )
    pg_loss = -(tokens.weights * surrogate.value).sum()
    loss = pg_loss
    kl_loss = torch.zeros_like(pg_loss)
    if tokens.reference_logprobs is not None:
        kl_loss = (tokens.weights * k3(current, tokens.reference_logprobs)).sum()
        loss = pg_loss + objective.kl_weight * kl_loss
    with torch.no_grad():
        active = tokens.advantages != 0
        sums = LossSums(
            active_tokens=active.sum().double(),
            pg_loss=pg_loss.detach().double(),
            kl_loss=kl_loss.detach().double(),
            clipped_high=surrogate.clipped_high.sum().double(),
            clipped_low=surrogate.clipped_low.sum().double(),
            clipped_dual=surrogate.clipped_dual.sum().double(),
            ppo_kl=(tokens.old_logprobs - current)[active].sum().double(),
        )
    return loss, sums
