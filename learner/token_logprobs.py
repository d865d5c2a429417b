"""Log-probs and entropies of given tokens, computed in chunks: the full [tokens x vocabulary] matrix is never built."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = {"cpu": 2**24, "cuda": 2**27}
"""Number of logits in a chunk, by device type (64 MiB and 512 MiB in float32); computing one needs twice that memory.

GPUs need larger matrix products than CPUs to be fully used.
"""


def token_logprobs(
    hidden: Tensor,
    head: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    temperatures: Tensor,
) -> tuple[Tensor, Tensor]:
    """Log-prob of each target token and entropy of its distribution, each at its own temperature.

    Logits are divided by the temperature before the softmax.

    Args:
        hidden: [N, H], hidden states that predict the targets.
        head: [V, H], output embedding.
        bias: [V], bias of the output embedding, or None.
        targets: [N] int64, token ids.
        temperatures: [N] float32.

    Returns:
        Log-probs and entropies, [N] float32 each. Only the log-probs carry gradient.
    """
    logprobs, entropies = _TokenLogprobs.apply(hidden, head, bias, targets, temperatures)
    return logprobs, entropies


class _TokenLogprobs(torch.autograd.Function):
    """Autograd function that saves the log of each token's softmax denominator and recomputes logits in backward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, bias: Tensor | None, targets: Tensor, temperatures: Tensor
    ) -> tuple[Tensor, Tensor]:
        logprobs, entropies, log_denominators = (
            torch.empty(len(targets), dtype=torch.float32, device=hidden.device) for _ in range(3)
        )
        for rows in _split_rows(len(targets), head):
            logits = _compute_logits(hidden[rows], head, bias, temperatures[rows])
            largest = logits.amax(dim=1, keepdim=True)
            chosen = logits.gather(1, targets[rows, None]).squeeze(1)
            exponentials = logits.sub_(largest).exp()
            total = exponentials.sum(dim=1)
            # H = log Z - E[logit], both relative to the largest logit.
            expected_logit = torch.bmm(exponentials[:, None], logits[:, :, None]).flatten() / total
            log_total = total.log()
            log_denominators[rows] = log_total + largest.squeeze(1)
            logprobs[rows] = chosen - log_denominators[rows]
            entropies[rows] = log_total - expected_logit
        ctx.save_for_backward(hidden, head, bias, targets, temperatures, log_denominators)
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, logprob_gradients: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, bias, targets, temperatures, log_denominators = ctx.saved_tensors
        hidden_gradient = torch.empty_like(hidden)
        head_gradient = torch.zeros_like(head, dtype=torch.float32)
        bias_gradient = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        scales = logprob_gradients / temperatures
        for rows in _split_rows(len(targets), head):
            logits = _compute_logits(hidden[rows], head, bias, temperatures[rows])
            # d log p(target) / d logits = (1[target] - p) / T
            logit_gradients = logits.sub_(log_denominators[rows, None]).exp_().mul_(-scales[rows, None])
            logit_gradients.scatter_add_(1, targets[rows, None], scales[rows, None])
            if bias_gradient is not None:
                bias_gradient += logit_gradients.sum(dim=0)
            logit_gradients = logit_gradients.to(head.dtype)
            hidden_gradient[rows] = logit_gradients @ head
            if head.dtype == head_gradient.dtype:
                head_gradient.addmm_(logit_gradients.T, hidden[rows])
            else:  # products in the head's lower precision, their sum over chunks in float32
                head_gradient += _multiply(logit_gradients.T, hidden[rows])
        return (
            hidden_gradient,
            head_gradient.to(head.dtype),
            None if bias_gradient is None else bias_gradient.to(bias.dtype),
            None,
            None,
        )


def _split_rows(tokens: int, head: Tensor) -> list[slice]:
    """Split rows 0 to ``tokens`` into slices of at most ``CHUNK_ELEMENTS`` logits, but at least one row."""
    size = max(1, CHUNK_ELEMENTS[head.device.type] // head.shape[0])
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def _compute_logits(hidden: Tensor, head: Tensor, bias: Tensor | None, temperatures: Tensor) -> Tensor:
    """Compute logits divided by the temperature, [rows, V] float32, as a new tensor that may be modified in place."""
    logits = _multiply(hidden, head.T)
    if bias is not None:
        logits += bias
    return logits.div_(temperatures[:, None])


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices of one dtype, into a new float32 matrix.

    On CUDA, the sums of 16-bit products stay in float32: rounded to bfloat16, logits of 16 to 32 would be multiples of
    0.125. Kernels on CPU have no such output; there the 16-bit result is converted.
    """
    if left.device.type == "cuda" and left.dtype != torch.float32:
        return torch.mm(left, right, out_dtype=torch.float32)
    return torch.mm(left, right).float()
