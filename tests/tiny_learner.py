"""Helpers of learner tests: a tiny random model, training sequences, gradients, and a process group of one rank."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.distributed.tensor import DTensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from conf.schema import Config
from launch.cluster import learner_settings as role_settings
from launch.composition import compose_config
from learner.learner import Learner, LearnerSettings
from learner.objective import Objective
from learner.rollout import TrainSequence

VOCABULARY_SIZE = 97
MODEL_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
"""Arguments of ``Qwen3Config``: sizes and special tokens of the tiny models of all tests."""


@contextmanager
def one_rank_group(folder: Path, backend: str = "gloo") -> Iterator[None]:
    """Make this process the only rank of a process group, whose file store lies in the empty ``folder``."""
    store = dist.FileStore(str(folder / "store"), 1)
    dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def make_sequence(
    response: Sequence[int] = (11, 12, 13),
    prompt: Sequence[int] = (5, 6),
    advantage: float = 1.0,
    temperature: float = 1.0,
    sampler_logprob: float = -4.0,
) -> TrainSequence:
    """Return a training sequence.

    Args:
        response: response token ids.
        prompt: prompt token ids.
        advantage: advantage of the whole response.
        temperature: sampling temperature.
        sampler_logprob: the sampler's log-prob of every response token.
    """
    return TrainSequence(
        token_ids=np.array([*prompt, *response], dtype=np.int64),
        prompt_length=len(prompt),
        sampler_logprobs=np.full(len(response), sampler_logprob, dtype=np.float32),
        temperature=temperature,
        advantage=advantage,
    )


def make_sequences(advantages: Sequence[float], seed: int = 0, temperature: float = 0.7) -> list[TrainSequence]:
    """Return a random sequence per advantage, with a prompt of 2 to 5 tokens and a response of 1 to 12 tokens."""
    generator = np.random.default_rng(seed)
    return [
        make_sequence(
            response=generator.integers(3, VOCABULARY_SIZE, generator.integers(1, 13)).tolist(),
            prompt=generator.integers(3, VOCABULARY_SIZE, generator.integers(2, 6)).tolist(),
            advantage=advantage,
            temperature=temperature,
            sampler_logprob=float(generator.normal(-4.5, 0.3)),
        )
        for advantage in advantages
    ]


def make_tiny_qwen3(seed: int = 0, **changes: Any) -> Qwen3ForCausalLM:
    """Return a float32 Qwen3 of ``MODEL_SHAPE`` with random weights; ``changes`` are arguments of ``Qwen3Config``."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(Qwen3Config(**({**MODEL_SHAPE, "initializer_range": 0.05} | changes)))


def save_tiny_model(path: Path, tied: bool = True, layers: int = 2, seed: int = 0) -> Path:
    """Save a random Qwen3 (width 64, vocabulary 97) and its word-level tokenizer to ``path``; return ``path``.

    Args:
        path: checkpoint folder.
        tied: tie the input and output embeddings.
        layers: number of decoder layers.
        seed: seed of the random weights.
    """
    make_tiny_qwen3(seed, tie_word_embeddings=tied, num_hidden_layers=layers).save_pretrained(path)
    words = {"<pad>": 0, "<unk>": 1, "<eos>": 2} | {f"w{index}": index for index in range(3, VOCABULARY_SIZE)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>")
    fast.save_pretrained(path)
    return path


@functools.cache
def default_config() -> Config:
    """Return the default configuration, without an experiment."""
    return compose_config()


def make_learner_settings(path: Path, **changes: Any) -> LearnerSettings:
    """Return the default settings of a CPU rank for the model at ``path``, without gradient clipping and warm-up."""
    values: dict[str, Any] = {
        "attention": "sdpa",
        "learning_rate": 1e-3,
        "warmup_updates": 0,
        "total_updates": 100,
        "max_skipped_updates": 3,
        "skipped_folder": str(path / "skipped_updates"),
        "grad_clip": 1e6,
        "micro_batch_tokens": 40,
        "objective": make_objective(),
    }
    return replace(role_settings.make_learner_settings(default_config(), path), **(values | changes))


def make_objective(**changes: Any) -> Objective:
    """Return the default objective for responses of up to 16 tokens; ``changes`` are fields of ``Objective``."""
    return replace(role_settings.make_objective(default_config()), **({"max_response_tokens": 16} | changes))


def compute_gradients(learner: Learner, sequences: Sequence[TrainSequence]) -> dict[str, torch.Tensor]:
    """Return the unsharded gradients of one mini-batch at the current policy (ratio 1), by parameter name.

    A collective operation: every rank must call it.
    """
    learner.optimizer.zero_grad()
    reference = None if learner.reference is None else learner.compute_logprobs(sequences, learner.reference).logprobs
    learner.accumulate_gradients(sequences, learner.compute_logprobs(sequences).logprobs, reference)
    gradients = {}
    for name, parameter in learner.policy.named_parameters():
        assert parameter.grad is not None, f"no gradient for {name}"
        gradient = parameter.grad
        gradients[name] = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient.clone()
    learner.optimizer.zero_grad()
    return gradients
