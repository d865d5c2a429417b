"""Pools of engines and sandboxes, and the group of learner ranks, made from the configuration but not started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ray

from actors.evaluators.actor import EvaluatorHandle, EvaluatorSettings
from actors.evaluators.autoscaling import Bounds
from actors.evaluators.pool import EvaluatorPool, call_deadline_s
from actors.evaluators.roster import PoolTimeouts
from actors.generators.actor import GeneratorSettings
from actors.generators.handle import remote_generators
from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from conf.schema import Config
from evaluator.sandbox import Limits
from launch.cluster.learner_settings import learner_settings
from launch.cluster.placement import missing_evaluator_resources, raise_if_any
from launch.cluster.reservation import Reservation


def generator_pool(
    config: Config, model: Path, calls: int, longest: int, reservation: Reservation, drawn: int = 0
) -> GeneratorPool:
    """Engines for sequences of ``longest`` tokens, prompt included. ``calls`` in flight per engine at most.

    ``drawn``: how many answers were sampled before with these settings; engines must not draw the same numbers again.
    """
    generator = config.generator
    settings = GeneratorSettings(
        model_path=str(model),
        dtype=config.model.dtype,
        device=generator.device,
        tensor_parallel=generator.tensor_parallel,
        max_model_tokens=longest,
        max_sequences=generator.max_sequences,
        kv_cache_gib=generator.kv_cache_gib,
        gpu_memory_fraction=generator.gpu_memory_fraction,
        threads=generator.threads,
        seed=int(np.random.SeedSequence([config.run.seed, drawn]).generate_state(1)[0]),
    )
    return GeneratorPool(generator.actors, remote_generators(reservation.engines, generator.cpus, calls, settings))


def evaluator_pool(config: Config) -> EvaluatorPool:
    """Sandboxes. Raises PlacementError when a running cluster has no places for evaluators."""
    evaluator = config.evaluator
    if config.cluster.address is not None:
        address = ray.get_runtime_context().gcs_address
        raise_if_any(missing_evaluator_resources(config, ray.cluster_resources(), address))
    limits = Limits(
        wall_s=evaluator.wall_s, cpu_s=evaluator.cpu_s, memory_mb=evaluator.memory_mb, budget_s=evaluator.budget_s
    )
    settings = EvaluatorSettings(
        limits=limits,
        workers=evaluator.workers,
        policy=evaluator.policy,
        adaptive_timeout=evaluator.adaptive_timeout,
        strict=evaluator.strict,
    )
    return EvaluatorPool(
        lambda: EvaluatorHandle(settings, evaluator.cpus),
        sandboxes=evaluator.workers,
        cpus=evaluator.cpus,
        bounds=Bounds(evaluator.min_actors, evaluator.max_actors),
        timeouts=PoolTimeouts(call_s=call_deadline_s(settings), start_s=config.generator.start_deadline_s),
    )


def learner_group(config: Config, model: Path, reservation: Reservation) -> LearnerGroup:
    """FSDP2 ranks."""
    learner = config.learner
    return LearnerGroup(reservation.ranks, learner.cpus, learner.threads, learner_settings(config, model))
