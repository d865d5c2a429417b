"""The policy: a Hugging Face causal LM, sharded with FSDP2, that returns log-probs of given tokens."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from learner.micro_batch import MicroBatch
from learner.token_logprobs import token_logprobs


def choose_attention(attention: str, device: torch.device) -> str:
    """``auto`` is flash-attn where it imports and the device is CUDA, else torch's scaled-dot-product attention."""
    if attention != "auto":
        return attention
    flash = device.type == "cuda" and importlib.util.find_spec("flash_attn") is not None
    return "flash_attention_2" if flash else "sdpa"


class Policy(nn.Module):
    """Wraps the model so that one forward call, under one FSDP root, goes from token ids to log-probs."""

    model: Any

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies [N] float32 of the micro-batch's response tokens at their temperatures."""
        states = self.model.base_model(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        head = self.model.get_output_embeddings()
        chosen = states.flatten(0, 1)[batch.rows]
        return token_logprobs(chosen, head.weight, head.bias, batch.targets, batch.temperatures)


def load_policy(path: str, attention: str, device: torch.device, checkpoint_activations: bool) -> Policy:
    """Load a checkpoint with float32 master weights onto ``device``.

    Raises OSError when ``path`` holds no readable checkpoint.
    """
    model = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=torch.float32,
        attn_implementation=choose_attention(attention, device),
    ).to(device)
    if checkpoint_activations:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return Policy(model)


def shard_policy(policy: Policy, mesh: DeviceMesh, compute_dtype: torch.dtype) -> None:
    """FSDP2: every decoder layer is a unit of its own, the rest belongs to the root; reductions stay float32."""
    precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32)
    for layer in policy.model.base_model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(policy, mesh=mesh, mp_policy=precision)


def full_parameters(policy: Policy) -> dict[str, Tensor]:
    """Whole parameters on the CPU under their checkpoint names; a tied output embedding appears once.

    Collective: every rank must call it.
    """
    whole = {}
    for name, parameter in policy.model.named_parameters():
        data = parameter.detach()
        whole[name] = (data.full_tensor() if isinstance(data, DTensor) else data).cpu()
    return whole
