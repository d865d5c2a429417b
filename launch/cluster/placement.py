"""Which actor goes where and how much memory it takes; refuses, before any actor starts, what the machine lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from actors.evaluators.actor import RESOURCE
from conf.schema import Config
from evaluator.errors import UserError

GIB = 2**30
ENGINE_GIB = 1.6
"""Resident memory of an idle vLLM engine without weights and cache: its two processes import torch and vLLM."""
PROCESS_GIB = 0.8
"""Resident memory of an actor process that imported torch."""
SANDBOX_GIB = 0.06
"""An idle evaluator worker."""

GENERATOR = "generator"
LEARNER_RANK = "learner rank"


class PlacementError(UserError, RuntimeError):
    """The machine or cluster lacks something; the message has one line per thing."""


def raise_if_any(problems: Sequence[str]) -> None:
    """Raise PlacementError with one line per problem, if there are problems."""
    if problems:
        raise PlacementError("\n".join(problems))


@dataclass(frozen=True)
class Resources:
    """What there is: Ray CPUs, GPUs, and free memory of this machine in GiB (None for a running cluster)."""

    cpus: float
    gpus: float
    free_gib: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One role: how many actors, what each takes, and where its memory goes (GiB per actor)."""

    role: str
    count: int
    device: str
    cpus: float
    gpus: float
    memory: tuple[tuple[str, float], ...]

    @property
    def gib(self) -> float:
        return sum(size for _, size in self.memory)


def decide_devices(config: Config, resources: Resources) -> Config:
    """``config`` with every ``device: auto`` decided: CUDA where ``resources`` have a GPU.

    The driver's own node says nothing: it may be a head without GPUs. Raises PlacementError when engines were to span
    GPUs that are not there.
    """
    found: Literal["cuda", "cpu"] = "cuda" if resources.gpus > 0 else "cpu"
    generator = config.generator
    learner = config.learner
    if generator.device == "auto":
        if found == "cpu" and generator.tensor_parallel > 1:
            raise PlacementError(
                f"generator.tensor_parallel={generator.tensor_parallel} needs GPUs, and there is none: set it to 1, or "
                "start where there are some"
            )
        generator = replace(generator, device=found)
    if learner.device == "auto":
        learner = replace(learner, device=found)
    return replace(config, generator=generator, learner=learner)


def count_parameters(path: str) -> int | None:
    """Parameters of a local checkpoint, from its config alone; None when there is none to read here."""
    if not Path(path).is_dir():
        return None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    return sum(parameter.numel() for parameter in model.parameters())


def plan(config: Config, parameters: int) -> list[Part]:
    """The actors of a run, on decided devices, and their memory, estimated for a model of ``parameters`` parameters."""
    generator = config.generator
    evaluator = config.evaluator
    learner = config.learner
    width = 4 if config.model.dtype == "float32" else 2
    device = generator.device
    learner_device = learner.device
    assert "auto" not in (device, learner_device), "decide_devices comes first"
    share = parameters / learner.ranks
    return [
        Part(
            role=GENERATOR,
            count=generator.actors,
            device=device,
            cpus=generator.cpus,
            gpus=generator.tensor_parallel if device == "cuda" else 0,
            memory=(
                ("weights", parameters * width / GIB),
                ("KV cache", generator.kv_cache_gib if device == "cpu" else 0.0),
                ("engine", ENGINE_GIB),
            ),
        ),
        Part(
            role="evaluator",
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
        Part(
            role=LEARNER_RANK,
            count=learner.ranks,
            device=learner_device,
            cpus=learner.cpus,
            gpus=1 if learner_device == "cuda" else 0,
            memory=(
                ("float32 weights", share * 4 / GIB),
                ("gradients", share * 4 / GIB),
                ("AdamW moments", share * 8 / GIB),
                ("float32 reference", share * 4 / GIB if config.algorithm.kl_weight > 0 else 0.0),
                ("process", PROCESS_GIB),
            ),
        ),
    ]


def missing_resources(parts: list[Part], config: Config, resources: Resources) -> list[str]:
    """What the plan asks for and ``resources`` do not have, one sentence each, with the key to change."""
    found = []
    local = config.cluster.address is None
    there = "here" if local else f"in the cluster at {config.cluster.address}"
    gpus = sum(part.count * part.gpus for part in parts)
    if gpus > resources.gpus:
        found.append(
            f"{gpus:g} GPUs are asked for, {resources.gpus:g} are {there}: set generator.device=cpu "
            "learner.device=cpu, lower generator.actors x generator.tensor_parallel + learner.ranks, or "
            f"{'give cluster.address' if local else 'add nodes to it'}"
        )
    cpus = sum(part.count * part.cpus for part in parts)
    if cpus > resources.cpus:
        found.append(
            f"{cpus:g} CPUs are asked for, {resources.cpus:g} are {there}: lower generator.cpus, evaluator.cpus x "
            f"evaluator.max_actors or learner.cpus, or {'set cluster.num_cpus' if local else 'add nodes to it'}"
        )
    # On GPUs the weights are not in host memory, and a cluster elsewhere cannot be measured from here.
    needed = (
        sum(part.count * part.gib for part in parts if part.device == "cpu") + config.cluster.object_store_mb / 1024
    )
    if resources.free_gib is not None and needed > resources.free_gib:
        largest = max(parts, key=lambda part: part.count * part.gib)
        found.append(
            f"{needed:.1f} GiB of memory are needed, {resources.free_gib:.1f} GiB are free; most goes to "
            f"{largest.count} x {largest.role}: choose a smaller model, or lower generator.kv_cache_gib, "
            "evaluator.workers x evaluator.memory_mb"
        )
    return found


def local_evaluators(config: Config) -> int:
    """How much of the resource ``evaluator`` a local cluster declares: the run's own, and what its CPUs have room for.

    So ``launch.scale`` may go above ``evaluator.max_actors`` where nothing but the CPUs is in its way.
    """
    evaluator = config.evaluator
    by_cpus = int(local_resources(config).cpus / evaluator.cpus) if evaluator.cpus else 0
    return max(evaluator.max_actors, by_cpus)


def missing_evaluator_resources(config: Config, total: Mapping[str, float], address: str) -> list[str]:
    """Whether the running cluster's nodes, whose resources sum up to ``total``, declare places for evaluators."""
    there = total.get(RESOURCE, 0.0)
    least = config.evaluator.min_actors
    if there >= least:
        return []
    return [
        f"the nodes of the cluster declare {there:g} of the resource `{RESOURCE}`, evaluator.min_actors={least} are "
        f"asked for: start CPU nodes with room for N of them by  ray start --address={address} "
        f"--resources='{{\"{RESOURCE}\": N}}'"
    ]


def local_resources(config: Config) -> Resources:
    """What this machine has for a local cluster."""
    cpus = config.cluster.num_cpus or psutil.cpu_count() or 1
    return Resources(cpus, torch.cuda.device_count(), psutil.virtual_memory().available / GIB)
