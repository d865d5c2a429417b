"""Causal attention over packed sequences by the plain formula, in place of kernels that need a GPU."""

import itertools

import torch
from torch import Tensor


def attend_by_formula(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, scale: float) -> Tensor:
    """Attend within each sequence between two ``bounds``: q is [T, heads, D], k and v are [T, groups, D]."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    outputs = []
    for start, end in itertools.pairwise(bounds.tolist()):
        scores = torch.einsum("ihd,jhd->hij", q[start:end], k[start:end]) * scale
        hidden = torch.ones(end - start, end - start, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        outputs.append(torch.einsum("hij,jhd->ihd", weights, v[start:end]))
    return torch.cat(outputs)
