"""A tiny random model, training sequences for it, its gradients, and a process group of one rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.distributed.tensor import DTensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from learner.clipped_surrogate import Clip
from learner.learner import Learner, LearnerSettings
from learner.objective import Objective
from learner.rollout import TrainSequence

VOCABULARY = 97


@contextmanager
def one_rank_group(folder: Path) -> Iterator[None]:
    """Make this process the only rank of a gloo group; ``folder`` must be empty."""
    store = dist.FileStore(str(folder / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def sequence(
    response: Sequence[int] = (11, 12, 13),
    prompt: Sequence[int] = (5, 6),
    advantage: float = 1.0,
    temperature: float = 1.0,
    sampler: float = -4.0,
) -> TrainSequence:
    """A training sequence; ``sampler`` is the sampler's log-prob of every token."""
    return TrainSequence(
        token_ids=np.array([*prompt, *response], dtype=np.int64),
        prompt_length=len(prompt),
        sampler_logprobs=np.full(len(response), sampler, dtype=np.float32),
        temperature=temperature,
        advantage=advantage,
    )


def sequences_of(advantages: Sequence[float], seed: int = 0, temperature: float = 0.7) -> list[TrainSequence]:
    """Random sequences of different lengths (prompts of 2 to 5 tokens, responses of 1 to 12)."""
    generator = np.random.default_rng(seed)
    return [
        sequence(
            response=generator.integers(3, VOCABULARY, generator.integers(1, 13)).tolist(),
            prompt=generator.integers(3, VOCABULARY, generator.integers(2, 6)).tolist(),
            advantage=advantage,
            temperature=temperature,
            sampler=float(generator.normal(-4.5, 0.3)),
        )
        for advantage in advantages
    ]


def tiny_model(path: Path, tied: bool = True, layers: int = 2, seed: int = 0) -> Path:
    """A random Qwen3 of width 64 and vocabulary 97 with a word-level tokenizer, saved to ``path``."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=96,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        initializer_range=0.05,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=2,
    )
    Qwen3ForCausalLM(config).save_pretrained(path)
    words = {"<pad>": 0, "<unk>": 1, "<eos>": 2} | {f"w{index}": index for index in range(3, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>")
    fast.save_pretrained(path)
    return path


def learner_settings(path: Path, **changes: Any) -> LearnerSettings:
    """Settings of a rank on CPU; no clipping of gradients, no warm-up."""
    values: dict[str, Any] = {
        "model_path": str(path),
        "attention": "sdpa",
        "compute_dtype": "float32",
        "device": "cpu",
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "decay": "constant",
        "total_updates": 100,
        "max_skipped_updates": 3,
        "skipped_folder": str(path / "skipped_updates"),
        "betas": (0.9, 0.95),
        "weight_decay": 0.0,
        "grad_clip": 1e6,
        "micro_batch_tokens": 40,
        "sync_every_micro_batch": True,
        "activation_checkpointing": False,
        "objective": objective(),
        "seed": 0,
    }
    return LearnerSettings(**(values | changes))


def objective(**changes: Any) -> Objective:
    """The method's, for responses of up to 16 tokens."""
    values: dict[str, Any] = {
        "aggregation": "token_mean",
        "clip": Clip(0.2, 0.28, None),
        "kl_weight": 0.0,
        "mismatch_cap": 2.0,
        "max_response_tokens": 16,
    }
    return Objective(**(values | changes))


def gradients(learner: Learner, sequences: Sequence[TrainSequence]) -> dict[str, torch.Tensor]:
    """Whole gradients of one mini-batch at the present policy (ratio 1), by parameter name. Collective."""
    learner.optimizer.zero_grad()
    reference = None if learner.reference is None else learner.logprobs(sequences, learner.reference).logprobs
    learner.accumulate_gradients(sequences, learner.logprobs(sequences).logprobs, reference)
    found = {}
    for name, parameter in learner.policy.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.full_tensor() if isinstance(parameter.grad, DTensor) else parameter.grad.clone()
    learner.optimizer.zero_grad()
    return found
