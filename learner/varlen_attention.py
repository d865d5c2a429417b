"""Causal attention within each sequence of a packed row by torch's variable-length kernel, on CUDA and in 16 bits.

The kernel is FlashAttention's, built into torch. Its Python function is new, and its signature differs between torch
2.10, 2.11 and 2.12.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.attention import varlen
from transformers import AttentionInterface

from learner.segment_attention import reject_unsupported

VARLEN_ATTENTION = "varlen"


def find_causal_arguments(kernel: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments with which a version of ``varlen_attn`` attends causally, with fewer groups than heads."""
    parameters = inspect.signature(kernel).parameters
    causal: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in parameters else {"is_causal": True}
    return causal | ({"enable_gqa": True} if "enable_gqa" in parameters else {})


CAUSAL_ARGUMENTS = find_causal_arguments(varlen.varlen_attn)


def varlen_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend causally within each sequence of a packed row of T tokens (transformers' attention interface).

    Args:
        module: the attention layer; not used.
        query: [1, heads, T, D].
        key: [1, groups, T, D].
        value: [1, groups, T, D].
        attention_mask: must be None.
        cu_seq_lens_q: [sequences + 1] int32, the boundaries of the sequences in the row, from 0 to T.
        max_length_q: number of tokens of the longest sequence.
        scaling: factor of the attention logits.
        dropout: must be 0, because the kernel has none.
        options: further options of the model's attention.

    Returns:
        The output [1, T, heads, D], and None in place of the attention weights.

    Raises:
        ValueError: if there is a mask or dropout.
        UnsupportedAttention: if an option would change the result and is not implemented here.
    """
    if attention_mask is not None or dropout:
        raise ValueError(f"varlen attention supports no attention mask and no dropout, got dropout {dropout}")
    reject_unsupported(options, max_length_q)
    q, k, v = (states[0].transpose(0, 1).contiguous() for states in (query, key, value))
    output = varlen.varlen_attn(
        q,
        k,
        v,
        cu_seq_q=cu_seq_lens_q,
        cu_seq_k=cu_seq_lens_q,
        max_q=max_length_q,
        max_k=max_length_q,
        scale=scaling,
        **CAUSAL_ARGUMENTS,
    )
    assert isinstance(output, Tensor)  # a pair only if the log of the softmax denominators is asked for
    return output.unsqueeze(0), None


AttentionInterface.register(VARLEN_ATTENTION, varlen_attention)
