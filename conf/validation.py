"""Validation of the values that Hydra composes.

Hydra composes plain YAML (groups ``experiment``, ``algorithm``, ``model``, ``cluster``). ``parse_config`` converts the
result to a ``conf.schema.Config``, or raises ``ConfigError`` with one line per problem: the path of the key, and how to
fix it.
"""

from __future__ import annotations

import difflib
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from conf.schema import (
    Config,
    ConfigError,
    CurateConfig,
    DatasetConfig,
    ExportConfig,
    ReportConfig,
    ScaleConfig,
    TemperatureConfig,
    WarmStartConfig,
)

T = TypeVar("T")


def parse_scale(values: Any) -> ScaleConfig:
    """Validate the values of ``launch.scale``. Raises ConfigError as ``parse_config`` does."""
    return _validate(ScaleConfig, values)


def parse_export(values: Any) -> ExportConfig:
    """Validate the values of ``launch.export``. Raises ConfigError as ``parse_config`` does."""
    return _validate(ExportConfig, values)


def parse_curate(values: Any) -> CurateConfig:
    """Validate the values of ``launch.curate``. Raises ConfigError as ``parse_config`` does."""
    return _validate(CurateConfig, values)


def parse_report(values: Any) -> ReportConfig:
    """Validate the values of ``launch.report``. Raises ConfigError as ``parse_config`` does."""
    config = _validate(ReportConfig, values)
    if problems := _find_report_conflicts(config):
        raise ConfigError("\n".join(problems))
    return config


def parse_warm_start(values: Any) -> WarmStartConfig:
    """Validate the values of ``launch.warm_start``. Raises ConfigError as ``parse_config`` does."""
    return _validate(WarmStartConfig, values)


def parse_config(values: Any, training: bool = True) -> Config:
    """Validate the values of ``launch.driver`` or ``launch.evaluate``.

    Args:
        values: composed values, with interpolations resolved.
        training: also check what only training needs.

    Raises:
        ConfigError: one line per problem: unknown keys (with the nearest known one), wrong types, values out of range,
            conflicting keys.
    """
    config = _validate(Config, values)
    problems = [*_find_conflicts(config), *(_find_training_conflicts(config) if training else ())]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _validate(schema: type[T], values: Any) -> T:
    try:
        return TypeAdapter(schema).validate_python(values)
    except ValidationError as error:
        keys = list_known_keys(schema)
        raise ConfigError("\n".join(_format_problem(dict(problem), keys) for problem in error.errors())) from None


def _find_training_conflicts(config: Config) -> list[str]:
    """Return a message for each set of valid values with which training is impossible, with the fix."""
    problems = []
    algorithm = config.algorithm
    dataset = config.dataset
    if algorithm.train_batch_size % algorithm.mini_batch_size:
        problems.append(
            f"algorithm.mini_batch_size={algorithm.mini_batch_size} does not divide "
            f"algorithm.train_batch_size={algorithm.train_batch_size}: choose a divisor"
        )
    learner = config.learner
    if learner.decay != "constant" and learner.warmup_steps >= config.run.steps:
        problems.append(
            f"learner.warmup_steps={learner.warmup_steps} leaves no steps for learner.decay={learner.decay}: "
            f"run.steps={config.run.steps}; lower warmup_steps, or set decay=constant"
        )
    if dataset.name is None and dataset.path is None and dataset.train is None:
        problems.append(
            "dataset.name, dataset.train and dataset.path are all null: set dataset.path=FILE or dataset.train=starter"
        )
    longest = config.generator.max_prompt_tokens + config.generator.max_response_tokens
    if config.learner.micro_batch_tokens < longest:
        problems.append(
            f"learner.micro_batch_tokens={config.learner.micro_batch_tokens} cannot hold one sequence of "
            f"generator.max_prompt_tokens + generator.max_response_tokens = {longest}: set it to at least {longest}"
        )
    if algorithm.overlong_penalty and algorithm.overlong_cache * config.generator.max_response_tokens < 1:
        problems.append(
            f"algorithm.overlong_cache={algorithm.overlong_cache} of generator.max_response_tokens="
            f"{config.generator.max_response_tokens} is less than one token: raise it, or set overlong_penalty=0"
        )
    if 2 * algorithm.repeat_window > config.generator.max_response_tokens:
        problems.append(
            f"algorithm.repeat_window={algorithm.repeat_window} needs responses of twice that many tokens, but "
            f"generator.max_response_tokens={config.generator.max_response_tokens}: lower repeat_window"
        )
    if config.evaluation.every and not config.evaluation.samples:
        problems.append(
            f"evaluation.every={config.evaluation.every} with evaluation.samples=0: set samples, or every=0"
        )
    problems.extend(_find_temperature_conflicts(config.temperature))
    problems.extend(_find_determinism_conflicts(config))
    if config.generator.endpoint is not None:
        problems.append("generator.endpoint: a served model cannot be trained; set it only for launch.evaluate")
    return problems


def _find_temperature_conflicts(temperature: TemperatureConfig) -> list[str]:
    """Return a message for each conflict between keys of ``temperature``."""
    problems = []
    kind = temperature.kind
    grid = temperature.grid
    steps = [step for step, _ in temperature.schedule]
    if steps != sorted(set(steps)):
        problems.append(
            f"temperature.schedule: steps {steps} are not in ascending order: sort the pairs, one for each step"
        )
    if kind == "schedule" and not steps:
        problems.append(
            "temperature.kind=schedule with an empty temperature.schedule: set it to [[140,1.2]], for example, or set "
            "kind=fixed"
        )
    if kind != "schedule" and steps:
        problems.append(f"temperature.schedule with temperature.kind={kind}: set kind=schedule, or schedule=[]")
    if grid != sorted(set(grid)):
        problems.append(f"temperature.grid={grid} is not in ascending order: sort it, and list each temperature once")
    used = grid if kind == "diversity" else [temperature.value, *(value for _, value in temperature.schedule)]
    if max(used) > temperature.highest:
        problems.append(
            f"temperature {max(used):g} is above temperature.highest={temperature.highest:g}: lower it, or "
            "raise temperature.highest if it is intended"
        )
    if temperature.min_diversity >= temperature.target_diversity:
        problems.append(
            f"temperature.min_diversity={temperature.min_diversity:g} is not below "
            f"temperature.target_diversity={temperature.target_diversity:g}: every stage would end after its minimum "
            "length; lower min_diversity"
        )
    return problems


def _find_determinism_conflicts(config: Config) -> list[str]:
    """Return a message for each key that conflicts with deterministic mode or with ``algorithm.max_staleness``."""
    problems = []
    if config.generator.partial_rollouts and not config.algorithm.max_staleness:
        problems.append(
            "generator.partial_rollouts=true with algorithm.max_staleness=0: on-policy, no completion continues with "
            "new weights; set max_staleness=1, or partial_rollouts=false"
        )
    if config.run.deterministic and config.algorithm.max_staleness:
        problems.append(
            f"run.deterministic=true with algorithm.max_staleness={config.algorithm.max_staleness}: the weights that "
            "sample a token would depend on timing; set max_staleness=0"
        )
    if config.run.deterministic and config.evaluator.adaptive_timeout:
        problems.append(
            "run.deterministic=true with evaluator.adaptive_timeout=true: time limits would depend on timing; set "
            "evaluator.adaptive_timeout=false"
        )
    return problems


def _find_report_conflicts(config: ReportConfig) -> list[str]:
    """Return a message for each key of ``launch.report`` that is missing or conflicts with another."""
    problems = []
    if config.run is None and not config.runs:
        problems.append("run: missing; set run=runs/NAME, or runs=[NAME,NAME] output=DIR to compare runs")
    if config.run is not None and config.runs:
        problems.append("run and runs are both set: set run for one run, or runs to compare several")
    if len(config.runs) == 1:
        problems.append(f"runs={config.runs}: a comparison needs two runs; for one run set run={config.runs[0]}")
    if config.runs and config.output is None:
        problems.append("output: missing; a comparison belongs to no single run, so set output=DIR")
    if config.runs and config.show:
        problems.append("show with runs: views are of one run; set run=NAME")
    if config.run is not None and config.show and config.output is not None:
        problems.append("output with show: views are printed; remove one of the two")
    if config.format == "json" and not config.show:
        problems.append("format=json is a format of show: set show=[summary], for example")
    return problems


def _find_conflicts(config: Config) -> list[str]:
    """Return a message for each set of valid values with which no command can run, with the fix."""
    problems = _find_dataset_conflicts(config.dataset)
    if config.generator.device == "cpu" and config.generator.tensor_parallel > 1:
        problems.append("generator.tensor_parallel > 1 needs generator.device=cuda: set it to 1, or the device to cuda")
    evaluator = config.evaluator
    if evaluator.min_actors > evaluator.max_actors:
        problems.append(
            f"evaluator.min_actors={evaluator.min_actors} is more than evaluator.max_actors={evaluator.max_actors}: "
            "raise max_actors, or set both to the same number for a fixed pool"
        )
    endpoint = config.generator.endpoint
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        problems.append(f"generator.endpoint={endpoint}: not a URL such as http://localhost:8000/v1")
    return problems


def _find_dataset_conflicts(dataset: DatasetConfig) -> list[str]:
    """Return a message for each conflict between keys of ``dataset``."""
    problems = []
    if dataset.release is not None and dataset.name != "livecodebench":
        problems.append(
            f"dataset.release={dataset.release} is a release of LiveCodeBench: set dataset.name=livecodebench"
        )
    if dataset.name == "livecodebench" and dataset.release is None and dataset.held_out_path is None:
        problems.append(
            "dataset.name=livecodebench needs dataset.release=release_v6 (or v1 to v5), or held_out_path=FILE"
        )
    days = [day for day in (dataset.start_date, dataset.end_date) if day is not None]
    if days and dataset.name not in ("lcb_v6", "livecodebench"):
        problems.append(
            "dataset.start_date and end_date only apply to LiveCodeBench: set dataset.name=livecodebench or lcb_v6"
        )
    if days != sorted(days):
        problems.append(f"dataset.start_date={dataset.start_date} is after dataset.end_date={dataset.end_date}")
    return problems


def _format_problem(problem: dict[str, Any], keys: list[str]) -> str:
    """Return the message for a validation error of pydantic; ``keys`` are the known keys."""
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        nearest = difflib.get_close_matches(path, keys, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "see --help for the keys"
        return f"{path}: unknown key; {hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{path}: missing; choose an experiment (+experiment=quickstart) or set it"
    return f"{path}: {problem['msg']} (got {problem['input']!r})"


def list_known_keys(schema: type = Config) -> list[str]:
    """Return the dotted paths of all keys of a schema, for error messages and tests."""
    keys: list[str] = []
    for name, annotation in get_type_hints(schema).items():
        if is_dataclass(annotation):
            keys.extend(f"{name}.{key}" for key in get_type_hints(annotation))
        else:
            keys.append(name)
    return keys
