"""Placement plan: where the actors of each role run and how much they take, checked before any actor starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import psutil
import torch

from actors.evaluators.actor import EVALUATOR_RESOURCE
from conf.schema import Config
from evaluator.errors import UserError
from launch.cluster.memory_plan import (
    ASSUMED_GPU_GIB,
    GIB,
    Parts,
    count_cached_sequences,
    plan_engine_memory,
    plan_rank_memory,
)
from launch.cluster.model_shape import ModelShape

ENGINE_GIB = 1.6
"""Resident memory of an idle vLLM engine without weights and cache: its two processes import torch and vLLM."""
PROCESS_GIB = 0.8
"""Resident memory of an actor process that imported torch."""
SANDBOX_GIB = 0.06
"""Resident memory of an idle sandbox of an evaluator."""

GENERATOR = "generator"
LEARNER_RANK = "learner rank"


class PlacementError(UserError, RuntimeError):
    """The machine or cluster cannot run the plan. The message has one line per problem."""


def raise_placement_errors(problems: Sequence[str]) -> None:
    """Raise PlacementError with one line per problem; do nothing if there are no problems."""
    if problems:
        raise PlacementError("\n".join(problems))


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Resources of this machine, or of a running cluster.

    Attributes:
        cpus: Ray CPUs.
        gpus: GPUs.
        free_gib: free memory of this machine in GiB; None for a running cluster.
        gpu_gib: memory of a GPU in GiB; None if it is unknown.
    """

    cpus: float
    gpus: float
    free_gib: float | None
    gpu_gib: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RolePlan:
    """Placement plan of the actors of one role.

    Attributes:
        name: name of the role.
        count: number of actors.
        device: "cpu" or "cuda".
        cpus: Ray CPUs per actor.
        gpus: GPUs per actor.
        memory: (purpose, GiB) pairs: host memory per actor on CPU, memory per GPU on CUDA.
        cached_sequences: sequences of the greatest length that an engine's KV cache holds; None on CPU.
        remark: what the memory is enough for.
    """

    name: str
    count: int
    device: str
    cpus: float
    gpus: float
    memory: Parts
    cached_sequences: int | None = None
    remark: str = ""

    @property
    def memory_gib(self) -> float:
        """Memory per actor in GiB; on CUDA per GPU."""
        return sum(size for _, size in self.memory)


def resolve_devices(config: Config, resources: Resources) -> Config:
    """Replace every ``device: auto`` by CUDA if ``resources`` have a GPU, otherwise by CPU.

    The driver's own node does not decide: it may be a head node without GPUs.

    Raises:
        PlacementError: ``generator.tensor_parallel`` needs GPUs, but there are none; or deterministic mode would run on
            GPUs, where it is not deterministic.
    """
    device: Literal["cuda", "cpu"] = "cuda" if resources.gpus > 0 else "cpu"
    generator = config.generator
    learner = config.learner
    if generator.device == "auto":
        if device == "cpu" and generator.tensor_parallel > 1:
            raise PlacementError(
                f"generator.tensor_parallel={generator.tensor_parallel} needs GPUs, and there is none: set it to 1, or "
                "run on a machine or cluster with GPUs"
            )
        generator = replace(generator, device=device)
    if learner.device == "auto":
        learner = replace(learner, device=device)
    on_gpus = [name for name, role in (("generator", generator), ("learner", learner)) if role.device == "cuda"]
    if config.run.deterministic and on_gpus:
        raise PlacementError(
            f"run.deterministic=true with {' and '.join(f'{name}.device=cuda' for name in on_gpus)}: on GPUs, tokens "
            "depend on how an engine batches them, and gradients on the order of atomic additions; set "
            "run.deterministic=false, or both devices to cpu"
        )
    return replace(config, generator=generator, learner=learner)


def get_gpu_gib(config: Config, resources: Resources | None = None) -> float:
    """Return the memory of a GPU in GiB: as configured, else as measured, else ``ASSUMED_GPU_GIB``."""
    measured = None if resources is None else resources.gpu_gib
    return config.cluster.gpu_memory_gib or measured or ASSUMED_GPU_GIB


def plan_roles(config: Config, model: ModelShape, gpu_gib: float) -> list[RolePlan]:
    """Plan the actors of a training run.

    Args:
        config: configuration without ``device: auto`` (see ``resolve_devices``).
        model: shape of the model, from which memory is estimated.
        gpu_gib: memory of a GPU in GiB, as from ``get_gpu_gib``.
    """
    evaluator = config.evaluator
    assert "auto" not in (config.generator.device, config.learner.device), "call resolve_devices first"
    return [
        _plan_generators(config, model, gpu_gib),
        RolePlan(
            name="evaluator",
            count=evaluator.max_actors,
            device="cpu",
            cpus=evaluator.cpus,
            gpus=0,
            memory=(
                ("process", PROCESS_GIB),
                ("sandboxes", evaluator.workers * SANDBOX_GIB),
                ("programs, at most", evaluator.workers * evaluator.memory_mb / 1024),
            ),
        ),
        _plan_ranks(config, model),
    ]


def _plan_generators(config: Config, model: ModelShape, gpu_gib: float) -> RolePlan:
    generator = config.generator
    on_gpu = generator.device == "cuda"
    memory: Parts
    sequences: int | None = None
    remark = ""
    if on_gpu:
        memory = plan_engine_memory(model, config, gpu_gib)
        tokens, sequences = count_cached_sequences(model, config, gpu_gib)
        longest = generator.max_prompt_tokens + generator.max_response_tokens
        remark = (
            f"the KV cache of an engine holds {tokens:,} tokens: {sequences} sequences of {longest:,} tokens "
            f"(generator.max_sequences={generator.max_sequences}), on GPUs of {gpu_gib:.0f} GiB"
        )
    else:
        weight_bytes = 4 if config.model.dtype == "float32" else 2
        memory = (
            ("weights", model.parameters * weight_bytes / GIB),
            ("KV cache", generator.kv_cache_gib),
            ("engine", ENGINE_GIB),
        )
    return RolePlan(
        name=GENERATOR,
        count=generator.actors,
        device=generator.device,
        cpus=generator.cpus,
        gpus=generator.tensor_parallel if on_gpu else 0,
        memory=memory,
        cached_sequences=sequences,
        remark=remark,
    )


def _plan_ranks(config: Config, model: ModelShape) -> RolePlan:
    learner = config.learner
    shard_gib = model.parameters / learner.ranks / GIB
    on_gpu = learner.device == "cuda"
    memory: Parts = (
        ("float32 weights", shard_gib * 4),
        ("gradients", shard_gib * 4),
        ("AdamW moments", shard_gib * 8),
        ("float32 reference", shard_gib * 4 if config.algorithm.kl_weight > 0 else 0.0),
        ("process", PROCESS_GIB),
    )
    return RolePlan(
        name=LEARNER_RANK,
        count=learner.ranks,
        device=learner.device,
        cpus=learner.cpus,
        gpus=1 if on_gpu else 0,
        memory=plan_rank_memory(model, config) if on_gpu else memory,
    )


def find_missing_resources(roles: list[RolePlan], config: Config, resources: Resources) -> list[str]:
    """Return one message per resource that the plan needs more of than there is, each with the key to change."""
    missing = []
    is_local = config.cluster.address is None
    place = "this machine" if is_local else f"the cluster at {config.cluster.address}"
    gpus = sum(role.count * role.gpus for role in roles)
    if gpus > resources.gpus:
        missing.append(
            f"the plan needs {gpus:g} GPUs, but {place} has {resources.gpus:g}: set generator.device=cpu "
            "learner.device=cpu, lower generator.actors x generator.tensor_parallel + learner.ranks, or "
            f"{'set cluster.address to a larger cluster' if is_local else 'add nodes to the cluster'}"
        )
    cpus = sum(role.count * role.cpus for role in roles)
    if cpus > resources.cpus:
        missing.append(
            f"the plan needs {cpus:g} CPUs, but {place} has {resources.cpus:g}: lower generator.cpus, evaluator.cpus x "
            "evaluator.max_actors or learner.cpus, or "
            f"{'set cluster.num_cpus' if is_local else 'add nodes to the cluster'}"
        )
    missing += find_missing_gpu_memory(roles, config, get_gpu_gib(config, resources))
    # Host memory only: roles on GPUs keep their weights elsewhere, and a running cluster cannot be measured from here.
    on_host = [role for role in roles if role.device == "cpu"]
    needed_gib = sum(role.count * role.memory_gib for role in on_host) + config.cluster.object_store_mb / 1024
    if resources.free_gib is not None and needed_gib > resources.free_gib:
        largest = max(on_host, key=lambda role: role.count * role.memory_gib)
        missing.append(
            f"the plan needs {needed_gib:.1f} GiB of memory, but {resources.free_gib:.1f} GiB are free; "
            f"{largest.count} x {largest.name} needs most: choose a smaller model, or lower generator.kv_cache_gib or "
            "evaluator.workers x evaluator.memory_mb"
        )
    return missing


def find_missing_gpu_memory(roles: list[RolePlan], config: Config, gpu_gib: float) -> list[str]:
    """Return one message per role that does not fit into the memory of its GPUs, each with the keys to change."""
    missing = []
    by_name = {role.name: role for role in roles if role.device == "cuda"}
    rank = by_name.get(LEARNER_RANK)
    if rank is not None and rank.memory_gib > gpu_gib:
        largest = max(rank.memory, key=lambda part: part[1])
        missing.append(
            f"a learner rank needs about {rank.memory_gib:.0f} GiB of GPU memory ({largest[0]}: {largest[1]:.0f}), but "
            f"a GPU has {gpu_gib:.0f}: set learner.activation_checkpointing=true, lower learner.micro_batch_tokens, "
            "raise learner.ranks, or set cluster.gpu_memory_gib if the GPUs have more"
        )
    engine = by_name.get(GENERATOR)
    generator = config.generator
    longest = generator.max_prompt_tokens + generator.max_response_tokens
    if engine is not None and dict(engine.memory)["KV cache"] <= 0:
        missing.append(
            f"an engine's weights leave no room for a KV cache in generator.gpu_memory_fraction="
            f"{generator.gpu_memory_fraction:g} of {gpu_gib:.0f} GiB: raise it or generator.tensor_parallel"
        )
    elif engine is not None and engine.cached_sequences == 0:
        missing.append(
            f"the KV cache of an engine holds no sequence of {longest:,} tokens: raise generator.gpu_memory_fraction "
            "or generator.tensor_parallel, or lower generator.max_prompt_tokens or generator.max_response_tokens"
        )
    return missing


def count_local_evaluator_slots(config: Config) -> int:
    """Return how much of the Ray resource ``evaluator`` a local cluster declares.

    As much as the run needs, and at least as much as the CPUs have room for. So ``launch.scale`` may exceed
    ``evaluator.max_actors`` as long as there are free CPUs.
    """
    evaluator = config.evaluator
    by_cpus = int(measure_local_resources(config).cpus / evaluator.cpus) if evaluator.cpus else 0
    return max(evaluator.max_actors, by_cpus)


def find_missing_evaluator_slots(config: Config, total: Mapping[str, float], address: str) -> list[str]:
    """Return an error message if the running cluster has too little of the Ray resource ``evaluator``, else [].

    Args:
        config: configuration of the run.
        total: Ray's resources by name, summed over all nodes.
        address: address of the cluster, for the message.
    """
    declared = total.get(EVALUATOR_RESOURCE, 0.0)
    needed = config.evaluator.min_actors
    if declared >= needed:
        return []
    return [
        f"evaluator.min_actors={needed}, but the nodes of the cluster declare {declared:g} of the resource "
        f"`{EVALUATOR_RESOURCE}`: start CPU nodes with room for N evaluators by  ray start --address={address} "
        f"--resources='{{\"{EVALUATOR_RESOURCE}\": N}}'"
    ]


def _measure_gpu_gib() -> float | None:
    """Return the memory of the first GPU in GiB; None if torch cannot use it, which ``launch.doctor`` explains."""
    try:
        return torch.cuda.get_device_properties(0).total_memory / GIB
    except RuntimeError:
        return None


def measure_local_resources(config: Config) -> Resources:
    """Return the resources of this machine, as a local cluster has them."""
    cpus = config.cluster.num_cpus or psutil.cpu_count() or 1
    gpus = torch.cuda.device_count()
    gpu_gib = _measure_gpu_gib() if gpus else None
    return Resources(cpus=cpus, gpus=gpus, free_gib=psutil.virtual_memory().available / GIB, gpu_gib=gpu_gib)
