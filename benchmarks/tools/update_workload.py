"""Workload of ``benchmarks.learner``: models of two shapes with random weights, and batches of uneven responses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from launch.models.starter_model import build_untrained_model

STARTER_VOCABULARY = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateShape:
    """Number and lengths of the sequences in a model's batch.

    Attributes:
        name: model.
        sequences: sequences per batch.
        mean_prompt_tokens: prompts have 0.5 to 1.5 times as many tokens.
        min_response_tokens: responses have 1 to 8 times as many tokens.
    """

    name: str
    sequences: int
    mean_prompt_tokens: int
    min_response_tokens: int


SMOLLM2 = UpdateShape(name="SmolLM2-135M", sequences=8, mean_prompt_tokens=64, min_response_tokens=48)
STARTER = UpdateShape(name="starter policy", sequences=32, mean_prompt_tokens=96, min_response_tokens=32)


@dataclass(frozen=True)
class SavedModel:
    """A checkpoint of random weights; tied input and output embeddings count once in ``parameters``."""

    path: Path
    parameters: int
    vocabulary: int


def save_model(shape: UpdateShape, path: Path) -> SavedModel:
    """Build and save the model of ``shape``, with a dummy tokenizer that TRL requires but never uses."""
    model = build_smollm2() if shape is SMOLLM2 else build_untrained_model(STARTER_VOCABULARY, seed=0)
    model.save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "<eos>": 2}, unk_token="<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>"
    ).save_pretrained(path)
    return SavedModel(path, model.num_parameters(), model.config.vocab_size)


def build_smollm2() -> Any:
    """Build a model of SmolLM2-135M's configuration (huggingface.co/HuggingFaceTB/SmolLM2-135M) with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            rope_theta=100000.0,
            tie_word_embeddings=True,
        )
    )


def make_batch(shape: UpdateShape, vocabulary: int, times: int = 1) -> list[dict[str, Any]]:
    """Build a batch; the same arguments always give the same batch.

    Prompt lengths are the quantiles of a uniform distribution, response lengths those of a log-uniform one over 1:8,
    both shuffled.

    Args:
        shape: number and lengths of the sequences.
        vocabulary: token ids are drawn below this number.
        times: multiplies the number of sequences.

    Returns:
        Rows of ``{"prompt": token ids, "response": token ids, "advantage": float}``.
    """
    generator = np.random.default_rng(0)
    count = times * shape.sequences
    quantiles = (np.arange(count) + 0.5) / count
    response_lengths = generator.permutation(np.round(shape.min_response_tokens * 8**quantiles).astype(int))
    prompt_lengths = generator.permutation(np.round(shape.mean_prompt_tokens * (0.5 + quantiles)).astype(int))
    return [
        {
            "prompt": generator.integers(3, vocabulary, prompt_length).tolist(),
            "response": generator.integers(3, vocabulary, response_length).tolist(),
            "advantage": 1.0 if index % 2 == 0 else -0.5,
        }
        for index, (prompt_length, response_length) in enumerate(zip(prompt_lengths, response_lengths, strict=True))
    ]


def count_tokens(batch: list[dict[str, Any]]) -> int:
    """Count the real tokens (prompts and responses) of a batch."""
    return sum(len(row["prompt"]) + len(row["response"]) for row in batch)
