"""From the configuration to the cluster and the groups of actors on it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ray
import yaml
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR as JOB  # set for a job's driver only
from ray._private.services import canonicalize_bootstrap_address  # what ``auto`` stands for
from ray.exceptions import AuthenticationError
from rich.console import Console
from transformers import AutoConfig

from actors.evaluators.actor import RESOURCE, EvaluatorHandle, EvaluatorSettings
from actors.evaluators.autoscaling import Bounds
from actors.evaluators.pool import EvaluatorPool, call_deadline_s
from actors.evaluators.roster import PoolTimeouts
from actors.generators.actor import GeneratorSettings
from actors.generators.handle import remote_generators
from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from conf.schema import Config, parse_warm_start
from evaluator.sandbox import Limits
from launch.cluster.placement import (
    Part,
    PlacementError,
    Resources,
    count_parameters,
    lacking,
    lacking_evaluators,
    local_evaluators,
    local_resources,
)
from launch.cluster.reservation import Reservation
from launch.evaluation.evaluation import answer_tokens
from launch.models.resolve import resolve_model
from launch.warm_start import starter_policy
from learner.clipped_surrogate import Clip
from learner.learner import LearnerSettings
from learner.objective import Objective

CONNECT_S = 5.0
"""For a head to accept a connection."""


def local_model(config: Config, console: Console) -> Path:
    """The directory of ``model.path``, absolute, built or fetched if need be. Raises ModelError."""
    return resolve_model(config.model.path, lambda: build_starter(console)).absolute()


def build_starter(console: Console) -> Path:
    """The starter policy with its default recipe (``conf/warm_start.yaml``)."""
    recipe = yaml.safe_load((Path(__file__).parents[2] / "conf" / "warm_start.yaml").read_text())
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


def refuse_what_is_lacking(parts: list[Part], config: Config, resources: Resources) -> None:
    """Raises PlacementError when ``resources`` cannot hold ``parts``."""
    _refuse(lacking(parts, config, resources))


def find_resources(config: Config) -> Resources:
    """What this machine has for a local cluster, or what the running one at ``cluster.address`` has, which is joined.

    Raises PlacementError when there is no cluster to join, or it lets nobody in with this token.
    """
    _refuse(job_problems(config) if JOB in os.environ else [])
    if config.cluster.address is None:
        return local_resources(config)
    join_cluster(config.cluster.address)
    total = ray.cluster_resources()
    return Resources(total.get("CPU", 0), total.get("GPU", 0), None)


def job_problems(config: Config) -> list[str]:
    """What a job that Ray started on a cluster must not be told."""
    found = []
    if config.cluster.address is None:
        found.append("cluster.address is null inside a Ray job, which has a cluster: set cluster.address=auto")
    if not Path(config.run.root).is_absolute():
        found.append(
            f"run.root={config.run.root} is relative inside a Ray job, whose working directory is deleted after it: "
            "give an absolute path"
        )
    return found


def join_cluster(address: str) -> None:
    """Connect to the running cluster at ``address``. Raises PlacementError that says what to do."""
    if address.startswith("ray://"):
        raise PlacementError(f"cluster.address={address}: Ray Client is not supported; submit a job (docs/cluster.md)")
    try:
        # Ray itself would look for two minutes for a cluster that is gone.
        host, port = str(canonicalize_bootstrap_address(address)).rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S):
            pass
    except (OSError, ValueError) as error:
        raise PlacementError(
            f"cluster.address={address}: no Ray cluster answers there ({error}): start one with `ray start --head`, "
            "give HOST:PORT of its head as that command prints it, or set cluster.address=null for a local one"
        ) from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (AuthenticationError, ConnectionError) as error:
        reason = str(error).split(". ")[0]
        raise PlacementError(
            f"cluster.address={address}: something answers there, but does not let this driver in ({reason}). Its "
            "token must be the cluster's: copy the head's ~/.ray/auth_token here, or set RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH, with RAY_AUTH_MODE=token, without which Ray sends it to no address that is given as "
            "HOST:PORT"
        ) from None


def start_ray(config: Config) -> None:
    """A local cluster that ends with this process; nothing where a running one was joined."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning of Ray's
    cluster = config.cluster
    if cluster.address is None:
        ray.init(
            address="local",  # also where another cluster runs on this machine
            num_cpus=cluster.num_cpus,
            resources={RESOURCE: local_evaluators(config)},
            object_store_memory=cluster.object_store_mb * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def _refuse(missing: Sequence[str]) -> None:
    if missing:
        raise PlacementError("\n".join(missing))


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
        _refuse(lacking_evaluators(config, ray.cluster_resources(), address))
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
    learner, algorithm = config.learner, config.algorithm
    settings = LearnerSettings(
        model_path=str(model),
        attention=config.model.attention,
        compute_dtype=config.model.dtype,
        device=learner.device,
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
    return LearnerGroup(reservation.ranks, learner.cpus, learner.threads, settings)
