"""Causal attention within each sequence of a packed row, computed one sequence at a time, without a mask.

transformers calls it by its registered name. Its own ``sdpa`` also separates packed sequences, but by a dense [T x T]
mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from evaluator.errors import UserError

SEGMENT_ATTENTION = "segments"


class UnsupportedAttention(UserError, ValueError):
    """The model needs an attention feature that is not implemented here; the message names the setting to change."""


@torch.compiler.disable
def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    lengths: Tensor,
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
        lengths: [sequences] int64 on the CPU, number of tokens of each sequence; they sum to T. Not a tuple: a compiled
            layer would be compiled anew for each number of sequences.
        scaling: factor of the attention logits.
        dropout: dropout probability of the attention weights.
        options: further options of the model's attention.

    Returns:
        The output [1, T, heads, D], and None in place of the attention weights.

    Raises:
        ValueError: if there is a mask.
        UnsupportedAttention: if an option would change the result and is not implemented here.
    """
    if attention_mask is not None:
        raise ValueError("segment attention supports no attention mask: call the model without attention_mask")
    sizes = lengths.tolist()
    reject_unsupported(options, max(sizes))
    if query.device.type == "cuda" and query.dtype == torch.float32:
        # Of the kernels for CUDA, those that take groups compute in 16 bits, except one that builds [heads, L, L].
        key, value = (states.repeat_interleave(query.shape[1] // states.shape[1], dim=1) for states in (key, value))
    # split and cat: their backward passes are one cat and one split, so the cost is linear in the number of sequences.
    parts = zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
    outputs = [
        scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=True
        ).transpose(1, 2)
        for q, k, v in parts
    ]
    return torch.cat(outputs, dim=1), None


def reject_unsupported(options: Mapping[str, Any], longest: int) -> None:
    """Raise UnsupportedAttention if an option of the model's attention makes it more than plain causal attention.

    Args:
        options: options that the model's attention layer passes on.
        longest: tokens of the longest sequence; a sliding window of at least that many changes nothing.
    """
    unsupported = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    if (options.get("sliding_window") or longest) < longest:
        unsupported.append("sliding_window")
    if unsupported:
        raise UnsupportedAttention(
            f"this model's attention uses {', '.join(unsupported)}, which only flash-attn supports here: set "
            "model.attention=flash_attention_2"
        )


AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)
