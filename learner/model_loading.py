"""Loading of a Hugging Face checkpoint into a sharded policy: each rank reads only its own rows of each tensor.

    build on the meta device ──► shard with FSDP2 ──► allocate the shards ──► read their rows from safetensors files

So no rank ever holds more than its shard and one tensor. It needs files that have every parameter under the model's own
name and in its shape. For other checkpoints (architectures that transformers converts while it loads, other file
formats) each rank loads the whole model first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from learner.attention_choice import choose_attention
from learner.policy import Policy

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySettings:
    """Settings of a policy on one rank.

    Attributes:
        path: folder of a Hugging Face checkpoint.
        attention: as for ``learner.attention_choice.choose_attention``.
        device: device of this rank's shard.
        compute_dtype: dtype of the computation; master weights and reductions of gradients are float32.
        checkpoint_activations: recompute activations in the backward pass instead of keeping them.
        compile_layers: compile the decoder layers with torch.compile.
    """

    path: Path
    attention: str
    device: torch.device
    compute_dtype: torch.dtype
    checkpoint_activations: bool
    compile_layers: bool


def load_policy(settings: PolicySettings, mesh: DeviceMesh) -> Policy:
    """Load a policy with float32 master weights, sharded over the ranks of ``mesh``. Collective.

    Raises:
        OSError: the folder has no readable checkpoint.
        AttentionUnavailable: the attention does not work on the device.
    """
    attention = choose_attention(settings.attention, settings.device, settings.compute_dtype)
    model = _build_on_meta(settings.path, attention)
    files = find_tensor_files(settings.path)
    by_rows = _has_every_tensor(model, files)
    if not by_rows:
        model = AutoModelForCausalLM.from_pretrained(
            settings.path, dtype=torch.float32, attn_implementation=attention
        ).to(settings.device)
    if settings.checkpoint_activations:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if settings.compile_layers:
        compile_layers(model)
    model.train()
    policy = Policy(model)
    shard_policy(policy, mesh, settings.compute_dtype)
    if by_rows:
        _allocate(policy, settings.device)
        _read_rows(model, files)
    return policy


def compile_layers(model: Any) -> None:
    """Compile what is inside each decoder layer; FSDP2's hooks and the checkpointing of activations stay around it."""
    for layer in model.base_model.layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)


def shard_policy(policy: Policy, mesh: DeviceMesh, compute_dtype: torch.dtype) -> None:
    """Shard the policy with FSDP2: one unit per decoder layer, everything else in the root unit.

    Computation runs in ``compute_dtype``, gradient reductions in float32.
    """
    precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32)
    for layer in policy.model.base_model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(policy, mesh=mesh, mp_policy=precision)


def find_tensor_files(path: Path) -> dict[str, Path]:
    """Map the name of each tensor in the safetensors files of ``path`` to its file; empty if there are none."""
    if (path / INDEX).is_file():
        names: dict[str, str] = json.loads((path / INDEX).read_text())["weight_map"]
        return {name: path / file for name, file in names.items()}
    if not (path / WEIGHTS).is_file():
        return {}
    with safe_open(path / WEIGHTS, framework="pt") as tensors:
        return dict.fromkeys(tensors.keys(), path / WEIGHTS)


def read_rows(file: Path, name: str, start: int, stop: int) -> Tensor:
    """Read rows ``start`` to ``stop`` of a tensor; a scalar or vector has one row per element.

    The file is opened anew for each tensor: what has been read of an open file counts as this process's memory.
    """
    with safe_open(file, framework="pt") as tensors:
        rows: Tensor = tensors.get_slice(name)[start:stop]
        return rows


def _build_on_meta(path: Path, attention: str) -> Any:
    """Build the model without allocating its parameters. Its buffers, which no file has, are real."""
    # Imported here: benchmarks/gpu_check, which builds its models another way, runs where accelerate is not installed.
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(path), dtype=torch.float32, attn_implementation=attention
        )
    model.tie_weights()
    if (path / GENERATION_CONFIG).is_file():
        model.generation_config = GenerationConfig.from_pretrained(path)
    return model


def _has_every_tensor(model: nn.Module, files: Mapping[str, Path]) -> bool:
    """Return True if the files have every parameter, in its shape, and there is nothing else to load."""
    parameters = dict(model.named_parameters())
    buffers = {name for name, _ in model.named_buffers()}
    if not parameters.keys() <= files.keys() or buffers & model.state_dict().keys():
        return False
    for name, parameter in parameters.items():
        with safe_open(files[name], framework="pt") as tensors:
            if tuple(tensors.get_slice(name).get_shape()) != tuple(parameter.shape):
                return False
    return True


def _allocate(policy: Policy, device: torch.device) -> None:
    """Allocate the shards of a policy that is sharded on the meta device; keep its buffers."""
    buffers = {name: buffer.clone() for name, buffer in policy.named_buffers()}
    policy.to_empty(device=device)
    for name, buffer in policy.named_buffers():
        buffer.copy_(buffers[name])


def _read_rows(model: nn.Module, files: Mapping[str, Path]) -> None:
    """Fill each parameter's shard with this rank's rows."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            assert isinstance(parameter, DTensor)
            shard = parameter.to_local()
            # FSDP2 splits the rows as torch.chunk does: all chunks but the last ones have the same number.
            rows = -(-len(parameter) // parameter.device_mesh.size())
            start = min(parameter.device_mesh.get_local_rank() * rows, len(parameter))
            shard.copy_(read_rows(files[name], name, start, start + len(shard)))
