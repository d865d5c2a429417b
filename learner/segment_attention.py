"""Causal attention over the sequences of a packed row, one at a time: no mask is built, no token sees another sequence.

transformers calls it by name. Its own ``sdpa`` also keeps packed sequences apart, but through a dense [T x T] mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from evaluator.errors import UserError

SEGMENT_ATTENTION = "segments"


class UnsupportedAttention(UserError, ValueError):
    """The model asks for a kind of attention that is not computed here; the message says what to set."""


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    lengths: tuple[int, ...],
    scaling: float,
    dropout: float = 0.0,
    **asked: Any,
) -> tuple[Tensor, None]:
    """Attention output [1, T, heads, D] of ``query`` [1, heads, T, D], ``key`` and ``value`` [1, groups, T, D].

    ``lengths`` sum to T. Each sequence is attended to causally by itself alone. Raises ValueError where a mask came
    along, UnsupportedAttention where the model asks for what this attention would leave out.
    """
    if attention_mask is not None:
        raise ValueError("packed sequences are attended to segment by segment: call the model without a mask")
    unsupported = [name for name in ("softcap", "s_aux", "position_bias") if asked.get(name) is not None]
    if (asked.get("sliding_window") or max(lengths)) < max(lengths):
        unsupported.append("sliding_window")
    if unsupported:
        raise UnsupportedAttention(
            f"this model's attention uses {', '.join(unsupported)}, which sdpa per sequence leaves out: "
            "set model.attention=flash_attention_2"
        )
    # split and cat: their backward passes are one cat and one split, so the cost stays linear in the segments.
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    outputs = [
        scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=True
        ).transpose(1, 2)
        for q, k, v in parts
    ]
    return torch.cat(outputs, dim=1), None


AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)
