"""Models of Qwen3's shapes with random weights, a learner of one rank, and batches of uneven responses."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.distributed.device_mesh import DeviceMesh
from transformers import Qwen3Config, Qwen3ForCausalLM

from benchmarks.gpu_check.measuring import Device
from learner.attention_choice import choose_attention
from learner.clipped_surrogate import Clip
from learner.learner import Learner, LearnerSettings
from learner.model_loading import PolicySettings, compile_layers, shard_policy
from learner.objective import Objective
from learner.policy import Policy
from learner.rollout import TrainSequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of a Qwen3 model whose input and output embeddings are tied."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    groups: int
    head_dim: int
    vocabulary: int


SHAPES = {
    "tiny": Shape(hidden=64, intermediate=128, layers=2, heads=4, groups=2, head_dim=16, vocabulary=512),
    "0.6B": Shape(hidden=1024, intermediate=3072, layers=28, heads=16, groups=8, head_dim=128, vocabulary=151_936),
    "1.7B": Shape(hidden=2048, intermediate=6144, layers=28, heads=16, groups=8, head_dim=128, vocabulary=151_936),
    "4B": Shape(hidden=2560, intermediate=9728, layers=36, heads=32, groups=8, head_dim=128, vocabulary=151_936),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerOptions:
    """Options of the learner that are varied; the fields have the names of the configuration's keys."""

    attention: str = "auto"
    dtype: str
    micro_batch_tokens: int
    activation_checkpointing: bool
    compile: bool = False


def build_learner(shape: Shape, device: Device, options: LearnerOptions) -> Learner:
    """Build a learner of one rank whose model has random weights, so that nothing is read from disk."""

    def load(settings: PolicySettings, mesh: DeviceMesh) -> Policy:
        torch.manual_seed(0)
        with torch.device(settings.device):
            model = Qwen3ForCausalLM(
                Qwen3Config(
                    vocab_size=shape.vocabulary,
                    hidden_size=shape.hidden,
                    intermediate_size=shape.intermediate,
                    num_hidden_layers=shape.layers,
                    num_attention_heads=shape.heads,
                    num_key_value_heads=shape.groups,
                    head_dim=shape.head_dim,
                    max_position_embeddings=65_536,
                    tie_word_embeddings=True,
                )
            ).float()
        model.set_attn_implementation(choose_attention(settings.attention, settings.device, settings.compute_dtype))
        if settings.checkpoint_activations:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if settings.compile_layers:
            compile_layers(model)
        policy = Policy(model.train())
        shard_policy(policy, mesh, settings.compute_dtype)
        return policy

    return Learner(make_settings(device, options), load)


def make_settings(device: Device, options: LearnerOptions) -> LearnerSettings:
    """Make the settings of the reference run, with the given options."""
    return LearnerSettings(
        model_path="random weights",
        attention=options.attention,
        compute_dtype=options.dtype,
        device=device.torch_device.type,
        learning_rate=1e-6,
        warmup_updates=0,
        decay="constant",
        total_updates=1000,
        max_skipped_updates=5,
        skipped_folder=str(Path(tempfile.gettempdir(), "gpu_check_skipped")),
        betas=(0.9, 0.95),
        weight_decay=0.0,
        grad_clip=1.0,
        micro_batch_tokens=options.micro_batch_tokens,
        sync_every_micro_batch=True,
        activation_checkpointing=options.activation_checkpointing,
        compile_layers=options.compile,
        objective=Objective(
            aggregation="token_mean",
            clip=Clip(0.2, 0.28, None),
            kl_weight=0.0,
            mismatch_cap=2.0,
            max_response_tokens=4096,
        ),
        seed=0,
    )


def make_batch(shape: Shape, tokens: int, shortest: int) -> list[TrainSequence]:
    """Make sequences of about ``tokens`` together: prompts of ``shortest`` tokens, responses up to 8 times as long."""
    random = np.random.default_rng(0)
    sequences: list[TrainSequence] = []
    total = 0
    while total < tokens:
        response = int(shortest * 8 ** random.random())
        sequences.append(make_sequence(shape, random, shortest, response, 1.0 if len(sequences) % 2 else -0.5))
        total += shortest + response
    return sequences


def make_sequence(
    shape: Shape, random: np.random.Generator, prompt: int, response: int, advantage: float = 1.0
) -> TrainSequence:
    """Make a sequence of random tokens with a prompt and a response of the given lengths."""
    return TrainSequence(
        token_ids=random.integers(3, shape.vocabulary, prompt + response),
        prompt_length=prompt,
        sampler_logprobs=np.full(response, -np.log(shape.vocabulary), np.float32),
        temperature=1.0,
        advantage=advantage,
    )


def read_old_logprobs(batch: Sequence[TrainSequence]) -> list[torch.Tensor]:
    """Return the sampler's log-probs of each sequence, in place of old log-probs."""
    return [torch.from_numpy(sequence.sampler_logprobs) for sequence in batch]
