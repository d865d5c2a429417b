"""The workload of ``benchmarks.learner``: random models of two shapes, and batches of uneven responses for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from launch.models.starter_model import untrained_model

STARTER_VOCABULARY = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A model and its batch: ``sequences`` of them; prompts of 0.5 to 1.5 x ``prompt`` tokens, responses of
    ``shortest`` to 8 x ``shortest``."""

    name: str
    sequences: int
    prompt: int
    shortest: int


SMOLLM2 = Shape(name="SmolLM2-135M", sequences=8, prompt=64, shortest=48)
STARTER = Shape(name="starter policy", sequences=32, prompt=96, shortest=32)


@dataclass(frozen=True)
class SavedModel:
    """A checkpoint of random weights; parameters are counted once where input and output embedding are tied."""

    path: Path
    parameters: int
    vocabulary: int


def save_model(shape: Shape, path: Path) -> SavedModel:
    """Build and save the shape's model, with a tokenizer that peers ask for and nobody uses."""
    model = untrained_smollm2() if shape is SMOLLM2 else untrained_model(STARTER_VOCABULARY, seed=0)
    model.save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "<eos>": 2}, unk_token="<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>"
    ).save_pretrained(path)
    return SavedModel(path, model.num_parameters(), model.config.vocab_size)


def untrained_smollm2() -> Any:
    """SmolLM2-135M's configuration (huggingface.co/HuggingFaceTB/SmolLM2-135M), random weights."""
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


def make_batch(shape: Shape, vocabulary: int, times: int = 1) -> list[dict[str, Any]]:
    """``times`` x the shape's sequences as ``{"prompt", "response", "advantage"}``, the same every time.

    Response lengths are the quantiles of a log-uniform distribution over 1:8, shuffled, prompts those of a uniform one.
    """
    generator = np.random.default_rng(0)
    count = times * shape.sequences
    places = (np.arange(count) + 0.5) / count
    responses = generator.permutation(np.round(shape.shortest * 8**places).astype(int))
    prompts = generator.permutation(np.round(shape.prompt * (0.5 + places)).astype(int))
    return [
        {
            "prompt": generator.integers(3, vocabulary, prompt).tolist(),
            "response": generator.integers(3, vocabulary, response).tolist(),
            "advantage": 1.0 if index % 2 == 0 else -0.5,
        }
        for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
    ]


def count_tokens(batch: list[dict[str, Any]]) -> int:
    """Real tokens: prompts and responses."""
    return sum(len(one["prompt"]) + len(one["response"]) for one in batch)
