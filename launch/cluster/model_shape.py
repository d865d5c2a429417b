"""Shape of a model, by which memory is planned: read from a checkpoint's configuration, or estimated from its size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Shape of a decoder-only model.

    Attributes:
        parameters: number of parameters; a tied embedding counts once.
        layers: number of decoder layers.
        hidden: width of the hidden states.
        intermediate: width inside an MLP.
        heads: attention heads.
        groups: heads of keys and values.
        head_dim: width of a head.
        vocabulary: number of tokens.
        tied: input and output embedding are one.
        estimated: the shape is that of a model of about this size, because the checkpoint is not on this machine.
    """

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    groups: int
    head_dim: int
    vocabulary: int
    tied: bool
    estimated: bool = False

    @property
    def embeddings(self) -> int:
        """Number of parameters of input and output embedding."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def layer_parameters(self) -> float:
        """Number of parameters of a decoder layer."""
        return max(0, self.parameters - self.embeddings) / self.layers

    @property
    def cached_numbers_per_token(self) -> int:
        """Keys and values that a KV cache holds for a token."""
        return 2 * self.layers * self.groups * self.head_dim


def _qwen3(parameters_m: int, layers: int, hidden: int, intermediate: int, heads: int) -> ModelShape:
    return ModelShape(
        parameters=parameters_m * 10**6,
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        groups=8,
        head_dim=128,
        vocabulary=151_936,
        tied=parameters_m < 5000,
    )


QWEN3 = tuple(
    _qwen3(parameters_m, layers, hidden, intermediate, heads)
    for parameters_m, layers, hidden, intermediate, heads in (
        (596, 28, 1024, 3072, 16),
        (1721, 28, 2048, 6144, 16),
        (4022, 36, 2560, 9728, 32),
        (8191, 36, 4096, 12288, 32),
        (14768, 40, 5120, 17408, 40),
        (32762, 64, 5120, 25600, 64),
    )
)
"""Shapes of the dense Qwen3 models (huggingface.co/Qwen), by which the shape of an absent model is estimated."""


def estimate_shape(parameters: int) -> ModelShape:
    """Return the shape of the Qwen3 model whose size is nearest to ``parameters``, with that number of parameters."""
    nearest = min(QWEN3, key=lambda shape: abs(shape.parameters - parameters))
    return replace(nearest, parameters=parameters, estimated=True)


def read_shape(path: Path) -> ModelShape | None:
    """Read the shape of a local checkpoint from its configuration; return None if ``path`` is no directory."""
    if not path.is_dir():
        return None
    config = AutoConfig.from_pretrained(path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    values = text.to_dict()
    heads = text.num_attention_heads
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        heads=heads,
        groups=values.get("num_key_value_heads") or heads,
        head_dim=values.get("head_dim") or text.hidden_size // heads,
        vocabulary=text.vocab_size,
        tied=text.tie_word_embeddings,
    )
