"""Choice of the learner's attention: which implementation works on a device."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from evaluator.errors import UserError
from learner.segment_attention import SEGMENT_ATTENTION
from learner.varlen_attention import VARLEN_ATTENTION, varlen_attention

log = logging.getLogger(__name__)

FLASH_ATTENTION = "flash_attention_2"
AttentionKernel = Callable[[Tensor, Tensor], Tensor]
"""Function of queries, keys and values, all the same [1, heads, T, D], and the boundaries of the packed sequences."""


class AttentionUnavailable(UserError, ValueError):
    """The attention that was asked for does not work on this device; the message names the setting to change."""


def choose_attention(attention: str, device: torch.device, compute_dtype: torch.dtype = torch.float32) -> str:
    """Return the transformers name of the attention implementation for ``device``.

    Args:
        attention: ``flash_attention_2`` (the package flash-attn), ``varlen`` (``learner.varlen_attention``), ``sdpa``
            (``learner.segment_attention``), or ``auto``: the first of these that works.
        device: device of the model.
        compute_dtype: dtype of queries, keys and values.

    Raises:
        AttentionUnavailable: ``attention`` is not ``auto`` and does not work.
    """
    if attention == "sdpa":
        return SEGMENT_ATTENTION
    for name, run in KERNELS.items():
        if attention not in (name, "auto"):
            continue
        reason = find_obstacle(run, device, compute_dtype)
        if not reason:
            return name
        if attention != "auto":
            raise AttentionUnavailable(f"model.attention={name}: {reason}; set model.attention=auto or sdpa")
        if device.type == "cuda":
            log.warning("model.attention=auto does not use %s: %s", name, reason)
    return SEGMENT_ATTENTION


def find_obstacle(run: AttentionKernel, device: torch.device, compute_dtype: torch.dtype) -> str:
    """Return why a kernel for GPUs does not work on ``device`` in ``compute_dtype``, or an empty string if it does."""
    if device.type != "cuda":
        return f"it needs a GPU, and the learner runs on {device.type}"
    if compute_dtype == torch.float32:
        return "it computes in 16 bits, and model.dtype is float32"
    return find_error(run, device, compute_dtype)


def find_error(run: AttentionKernel, device: torch.device, compute_dtype: torch.dtype) -> str:
    """Run a kernel forward and backward on a small row; return its error, or an empty string.

    A package that can be imported may still fail: compiled against another torch, or for other GPUs.
    """
    states = torch.ones(1, 2, 24, 64, device=device, dtype=compute_dtype, requires_grad=True)
    bounds = torch.tensor([0, 8, 24], device=device, dtype=torch.int32)
    try:
        run(states, bounds).sum().backward()
        assert states.grad is not None
        states.grad.sum().item()  # waits for the kernel
    except Exception as error:  # noqa: BLE001 - a broken build may raise anything
        lines = str(error).splitlines() or ["no message"]
        return f"{type(error).__name__}: {lines[0]}"
    return ""


def _run_flash_attention(states: Tensor, bounds: Tensor) -> Tensor:
    """Attend with flash-attn as transformers does. Raises whatever a missing or broken package raises."""
    from flash_attn import flash_attn_varlen_func

    rows = states[0].transpose(0, 1)
    longest = int(bounds.diff().max())
    output: Tensor = flash_attn_varlen_func(rows, rows, rows, bounds, bounds, longest, longest, causal=True)
    return output


def _run_varlen_attention(states: Tensor, bounds: Tensor) -> Tensor:
    longest = int(bounds.diff().max())
    module = torch.nn.Identity()
    return varlen_attention(
        module, states, states, states, None, cu_seq_lens_q=bounds, max_length_q=longest, scaling=0.125
    )[0]


KERNELS: dict[str, AttentionKernel] = {
    FLASH_ATTENTION: _run_flash_attention,
    VARLEN_ATTENTION: _run_varlen_attention,
}
"""Attention for GPUs, in order of preference."""
