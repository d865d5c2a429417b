"""Checks of a configuration against the model and the machine, before any actor starts."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig

from conf.schema import Config
from launch.cluster.placement import Part, Resources, count_parameters, missing_resources, raise_if_any


def model_parameters(config: Config, model: Path) -> int:
    """Parameters of the model: counted where ``model`` is a directory here, else as ``model.parameters_m`` says."""
    return count_parameters(str(model)) or round(config.model.parameters_m * 1e6)


def context_tokens(model: Path) -> int:
    """Tokens that prompt and answer may have together, as the checkpoint's configuration says."""
    return int(AutoConfig.from_pretrained(model).get_text_config().max_position_embeddings)


def check_context_length(config: Config, model: Path) -> None:
    """Check that the longest prompt with the longest answer fits the model's context. Raises PlacementError."""
    generator = config.generator
    context = context_tokens(model)
    answer = max(generator.max_response_tokens, config.answer_tokens)
    if generator.max_prompt_tokens + answer > context:
        raise_if_any(
            [
                f"generator.max_prompt_tokens={generator.max_prompt_tokens} and answers of up to {answer} tokens are "
                f"more than the {context} tokens of context that {model} has: lower generator.max_prompt_tokens, "
                "generator.max_response_tokens or evaluation.max_response_tokens"
            ]
        )


def check_resources(parts: list[Part], config: Config, resources: Resources) -> None:
    """Check that ``resources`` can hold ``parts``. Raises PlacementError."""
    raise_if_any(missing_resources(parts, config, resources))
