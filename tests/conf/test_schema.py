"""Schema and validation: every experiment is valid, and every error names the key and how to fix it."""

import copy
import dataclasses
import shutil
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from conf import schema
from conf.schema import Config, ConfigError, CurateConfig, ExportConfig, ReportConfig, ScaleConfig, WarmStartConfig
from conf.validation import list_known_keys, parse_config, parse_warm_start
from evaluator.errors import UserError
from launch.composition import compose_values
from tests.factories import CONF_FOLDER, compose_cached_values, make_config

COMMANDS = {
    "warm_start": WarmStartConfig,
    "export": ExportConfig,
    "scale": ScaleConfig,
    "curate": CurateConfig,
    "report": ReportConfig,
}
EXPERIMENTS = sorted(path.stem for path in (CONF_FOLDER / "experiment").glob("*.yaml"))


def change_value(key, value):
    """Return the values of the quickstart with the key of the given dotted path set to ``value``."""
    values = copy.deepcopy(compose_cached_values("+experiment=quickstart"))
    *parents, name = key.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[name] = value
    return values


def get_error(values):
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    return str(caught.value)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_valid(name):
    assert isinstance(make_config(experiment=name), Config)


def test_there_are_experiments():
    assert {"quickstart", "lcb_v6"} <= set(EXPERIMENTS)


def test_reference_run_has_the_hyperparameters_of_the_paper():
    algorithm = make_config(experiment="lcb_v6").algorithm
    assert (algorithm.group_size, algorithm.clip_low, algorithm.clip_high) == (8, 0.2, 0.28)
    assert (algorithm.mask_probability, algorithm.repeat_window, algorithm.mismatch_cap) == (0.2, 128, 2.0)


def test_reference_run_and_its_baselines_control_diversity():
    temperature = make_config(experiment="lcb_v6").temperature
    assert (temperature.kind, temperature.target_diversity, temperature.min_diversity) == ("diversity", 0.68, 0.5)
    assert (temperature.grid, temperature.calibration_prompts) == ([0.6, 0.8, 1.0, 1.2, 1.4, 1.6], 64)
    for name in ("lcb_v6_dapo", "lcb_v6_grpo"):
        assert make_config(experiment=name).temperature == temperature
    assert make_config(experiment="quickstart").temperature.kind == "diversity"


def test_temperature_schedule_is_a_list_of_pairs():
    changes = ("temperature.kind=schedule", "temperature.value=0.6", "temperature.schedule=[[140,1.2],[300,1]]")
    assert make_config(*changes).temperature.schedule == [(140, 1.2), (300, 1.0)]
    for pair, path in (([0, 1.2], "schedule.0.0"), ([140, 0.0], "schedule.0.1"), ([140], "schedule.0.1")):
        assert get_error(change_value("temperature.schedule", [pair])).startswith(f"temperature.{path}: ")


ALGORITHMS = {
    "microcoder_grpo": ("token_mean", "standardised", 0.28, 0.0, "conditional", 0.0, 0),
    "grpo": ("sequence_mean", "standardised", 0.2, 0.04, "none", 0.0, 0),
    "dapo": ("token_mean", "standardised", 0.28, 0.0, "none", 0.5, 9),
    "grpo_plus": ("token_mean", "standardised", 0.28, 0.0, "failing", 0.0, 0),
    "dr_grpo": ("constant", "centred", 0.2, 0.0, "none", 0.0, 0),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithm_has_the_published_settings(name):
    algorithm = make_config(f"algorithm={name}", experiment="lcb_v6").algorithm
    assert (
        algorithm.aggregation,
        algorithm.advantage,
        algorithm.clip_high,
        algorithm.kl_weight,
        algorithm.truncation_mask,
        algorithm.overlong_penalty,
        algorithm.dynamic_sampling_rounds,
    ) == ALGORITHMS[name]
    assert (algorithm.clip_low, algorithm.dual_clip, algorithm.mismatch_cap) == (0.2, None, 2.0)
    assert algorithm.overlong_cache == 0.2


def test_every_algorithm_file_is_tested():
    assert {path.stem for path in (CONF_FOLDER / "algorithm").glob("*.yaml")} == set(ALGORITHMS)


@pytest.mark.parametrize(("experiment", "algorithm"), [("lcb_v6_grpo", "grpo"), ("lcb_v6_dapo", "dapo")])
def test_baselines_differ_only_in_algorithm_temperature_and_name(experiment, algorithm):
    base = make_config(experiment="lcb_v6")
    baseline = make_config(experiment=experiment)
    assert baseline.algorithm == make_config(f"algorithm={algorithm}", experiment="lcb_v6").algorithm
    same: dict[str, Any] = {"algorithm": base.algorithm, "temperature": base.temperature}
    assert dataclasses.replace(baseline, **same, run=dataclasses.replace(baseline.run, name=base.run.name)) == base


def test_overrides_replace_defaults():
    assert make_config("algorithm.group_size=4", "run.name=x").algorithm.group_size == 4


def test_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_config().run.steps = 3  # type: ignore[misc] # tested here


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("algorithm.group_sise", "algorithm.group_size"),
        ("learner.lr_rate", "learner.learning_rate"),
        ("run.step", "run.steps"),
        ("dryrun", "dry_run"),
        ("model.pth", "model.path"),
    ],
)
def test_unknown_key_is_reported_with_the_nearest_known_key(key, nearest):
    assert get_error(change_value(key, 1)) == f"{key}: unknown key; did you mean {nearest}?"


def test_unknown_key_without_a_similar_one_refers_to_help():
    assert (
        get_error(change_value("run.zzzzzzzzzzzzzzzzzzz", 1))
        == "run.zzzzzzzzzzzzzzzzzzz: unknown key; see --help for the keys"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run.steps", "ten"),
        ("run.steps", 1.5),
        ("run.name", 7),
        ("run.resume", "perhaps"),
        ("learner.learning_rate", [1e-6]),
        ("learner.betas", [0.9]),
        ("model.dtype", "float16"),
        ("generator.device", "tpu"),
        ("algorithm", 3),
        ("run.steps", 0),
        ("run.seed", -1),
        ("algorithm.group_size", 1),
        ("algorithm.mask_probability", 1.5),
        ("algorithm.aggregation", "mean"),
        ("algorithm.truncation_mask", None),
        ("algorithm.dual_clip", 1.0),
        ("algorithm.kl_weight", -0.1),
        ("algorithm.dynamic_sampling_rounds", -1),
        ("temperature.value", 0.0),
        ("temperature.kind", "ramp"),
        ("temperature.grid", [1.0]),
        ("temperature.target_diversity", 1.0),
        ("dataset.start_date", "1 May 2025"),
        ("dataset.end_date", 20250501),
        ("dataset.release", "v6"),
    ],
)
def test_invalid_value_is_reported_with_its_key(key, value):
    message = get_error(change_value(key, value))
    assert message.startswith(f"{key}")
    assert f"(got {value!r})" in message


def test_config_error_is_a_user_error_and_a_value_error():
    assert issubclass(ConfigError, UserError) and issubclass(ConfigError, ValueError)


def test_missing_key_is_reported():
    values = copy.deepcopy(compose_cached_values("+experiment=quickstart"))
    del values["run"]["steps"]
    assert get_error(values).startswith("run.steps: missing")


def test_all_problems_are_reported_together():
    values = change_value("run.steps", 0)
    values["learner"]["threads"] = "many"
    values["evaluator"]["worker"] = 1
    paths = {line.split(":")[0] for line in get_error(values).splitlines()}
    assert paths == {"run.steps", "learner.threads", "evaluator.worker"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("algorithm.train_batch_size=10", "algorithm.mini_batch_size=4"),
            "algorithm.mini_batch_size=4 does not divide algorithm.train_batch_size=10: choose a divisor",
        ),
        (
            ("dataset.name=null",),
            "dataset.name, dataset.train and dataset.path are all null: set dataset.path=FILE or dataset.train=starter",
        ),
        (
            (
                "algorithm.repeat_window=4",
                "generator.max_prompt_tokens=100",
                "generator.max_response_tokens=50",
                "learner.micro_batch_tokens=149",
            ),
            "learner.micro_batch_tokens=149 cannot hold one sequence of generator.max_prompt_tokens + "
            "generator.max_response_tokens = 150: set it to at least 150",
        ),
        (
            ("generator.max_response_tokens=100", "algorithm.repeat_window=51"),
            "algorithm.repeat_window=51 needs responses of twice that many tokens, but "
            "generator.max_response_tokens=100: lower repeat_window",
        ),
        (
            ("run.steps=5", "learner.warmup_steps=10", "learner.decay=linear"),
            "learner.warmup_steps=10 leaves no steps for learner.decay=linear: run.steps=5; lower warmup_steps, or set "
            "decay=constant",
        ),
        (
            ("generator.max_response_tokens=100", "algorithm.overlong_penalty=0.5", "algorithm.overlong_cache=0.009"),
            "algorithm.overlong_cache=0.009 of generator.max_response_tokens=100 is less than one token: raise it, or "
            "set overlong_penalty=0",
        ),
        (
            ("generator.device=cpu", "generator.tensor_parallel=2"),
            "generator.tensor_parallel > 1 needs generator.device=cuda: set it to 1, or the device to cuda",
        ),
        (
            ("evaluator.min_actors=3", "evaluator.max_actors=2"),
            "evaluator.min_actors=3 is more than evaluator.max_actors=2: raise max_actors, or set both to the same "
            "number for a fixed pool",
        ),
        (
            ("dataset.name=lcb_v6", "dataset.release=release_v6"),
            "dataset.release=release_v6 is a release of LiveCodeBench: set dataset.name=livecodebench",
        ),
        (
            ("dataset.name=livecodebench",),
            "dataset.name=livecodebench needs dataset.release=release_v6 (or v1 to v5), or held_out_path=FILE",
        ),
        (
            ("dataset.start_date=2025-01-01",),
            "dataset.start_date and end_date only apply to LiveCodeBench: set dataset.name=livecodebench or lcb_v6",
        ),
        (
            ("dataset.name=lcb_v6", "dataset.start_date=2025-02-02", "dataset.end_date=2025-02-01"),
            "dataset.start_date=2025-02-02 is after dataset.end_date=2025-02-01",
        ),
        (
            ("temperature.kind=schedule", "temperature.schedule=[[200,1.2],[140,1.0]]"),
            "temperature.schedule: steps [200, 140] are not in ascending order: sort the pairs, one for each step",
        ),
        (
            ("temperature.kind=schedule", "temperature.schedule=[[140,1.2],[140,1.0]]"),
            "temperature.schedule: steps [140, 140] are not in ascending order: sort the pairs, one for each step",
        ),
        (
            ("temperature.kind=schedule",),
            "temperature.kind=schedule with an empty temperature.schedule: set it to [[140,1.2]], for example, or set "
            "kind=fixed",
        ),
        (
            ("temperature.schedule=[[140,1.2]]",),
            "temperature.schedule with temperature.kind=diversity: set kind=schedule, or schedule=[]",
        ),
        (
            ("temperature.grid=[0.6,1.0,1.0]",),
            "temperature.grid=[0.6, 1.0, 1.0] is not in ascending order: sort it, and list each temperature once",
        ),
        (
            ("temperature.kind=diversity", "temperature.grid=[1.0,1.8]"),
            "temperature 1.8 is above temperature.highest=1.6: lower it, or raise temperature.highest if it is "
            "intended",
        ),
        (
            ("temperature.kind=schedule", "temperature.schedule=[[9,1.7]]"),
            "temperature 1.7 is above temperature.highest=1.6: lower it, or raise temperature.highest if it is "
            "intended",
        ),
        (
            ("temperature.target_diversity=0.3", "temperature.min_diversity=0.3"),
            "temperature.min_diversity=0.3 is not below temperature.target_diversity=0.3: every stage would end after "
            "its minimum length; lower min_diversity",
        ),
        (
            ("generator.partial_rollouts=true",),
            "generator.partial_rollouts=true with algorithm.max_staleness=0: on-policy, no completion continues with "
            "new weights; set max_staleness=1, or partial_rollouts=false",
        ),
        (
            ("run.deterministic=true", "algorithm.max_staleness=1", "evaluator.adaptive_timeout=false"),
            "run.deterministic=true with algorithm.max_staleness=1: the weights that sample a token would depend on "
            "timing; set max_staleness=0",
        ),
        (
            ("run.deterministic=true",),
            "run.deterministic=true with evaluator.adaptive_timeout=true: time limits would depend on timing; set "
            "evaluator.adaptive_timeout=false",
        ),
    ],
)
def test_conflicting_values_are_reported_with_a_fix(overrides, message):
    assert get_error(compose_cached_values("+experiment=quickstart", *overrides)) == message


@pytest.mark.parametrize(
    "overrides",
    [
        ("algorithm.train_batch_size=10", "algorithm.mini_batch_size=5"),
        ("dataset.name=null", "dataset.path=problems.jsonl"),
        ("dataset.name=null", "dataset.train=starter"),
        ("dataset.train=[deepcoder:data/deepcoder,taco]",),
        ("run.steps=5", "learner.warmup_steps=10"),
        ("run.steps=5", "learner.warmup_steps=4", "learner.decay=cosine"),
        ("generator.max_prompt_tokens=100", "generator.max_response_tokens=50", "learner.micro_batch_tokens=150"),
        ("generator.max_response_tokens=100", "algorithm.repeat_window=50"),
        ("generator.max_response_tokens=100", "algorithm.overlong_penalty=0.5", "algorithm.overlong_cache=0.01"),
        ("generator.max_response_tokens=100", "algorithm.overlong_cache=0.0"),
        ("generator.device=cuda", "generator.tensor_parallel=2"),
        ("evaluator.min_actors=2", "evaluator.max_actors=2"),
        ("dataset.name=livecodebench", "dataset.release=release_v5"),
        ("dataset.name=livecodebench", "dataset.held_out_path=problems.jsonl", "dataset.prompt=livecodebench"),
        ("dataset.name=lcb_v6", "dataset.start_date=2025-02-01", "dataset.end_date=2025-02-01"),
        ("temperature.kind=diversity", "temperature.value=9", "temperature.grid=[0.6,1.6]"),
        ("temperature.kind=diversity", "temperature.grid=[1.0,1.8]", "temperature.highest=1.8"),
        ("algorithm.max_staleness=1", "generator.partial_rollouts=true"),
        ("run.deterministic=true", "evaluator.adaptive_timeout=false"),
    ],
)
def test_values_that_just_do_not_conflict_are_valid(overrides):
    make_config(*overrides)


def list_leaf_keys(values, path=""):
    for name, value in values.items():
        yield from list_leaf_keys(value, f"{path}{name}.") if isinstance(value, dict) else [f"{path}{name}"]


def test_known_keys_equal_the_composed_keys():
    assert sorted(list_leaf_keys(compose_cached_values())) == sorted(list_known_keys())


def read_own_values(path):
    """Read the values of a YAML file, without the keys that configure Hydra itself."""
    values = yaml.safe_load(path.read_text()) or {}
    return {key: value for key, value in values.items() if key not in ("defaults", "hydra")}


def test_config_yaml_contains_every_key():
    assert sorted(list_leaf_keys(read_own_values(CONF_FOLDER / "config.yaml"))) == sorted(list_known_keys())


@pytest.mark.parametrize("command", COMMANDS)
def test_yaml_of_a_command_contains_every_key(command):
    values = read_own_values(CONF_FOLDER / "command" / f"{command}.yaml")
    assert sorted(list_leaf_keys(values)) == sorted(list_known_keys(COMMANDS[command]))


def look_up(values, key):
    for name in key.split("."):
        values = values[name]
    return values


GROUPS = ("algorithm", "cluster", "experiment", "model")
OVERRIDING_FILES = [
    *sorted(path.relative_to(CONF_FOLDER) for group in GROUPS for path in (CONF_FOLDER / group).glob("*.yaml")),
    Path("evaluate.yaml"),
]


@pytest.mark.parametrize("path", OVERRIDING_FILES, ids=str)
def test_config_file_sets_no_default_values(path, tmp_path):
    """Check that each key of the file changes the composed value, compared with composing without the file's keys."""
    copy_of_conf = tmp_path / "conf"
    group = path.parent.name
    shutil.copytree(CONF_FOLDER, copy_of_conf, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    defaults = [*(yaml.safe_load((CONF_FOLDER / path).read_text()) or {}).get("defaults", [])]
    if "_self_" not in defaults:
        defaults.append("_self_")
    (copy_of_conf / path).write_text(f"# @package _global_\n{yaml.safe_dump({'defaults': defaults})}")
    command, choice = (path.stem, []) if not group else ("config", [f"{group}={path.stem}"])
    with initialize_config_dir(str(copy_of_conf), version_base="1.3"):
        without = OmegaConf.to_container(compose(command, [f"+{choice[0]}"] if group == "experiment" else choice))
    own = read_own_values(CONF_FOLDER / path)
    assert [key for key in list_leaf_keys(own) if look_up(own, key) == look_up(without, key)] == []


def test_experiment_file_begins_with_its_description():
    """``launch.driver --help`` prints the descriptions."""
    for path in (CONF_FOLDER / "experiment").glob("*.yaml"):
        package, description = path.read_text().splitlines()[:2]
        assert package == "# @package _global_"
        assert description.startswith("# ") and 20 < len(description) <= 100, f"{path.name}: {description}"


def test_number_of_keys_is_limited():
    assert len(list_known_keys()) < 120


def list_fields(kind):
    """Yield (dotted key, pydantic field) of every leaf of a schema."""
    hints = typing.get_type_hints(kind, vars(schema))
    for name, field in kind.__pydantic_fields__.items():
        if dataclasses.is_dataclass(hints[name]):
            yield from ((f"{name}.{key}", leaf) for key, leaf in list_fields(hints[name]))
        else:
            yield name, field


def test_every_key_has_a_docstring():
    documented = {key for key, field in list_fields(Config) if (field.description or "").strip()}
    assert documented == set(list_known_keys())
    assert [key for key, field in list_fields(WarmStartConfig) if not field.description] == []


def test_warm_start_defaults_are_valid_and_errors_are_reported():
    values = compose_values("command/warm_start")
    assert isinstance(parse_warm_start(values), WarmStartConfig)
    with pytest.raises(ConfigError, match=r"^steps: .*\(got 0\)$"):
        parse_warm_start(values | {"steps": 0})
    with pytest.raises(ConfigError, match=r"^vocabluary: unknown key; did you mean vocabulary\?$"):
        parse_warm_start(values | {"vocabluary": 1})
