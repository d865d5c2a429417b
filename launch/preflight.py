"""Checks of a configuration against the model and the machine, before any actor starts."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig

from conf.schema import Config
from launch.cluster.model_shape import ModelShape, estimate_shape, read_shape
from launch.cluster.placement import (
    Resources,
    RolePlan,
    find_missing_resources,
    get_gpu_gib,
    plan_roles,
    raise_placement_errors,
    resolve_devices,
)
from launch.cluster.ray_cluster import find_resources, ray_session


def read_model_shape(config: Config, model: Path) -> ModelShape:
    """Read the shape of the checkpoint ``model``; if it is no directory, estimate it from ``model.parameters_m``."""
    return read_shape(model) or estimate_shape(round(config.model.parameters_m * 1e6))


def read_context_length(model: Path) -> int:
    """Read the context length (prompt and answer, in tokens) from the checkpoint's configuration."""
    return int(AutoConfig.from_pretrained(model).get_text_config().max_position_embeddings)


def check_context_length(config: Config, model: Path) -> None:
    """Check that the longest prompt and the longest answer together fit the model's context. Raises PlacementError."""
    generator = config.generator
    context = read_context_length(model)
    answer = max(generator.max_response_tokens, config.answer_tokens)
    if generator.max_prompt_tokens + answer > context:
        raise_placement_errors(
            [
                f"generator.max_prompt_tokens={generator.max_prompt_tokens} and answers of up to {answer} tokens "
                f"exceed the context length of {model}, {context} tokens: lower generator.max_prompt_tokens, "
                "generator.max_response_tokens or evaluation.max_response_tokens"
            ]
        )


def check_training_resources(config: Config) -> None:
    """Check that this machine, or the cluster, has the resources of a training run, before hours of other work.

    Raises:
        PlacementError: resources are missing, or there is no cluster at ``cluster.address``.
    """
    with ray_session():
        resources = find_resources(config)
        resolved = resolve_devices(config, resources)
        shape = read_model_shape(resolved, Path(resolved.model.path))
        check_resources(plan_roles(resolved, shape, get_gpu_gib(resolved, resources)), resolved, resources)


def check_resources(roles: list[RolePlan], config: Config, resources: Resources) -> None:
    """Check that ``resources`` suffice for the actors of ``roles``. Raises PlacementError."""
    raise_placement_errors(find_missing_resources(roles, config, resources))
