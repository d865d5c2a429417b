"""Log-probabilities and entropies of chosen tokens, in chunks: the [tokens x vocabulary] matrix never exists whole."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**25
"""Logits held at once (128 MiB in float32)."""


def token_logprobs(
    hidden: Tensor,
    head: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperatures: Tensor,
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution, at its own temperature.

    ``hidden`` [N, H] states that predict the targets, ``head`` [V, H] output embedding, ``bias`` [V] or None,
    ``targets`` [N] int64, ``temperatures`` [N] float32. Returns two [N] float32 tensors; only the first carries
    gradient. Logits are divided by the temperature before the softmax.
    """
    size = max(1, CHUNK_ELEMENTS // head.shape[0])
    if len(targets) <= size:
        return _chunk(hidden, head, bias, targets, temperatures)
    parts = []
    for start in range(0, len(targets), size):
        rows = slice(start, start + size)
        args = (hidden[rows], head, bias, targets[rows], temperatures[rows])
        # Recomputed in the backward pass: otherwise autograd would keep every chunk's logits.
        parts.append(checkpoint(_chunk, *args, use_reentrant=False))
    logprobs, entropies = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(entropies)


def _chunk(
    hidden: Tensor,
    head: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperatures: Tensor,
) -> tuple[Tensor, Tensor]:
    logits = torch.nn.functional.linear(hidden, head, bias).float() / temperatures[:, None]
    normalised = logits.log_softmax(dim=-1)
    # A copy: FSDP2 warns of a module that returns a view.
    chosen = normalised.gather(1, targets[:, None]).squeeze(1).clone()
    with torch.no_grad():
        entropy = -(normalised.exp() * normalised).sum(dim=-1)
    return chosen, entropy
