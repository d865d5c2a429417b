"""The objective (arXiv 2603.07777 eq. 1): clipped surrogate minus KL penalty, each token with its weight.

    loss = - sum_t weight_t * ( surrogate_t - beta0 * k3_t )

over the tokens of an optimizer mini-batch. Everything but the current policy's log-probs is made once per sequence,
before the mini-batch is split over ranks and micro-batches: the parts' losses add up to the whole's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learner.aggregation import Aggregation, token_weights
from learner.clipped_surrogate import Clip, clipped_surrogate
from learner.kl_penalty import k3
from learner.mismatch import mismatch_weights
from learner.rollout import TrainSequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """The objective's constants; the meaning of each is documented in the configuration (``algorithm.*``)."""

    aggregation: Aggregation
    clip: Clip
    kl_weight: float
    mismatch_cap: float
    max_response_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTokens:
    """What the loss needs of N response tokens besides their log-probs; constants of the update.

    ``counted`` [N] bool: the sampler's log-prob is finite. The rest holds the C counted tokens only, [C] float32:
    ``old_logprobs``; ``reference_logprobs`` (None without a KL penalty); ``mismatch_weights``; ``advantages``;
    ``weights``, which make the sum of the mini-batch's tokens its aggregate.
    """

    counted: Tensor
    old_logprobs: Tensor
    reference_logprobs: Tensor | None
    mismatch_weights: Tensor
    advantages: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> LossTokens:
        """The same on ``device``."""
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
    """Sums over the tokens given, to be added over micro-batches and ranks; float64 scalars.

    ``acting``: counted tokens with an advantage; ``clipped_*`` and ``ppo_kl`` (old minus current log-prob) are sums
    over those. ``pg_loss`` and ``kl_loss``: the negated surrogate and the KL estimate (without beta0), weighted.
    """

    acting: Tensor
    pg_loss: Tensor
    kl_loss: Tensor
    clipped_high: Tensor
    clipped_low: Tensor
    clipped_dual: Tensor
    ppo_kl: Tensor


def loss_tokens(
    mini: Sequence[TrainSequence],
    old_logprobs: Sequence[Tensor],
    reference_logprobs: Sequence[Tensor] | None,
    objective: Objective,
) -> list[LossTokens]:
    """The constants of every sequence of a whole mini-batch. Both log-probs: per sequence [R_i] float32, on the CPU."""
    counted = [torch.from_numpy(sequence.sampler_logprobs).isfinite() for sequence in mini]
    counts = [int(mask.sum()) for mask in counted]
    weights = token_weights(counts, objective.aggregation, objective.max_response_tokens)
    found = []
    for place, sequence in enumerate(mini):
        mask = counted[place]
        old = old_logprobs[place][mask]
        sampler = torch.from_numpy(sequence.sampler_logprobs)[mask].to(old.dtype)
        found.append(
            LossTokens(
                counted=mask,
                old_logprobs=old,
                reference_logprobs=None if reference_logprobs is None else reference_logprobs[place][mask],
                mismatch_weights=mismatch_weights(old, sampler, objective.mismatch_cap),
                advantages=torch.full_like(old, sequence.advantage),
                weights=torch.full_like(old, weights[place]),
            )
        )
    return found


def join(parts: Sequence[LossTokens]) -> LossTokens:
    """The tokens of several sequences one after the other, in the order of ``parts`` (at least one)."""
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
    """The tokens' share of the mini-batch's loss, and the sums its metrics are made of.

    ``logprobs`` [N] float: of the response tokens under the current policy, at the sampling temperature.
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
        acting = tokens.advantages != 0
        sums = LossSums(
            acting=acting.sum().double(),
            pg_loss=pg_loss.detach().double(),
            kl_loss=kl_loss.detach().double(),
            clipped_high=surrogate.clipped_high.sum().double(),
            clipped_low=surrogate.clipped_low.sum().double(),
            clipped_dual=surrogate.clipped_dual.sum().double(),
            ppo_kl=(tokens.old_logprobs - current)[acting].sum().double(),
        )
    return loss, sums
