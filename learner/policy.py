"""The policy: a Hugging Face causal LM, sharded with FSDP2, that returns log-probs of given tokens."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from learner.packing import MicroBatch
from learner.segment_attention import SEGMENT_ATTENTION
from learner.token_logprobs import token_logprobs

FLASH_ATTENTION = "flash_attention_2"


def choose_attention(attention: str, device: torch.device) -> str:
    """transformers' name of what ``attention`` asks for.

    ``auto`` is flash-attn where it imports and the device is CUDA, else, like ``sdpa``, torch's scaled-dot-product
    attention over one packed sequence at a time.
    """
    available = device.type == "cuda" and importlib.util.find_spec("flash_attn") is not None
    flash = available if attention == "auto" else attention == FLASH_ATTENTION
    return FLASH_ATTENTION if flash else SEGMENT_ATTENTION


class Policy(nn.Module):
    """Wraps the model so that one forward call, under one FSDP root, goes from packed token ids to log-probs.

    Raises ValueError for a model whose attention is none of ``choose_attention``'s.
    """

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        attention = model.config._attn_implementation
        if attention not in (SEGMENT_ATTENTION, FLASH_ATTENTION):
            raise ValueError(
                f"attention {attention!r} would let packed sequences see each other or build a dense mask: "
                "call model.set_attn_implementation(choose_attention(...)) first"
            )
        self.model = model

    def forward(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies [N] float32 of the micro-batch's response tokens at their temperatures."""
        states = self.model.base_model(
            input_ids=batch.input_ids[None],
            position_ids=batch.position_ids[None],
            use_cache=False,
            **self._segments(batch),
        ).last_hidden_state
        head = self.model.get_output_embeddings()
        return token_logprobs(states[0, batch.rows], head.weight, head.bias, batch.targets, batch.temperatures)

    def _segments(self, batch: MicroBatch) -> dict[str, Any]:
        """Where sequences end, as the model's attention wants to be told; every layer hands it on."""
        if self.model.config._attn_implementation == SEGMENT_ATTENTION:
            return {"lengths": batch.lengths}
        ends = torch.tensor((0, *batch.lengths), device=batch.input_ids.device).cumsum(0, dtype=torch.int32)
        longest = max(batch.lengths)
        return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


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


def sync_gradients(policy: Policy, now: bool) -> None:
    """Whether the next backward pass of the sharded ``policy`` reduces gradients over ranks to this rank's shard.

    Without, each rank goes on with gradients of all parameters in float32, 4 bytes a parameter instead of 4 / ranks.
    """
    assert isinstance(policy, FSDPModule)
    policy.set_requires_gradient_sync(now)
    policy.set_is_last_backward(now)


def publication_order(policy: Policy) -> list[tuple[str, nn.Parameter]]:
    """Parameters under their checkpoint names, a tied output embedding once, as they go to generators.

    The input embedding comes last: it is the largest, and an engine loads layers while it travels.
    """
    embedding = policy.model.get_input_embeddings().weight
    return sorted(policy.model.named_parameters(), key=lambda named: named[1] is embedding)


def iterate_parameters(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Whole parameters in ``publication_order``, gathered one at a time.

    Each may be the parameter itself: do not change it. Collective: every rank must go through all of it.
    """
    for name, parameter in publication_order(policy):
        data = parameter.detach()
        if isinstance(data, DTensor):
            # The one shard of one rank is the parameter: nothing to gather, nothing to copy.
            data = data.to_local() if data.device_mesh.size() == 1 else data.full_tensor()
        yield name, data


def full_parameters(policy: Policy) -> dict[str, Tensor]:
    """Whole parameters on the CPU under their checkpoint names; a tied output embedding appears once.

    Collective: every rank must call it.
    """
    whole = {}
    for name, parameter in policy.model.named_parameters():
        data = parameter.detach()
        whole[name] = (data.full_tensor() if isinstance(data, DTensor) else data).cpu()
    return whole
