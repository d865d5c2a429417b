"""Pools of generators and evaluators, and the group of learner ranks: built from the configuration, not yet started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ray

from actors.evaluators.actor import EvaluatorHandle, EvaluatorSettings
from actors.evaluators.autoscaling import Bounds
from actors.evaluators.members import PoolTimeouts
from actors.evaluators.pool import EvaluatorPool, compute_call_deadline
from actors.generators.actor import GeneratorSettings
from actors.generators.handle import make_generator_factory
from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.log_files import get_log_path
from conf.schema import Config
from evaluator.sandbox import Limits
from launch.cluster.learner_settings import make_learner_settings
from launch.cluster.placement import find_missing_evaluator_slots, raise_placement_errors
from launch.cluster.reservation import Reservation
from learner.reward import needs_all_tests


def make_generator_pool(
    config: Config, model: Path, max_calls: int, max_tokens: int, reservation: Reservation, previous_answers: int = 0
) -> GeneratorPool:
    """Create the vLLM engines, without starting them.

    Args:
        config: configuration of the run.
        model: directory of the checkpoint.
        max_calls: largest number of calls in flight per engine.
        max_tokens: largest length of prompt and response together.
        reservation: where the engines run.
        previous_answers: number of answers sampled earlier with the same settings. It changes the engines' seed, so
            that a resumed evaluation does not draw the same random numbers again.
    """
    generator = config.generator
    settings = GeneratorSettings(
        model_path=str(model),
        dtype=config.model.dtype,
        device=generator.device,
        tensor_parallel=generator.tensor_parallel,
        max_model_tokens=max_tokens,
        max_sequences=generator.max_sequences,
        kv_cache_gib=generator.kv_cache_gib,
        gpu_memory_fraction=generator.gpu_memory_fraction,
        threads=generator.threads,
        seed=int(np.random.SeedSequence([config.run.seed, previous_answers]).generate_state(1)[0]),
    )
    strategies = reservation.generator_strategies
    factory = make_generator_factory(strategies, generator.cpus, max_calls, settings, get_log_folder(config))
    return GeneratorPool(generator.actors, factory)


def make_evaluator_pool(config: Config) -> EvaluatorPool:
    """Create the pool of evaluators, without starting it.

    Raises:
        PlacementError: the running cluster has too little of the Ray resource ``evaluator``.
    """
    evaluator = config.evaluator
    if config.cluster.address is not None:
        address = ray.get_runtime_context().gcs_address
        raise_placement_errors(find_missing_evaluator_slots(config, ray.cluster_resources(), address))
    limits = Limits(
        wall_s=evaluator.wall_s, cpu_s=evaluator.cpu_s, memory_mb=evaluator.memory_mb, budget_s=evaluator.budget_s
    )
    settings = EvaluatorSettings(
        limits=limits,
        workers=evaluator.workers,
        policy=evaluator.policy,
        adaptive_timeout=evaluator.adaptive_timeout,
        strict=evaluator.strict,
        all_tests=needs_all_tests(config.algorithm.reward),
    )
    logs = get_log_folder(config)
    return EvaluatorPool(
        lambda name: EvaluatorHandle(settings, evaluator.cpus, get_log_path(logs, name)),
        sandboxes=evaluator.workers,
        cpus=evaluator.cpus,
        bounds=Bounds(evaluator.min_actors, evaluator.max_actors),
        timeouts=PoolTimeouts(call_s=compute_call_deadline(settings), start_s=config.generator.start_deadline_s),
    )


def make_learner_group(config: Config, model: Path, reservation: Reservation) -> LearnerGroup:
    """Create the group of FSDP2 ranks, without starting it."""
    learner = config.learner
    settings = make_learner_settings(config, model)
    logs = get_log_folder(config)
    return LearnerGroup(reservation.rank_strategies, learner.cpus, learner.threads, settings, logs)


def get_log_folder(config: Config) -> Path:
    """Return the absolute folder of the actors' log files, in the run directory."""
    return Path(config.run.root, config.run.name, "logs").absolute()
