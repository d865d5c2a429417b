"""From the values that Hydra composes to a validated configuration.

Hydra composes plain YAML (groups ``experiment``, ``algorithm``, ``model``, ``cluster``). ``parse_config`` turns the
result into a ``conf.schema.Config``, or raises ``ConfigError`` with a line per problem: the key's path and what to type
instead.
"""

from __future__ import annotations

import difflib
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from conf.schema import (
    Config,
    ConfigError,
    DatasetConfig,
    ExportConfig,
    ScaleConfig,
    TemperatureConfig,
    WarmStartConfig,
)

T = TypeVar("T")


def parse_scale(values: Any) -> ScaleConfig:
    """Validate the values of ``launch.scale``; raises ConfigError as ``parse_config`` does."""
    return _validated(ScaleConfig, values)


def parse_export(values: Any) -> ExportConfig:
    """Validate the export's values; raises ConfigError as ``parse_config`` does."""
    return _validated(ExportConfig, values)


def parse_warm_start(values: Any) -> WarmStartConfig:
    """Validate the warm start's values; raises ConfigError as ``parse_config`` does."""
    return _validated(WarmStartConfig, values)


def parse_config(values: Any, training: bool = True) -> Config:
    """Validate resolved YAML values; without ``training``, those of a command that does not train.

    Raises ConfigError with one line per problem: unknown keys (with the nearest known one), wrong types, values out
    of range, combinations that make no sense.
    """
    config = _validated(Config, values)
    problems = [*_impossible(config), *(_impossible_training(config) if training else ())]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _validated(kind: type[T], values: Any) -> T:
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        keys = known_keys(kind)
        raise ConfigError("\n".join(_explain(dict(problem), keys) for problem in error.errors())) from None


def _impossible_training(config: Config) -> list[str]:
    """Combinations that validate key by key but cannot be trained with, each with the fix."""
    found = []
    algorithm = config.algorithm
    dataset = config.dataset
    if algorithm.train_batch_size % algorithm.mini_batch_size:
        found.append(
            f"algorithm.mini_batch_size={algorithm.mini_batch_size} does not divide "
            f"algorithm.train_batch_size={algorithm.train_batch_size}: choose a divisor"
        )
    learner = config.learner
    updates = config.total_updates
    if learner.decay != "constant" and learner.warmup_steps >= updates:
        found.append(
            f"learner.warmup_steps={learner.warmup_steps} leaves nothing to learner.decay={learner.decay}: "
            f"run.steps={config.run.steps} makes {updates} updates; lower it, or set decay=constant"
        )
    if dataset.name is None and dataset.path is None:
        found.append("dataset.name and dataset.path are both null: set dataset.path=FILE or dataset.name=starter")
    longest = config.generator.max_prompt_tokens + config.generator.max_response_tokens
    if config.learner.micro_batch_tokens < longest:
        found.append(
            f"learner.micro_batch_tokens={config.learner.micro_batch_tokens} cannot hold one sequence of "
            f"generator.max_prompt_tokens + generator.max_response_tokens = {longest}: set it to at least {longest}"
        )
    if algorithm.overlong_penalty and algorithm.overlong_cache * config.generator.max_response_tokens < 1:
        found.append(
            f"algorithm.overlong_cache={algorithm.overlong_cache} of generator.max_response_tokens="
            f"{config.generator.max_response_tokens} is less than a token: raise it, or set overlong_penalty=0"
        )
    if 2 * algorithm.repeat_window > config.generator.max_response_tokens:
        found.append(
            f"algorithm.repeat_window={algorithm.repeat_window} needs 2 x that many tokens, but "
            f"generator.max_response_tokens={config.generator.max_response_tokens}: lower it"
        )
    if config.evaluation.every and not config.evaluation.samples:
        found.append(f"evaluation.every={config.evaluation.every} with evaluation.samples=0: set samples, or every=0")
    found.extend(_impossible_temperature(config.temperature))
    found.extend(_impossible_order(config))
    if config.generator.endpoint is not None:
        found.append("generator.endpoint: a served model cannot be trained; it is for launch.evaluate")
    return found


def _impossible_temperature(temperature: TemperatureConfig) -> list[str]:
    found = []
    kind = temperature.kind
    grid = temperature.grid
    steps = [step for step, _ in temperature.schedule]
    if steps != sorted(set(steps)):
        found.append(f"temperature.schedule: steps {steps} do not ascend: sort the pairs, one for each step")
    if kind == "schedule" and not steps:
        found.append("temperature.kind=schedule without changes: set temperature.schedule=[[140,1.2]], or kind=fixed")
    if kind != "schedule" and steps:
        found.append(f"temperature.schedule with temperature.kind={kind}: set kind=schedule, or schedule=[]")
    if grid != sorted(set(grid)):
        found.append(f"temperature.grid={grid} does not ascend: sort it, each temperature once")
    used = grid if kind == "diversity" else [temperature.value, *(value for _, value in temperature.schedule)]
    if max(used) > temperature.highest:
        found.append(
            f"temperature {max(used):g} is above temperature.highest={temperature.highest:g}: lower it, or "
            "raise temperature.highest if you mean it"
        )
    if temperature.min_diversity >= temperature.target_diversity:
        found.append(
            f"temperature.min_diversity={temperature.min_diversity:g} is not below "
            f"temperature.target_diversity={temperature.target_diversity:g}: every stage would end as soon as it may"
        )
    return found


def _impossible_order(config: Config) -> list[str]:
    """What deterministic mode, or sampling ahead, cannot go with."""
    found = []
    if config.generator.partial_rollouts and not config.algorithm.max_staleness:
        found.append(
            "generator.partial_rollouts=true with algorithm.max_staleness=0: on-policy, no completion goes on under "
            "other weights; set max_staleness=1, or partial_rollouts=false"
        )
    if config.run.deterministic and config.algorithm.max_staleness:
        found.append(
            f"run.deterministic=true with algorithm.max_staleness={config.algorithm.max_staleness}: which weights a "
            "token sees would depend on timing; set max_staleness=0"
        )
    if config.run.deterministic and config.evaluator.adaptive_timeout:
        found.append(
            "run.deterministic=true with evaluator.adaptive_timeout=true: limits would depend on timing; set "
            "evaluator.adaptive_timeout=false"
        )
    return found


def _impossible(config: Config) -> list[str]:
    """Combinations that validate key by key but cannot run, each with the fix."""
    found = _impossible_dataset(config.dataset)
    if config.generator.device == "cpu" and config.generator.tensor_parallel > 1:
        found.append("generator.tensor_parallel > 1 needs generator.device=cuda")
    evaluator = config.evaluator
    if evaluator.min_actors > evaluator.max_actors:
        found.append(
            f"evaluator.min_actors={evaluator.min_actors} is more than evaluator.max_actors={evaluator.max_actors}: "
            "raise max_actors, or set both to the same number for a fixed pool"
        )
    endpoint = config.generator.endpoint
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        found.append(f"generator.endpoint={endpoint}: not a URL such as http://localhost:8000/v1")
    return found


def _impossible_dataset(dataset: DatasetConfig) -> list[str]:
    found = []
    if dataset.release is not None and dataset.name != "livecodebench":
        found.append(f"dataset.release={dataset.release} is one of LiveCodeBench: set dataset.name=livecodebench")
    if dataset.name == "livecodebench" and dataset.release is None and dataset.held_out_path is None:
        found.append("dataset.name=livecodebench needs dataset.release=release_v6 (or v1 to v5), or held_out_path=FILE")
    days = [day for day in (dataset.start_date, dataset.end_date) if day is not None]
    if days and dataset.name not in ("lcb_v6", "livecodebench"):
        found.append("dataset.start_date and end_date select from LiveCodeBench: set dataset.name=livecodebench")
    if days != sorted(days):
        found.append(f"dataset.start_date={dataset.start_date} is after dataset.end_date={dataset.end_date}")
    return found


def _explain(problem: dict[str, Any], keys: list[str]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(path, keys, n=1)
        hint = f"did you mean {near[0]}?" if near else "see --help for the keys"
        return f"{path}: unknown key; {hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{path}: missing; choose an experiment (+experiment=quickstart) or set it"
    return f"{path}: {problem['msg']} (got {problem['input']!r})"


def known_keys(kind: type = Config) -> list[str]:
    """List the dotted paths of all keys of a schema: for messages, and for the test that bounds their number."""
    keys: list[str] = []
    for name, annotation in get_type_hints(kind).items():
        if is_dataclass(annotation):
            keys.extend(f"{name}.{key}" for key in get_type_hints(annotation))
        else:
            keys.append(name)
    return keys
