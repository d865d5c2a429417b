"""From the configuration to the cluster and the groups of actors on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ray
import yaml
from rich.console import Console
from transformers import AutoConfig

from actors.autoscaling import Bounds
from actors.evaluator import EvaluatorSettings
from actors.evaluator_crew import Patience
from actors.evaluator_handle import RESOURCE, EvaluatorHandle
from actors.evaluator_pool import EvaluatorPool, call_deadline_s
from actors.generator import GeneratorSettings
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from conf.schema import Config, parse_warm_start
from evaluator.sandbox import Limits
from launch.evaluation import answer_tokens
from launch.models import resolve_model
from launch.placement import (
    Part,
    PlacementError,
    Resources,
    count_parameters,
    lacking,
    lacking_evaluators,
    local_evaluators,
    local_resources,
    pick_device,
)
from launch.warm_start import starter_policy
from learner.clipped_surrogate import Clip
from learner.learner import LearnerSettings
from learner.objective import Objective


def local_model(config: Config, console: Console) -> Path:
    """The directory of ``model.path``, built or fetched if need be. Raises ModelError."""
    return resolve_model(config.model.path, lambda: build_starter(console))


def build_starter(console: Console) -> Path:
    """The starter policy with its default recipe (``conf/warm_start.yaml``)."""
    recipe = yaml.safe_load((Path(__file__).parent.parent / "conf" / "warm_start.yaml").read_text())
    del recipe["defaults"], recipe["hydra"]
    recipe["learning_rate"] = float(recipe["learning_rate"])
    return starter_policy(parse_warm_start(recipe), console)


def parameters_of(config: Config, model: Path) -> int:
    """Parameters of the model: counted where ``model`` is a directory here, else as ``model.parameters_m`` says."""
    return count_parameters(str(model)) or round(config.model.parameters_m * 1e6)


def context_tokens(model: Path) -> int:
    """Tokens that prompt and answer may have together, as the checkpoint's configuration says."""
    return int(AutoConfig.from_pretrained(model).get_text_config().max_position_embeddings)


def refuse_what_no_context_holds(config: Config, model: Path) -> None:
    """Raises PlacementError when prompt and answer, at their longest, do not fit the model's context."""
    generator, context = config.generator, context_tokens(model)
    answer = max(generator.max_response_tokens, answer_tokens(config))
    if generator.max_prompt_tokens + answer > context:
        _refuse(
            [
                f"generator.max_prompt_tokens={generator.max_prompt_tokens} and answers of up to {answer} tokens are "
                f"more than the {context} tokens of context that {model} has: lower generator.max_prompt_tokens, "
                "generator.max_response_tokens or evaluation.max_response_tokens"
            ]
        )


def refuse_what_is_lacking_here(parts: list[Part], config: Config) -> None:
    """Raises PlacementError when this machine cannot hold a local cluster with ``parts``."""
    if config.cluster.address is None:
        _refuse(lacking(parts, config, local_resources(config)))


def start_ray(config: Config, parts: list[Part]) -> None:
    """A local cluster that ends with this process, or the running one at ``cluster.address``.

    Raises PlacementError when the running one cannot hold ``parts``.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning of Ray's
    cluster = config.cluster
    if cluster.address is None:
        ray.init(
            num_cpus=cluster.num_cpus,
            resources={RESOURCE: local_evaluators(config)},
            object_store_memory=cluster.object_store_mb * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        return
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    total = ray.cluster_resources()
    _refuse(lacking(parts, config, Resources(total.get("CPU", 0), total.get("GPU", 0), None)))


def _refuse(missing: Sequence[str]) -> None:
    if missing:
        raise PlacementError("\n".join(missing))


def generator_pool(config: Config, model: Path, calls: int, longest: int, drawn: int = 0) -> GeneratorPool:
    """Engines for sequences of ``longest`` tokens, prompt included. ``calls`` in flight per engine at most.

    ``drawn``: how many answers were sampled before with these settings; engines must not draw the same numbers again.
    """
    generator = config.generator
    settings = GeneratorSettings(
        model_path=str(model.absolute()),
        dtype=config.model.dtype,
        device=pick_device(generator.device),
        tensor_parallel=generator.tensor_parallel,
        max_model_tokens=longest,
        max_sequences=generator.max_sequences,
        kv_cache_gib=generator.kv_cache_gib,
        gpu_memory_fraction=generator.gpu_memory_fraction,
        threads=generator.threads,
        seed=int(np.random.SeedSequence([config.run.seed, drawn]).generate_state(1)[0]),
    )
    return GeneratorPool(generator.actors, generator.cpus, calls, settings)


def evaluator_pool(config: Config) -> EvaluatorPool:
    """Sandboxes. Raises PlacementError when a running cluster has no places for evaluators."""
    evaluator = config.evaluator
    if config.cluster.address is not None:
        address = ray.get_runtime_context().gcs_address
        _refuse(lacking_evaluators(config, ray.cluster_resources(), address))
    limits = Limits(
        wall_s=evaluator.wall_s, cpu_s=evaluator.cpu_s, memory_mb=evaluator.memory_mb, budget_s=evaluator.budget_s
    )
    settings = EvaluatorSettings(
        limits, evaluator.workers, evaluator.policy, evaluator.adaptive_timeout, evaluator.strict
    )
    return EvaluatorPool(
        lambda: EvaluatorHandle(settings, evaluator.cpus),
        evaluator.workers,
        evaluator.cpus,
        Bounds(evaluator.min_actors, evaluator.max_actors),
        Patience(call_s=call_deadline_s(settings), start_s=config.generator.start_deadline_s),
    )


def learner_group(config: Config, model: Path) -> LearnerGroup:
    """FSDP2 ranks."""
    learner, algorithm = config.learner, config.algorithm
    settings = LearnerSettings(
        model_path=str(model.absolute()),
        attention=config.model.attention,
        compute_dtype=config.model.dtype,
        device=pick_device(learner.device),
        learning_rate=learner.learning_rate,
        warmup_steps=learner.warmup_steps,
        decay=learner.decay,
        total_updates=config.total_updates,
        max_skipped_updates=learner.max_skipped_updates,
        skipped_folder=str(Path(config.run.root, config.run.name, "skipped_updates").absolute()),
        betas=(learner.betas[0], learner.betas[1]),
        weight_decay=learner.weight_decay,
        grad_clip=learner.grad_clip,
        micro_batch_tokens=learner.micro_batch_tokens,
        sync_every_micro_batch=learner.sync_every_micro_batch,
        activation_checkpointing=learner.activation_checkpointing,
        objective=Objective(
            aggregation=algorithm.aggregation,
            clip=Clip(algorithm.clip_low, algorithm.clip_high, algorithm.dual_clip),
            kl_weight=algorithm.kl_weight,
            mismatch_cap=algorithm.mismatch_cap,
            max_response_tokens=config.generator.max_response_tokens,
        ),
        seed=config.run.seed,
    )
    return LearnerGroup(learner.ranks, learner.cpus, learner.threads, settings)
