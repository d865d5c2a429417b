"""The policy: a Hugging Face causal LM, sharded with FSDP2, whose forward pass returns log-probs of given tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from learner.attention_choice import FLASH_ATTENTION
from learner.attention_choice import choose_attention as choose_attention  # part of this module's interface
from learner.packing import MicroBatch
from learner.segment_attention import SEGMENT_ATTENTION
from learner.token_logprobs import token_logprobs
from learner.varlen_attention import VARLEN_ATTENTION

PACKED_ATTENTION = (SEGMENT_ATTENTION, VARLEN_ATTENTION, FLASH_ATTENTION)
"""Attention implementations that confine attention to the sequences of a packed row."""


class Policy(nn.Module):
    """A causal LM whose forward pass, under one FSDP root, maps packed token ids to log-probs.

    Raises:
        ValueError: if the model's attention is none of ``PACKED_ATTENTION``.
    """

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        attention = model.config._attn_implementation
        if attention not in PACKED_ATTENTION:
            raise ValueError(
                f"attention {attention!r} would let packed sequences attend to each other or build a dense mask: "
                "call model.set_attn_implementation(choose_attention(...)) first"
            )
        self.model = model

    def forward(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Return log-probs and entropies, [N] float32 each, of the response tokens at their temperatures."""
        states = self.model.base_model(
            input_ids=batch.input_ids[None],
            position_ids=batch.position_ids[None],
            use_cache=False,
            **self._attention_arguments(batch),
        ).last_hidden_state
        head = self.model.get_output_embeddings()
        return token_logprobs(states[0, batch.rows], head.weight, head.bias, batch.targets, batch.temperatures)

    def _attention_arguments(self, batch: MicroBatch) -> dict[str, Any]:
        """Boundaries of the packed sequences, as arguments that every layer passes on to the model's attention."""
        if self.model.config._attn_implementation == SEGMENT_ATTENTION:
            return {"lengths": torch.tensor(batch.lengths)}
        ends = torch.tensor((0, *batch.lengths), device=batch.input_ids.device).cumsum(0, dtype=torch.int32)
        longest = max(batch.lengths)
        return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


def set_gradient_sync(policy: Policy, enabled: bool) -> None:
    """Set whether the next backward pass of a sharded policy reduces gradients over ranks to each rank's shard.

    Without the reduction, each rank keeps accumulating float32 gradients of all parameters: 4 bytes per parameter
    instead of 4 / ranks.
    """
    assert isinstance(policy, FSDPModule)
    policy.set_requires_gradient_sync(enabled)
    policy.set_is_last_backward(enabled)


def list_published_parameters(policy: Policy) -> list[tuple[str, nn.Parameter]]:
    """List the parameters with their checkpoint names in the order in which they are sent to generators.

    A tied output embedding is listed once. The input embedding comes last: it is the largest parameter, and an engine
    loads the layers while it is being sent.
    """
    embedding = policy.model.get_input_embeddings().weight
    return sorted(policy.model.named_parameters(), key=lambda named: named[1] is embedding)


def iterate_parameters(policy: Policy, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Yield full parameters in ``dtype`` with their names, gathered one at a time.

    Their order is that of ``list_published_parameters``. Each rank converts its shard before it is gathered, so that
    16-bit weights take half of the traffic. A yielded tensor may be the parameter itself: do not modify it. Collective:
    every rank must exhaust the iterator.
    """
    for name, parameter in list_published_parameters(policy):
        data = parameter.detach().to(dtype)
        if isinstance(data, DTensor):
            # With one rank, its shard is the full parameter: no gathering and no copy is needed.
            data = data.to_local() if data.device_mesh.size() == 1 else data.full_tensor()
        yield name, data


def gather_parameters(policy: Policy, dtype: torch.dtype = torch.float32, keep: bool = True) -> dict[str, Tensor]:
    """Gather the full parameters on the CPU in ``dtype``, by checkpoint name; a tied output embedding appears once.

    A rank that does not ``keep`` them takes part in the gathering and returns nothing, so that it never holds more than
    one. Collective: every rank must call it.
    """
    gathered = {name: data.cpu() if keep else None for name, data in iterate_parameters(policy, dtype)}
    return {name: data for name, data in gathered.items() if data is not None}


def attention_work(policy: Policy) -> float:
    """Work of one token's attention to one position, in units of the other work of a token.

    Counted in multiplications: with H heads of D numbers, a causal layer needs 2 H D for each pair of a token and an
    earlier position, which is half of all pairs; everything else needs one for each parameter but the input embedding.
    """
    config = policy.model.config.get_text_config()
    embedding = policy.model.get_input_embeddings().weight
    head_is_separate = policy.model.get_output_embeddings().weight is not embedding
    parameters = sum(parameter.numel() for parameter in policy.model.parameters())
    others = parameters - (embedding.numel() if head_is_separate else 0)
    head_dim = config.to_dict().get("head_dim")  # without one, an architecture divides its hidden size by the heads
    width = config.num_attention_heads * head_dim if head_dim else config.hidden_size
    return float(config.num_hidden_layers * width / others)
