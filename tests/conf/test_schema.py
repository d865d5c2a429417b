"""The configuration: every experiment is valid, every mistake is named with its path and what to type instead."""

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
from conf.schema import Config, ConfigError, ExportConfig, ScaleConfig, WarmStartConfig
from conf.validation import known_keys, parse_config, parse_warm_start
from evaluator.errors import UserError
from launch.composition import compose_values
from tests.factories import CONF, composed, config

COMMANDS = {"warm_start": WarmStartConfig, "export": ExportConfig, "scale": ScaleConfig}
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def changed(key, value):
    """The composed values with one key, by its dotted path, set or added."""
    values = copy.deepcopy(composed("+experiment=quickstart"))
    *parents, name = key.split(".")
    place = values
    for parent in parents:
        place = place[parent]
    place[name] = value
    return values


def refusal(values):
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    return str(caught.value)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_valid(name):
    assert isinstance(config(experiment=name), Config)


def test_there_are_experiments():
    assert {"quickstart", "lcb_v6"} <= set(EXPERIMENTS)


def test_the_defaults_are_the_method():
    algorithm = config(experiment="lcb_v6").algorithm
    assert (algorithm.group_size, algorithm.clip_low, algorithm.clip_high) == (8, 0.2, 0.28)
    assert (algorithm.mask_probability, algorithm.repeat_window, algorithm.mismatch_cap) == (0.2, 128, 2.0)


def test_the_temperature_of_the_reference_run_and_of_its_baselines():
    temperature = config(experiment="lcb_v6").temperature
    assert (temperature.kind, temperature.target_diversity, temperature.min_diversity) == ("diversity", 0.68, 0.5)
    assert (temperature.grid, temperature.calibration_prompts) == ([0.6, 0.8, 1.0, 1.2, 1.4, 1.6], 64)
    for name in ("lcb_v6_dapo", "lcb_v6_grpo", "quickstart"):
        found = config(experiment=name).temperature
        assert (found.kind, found.value) == ("fixed", 1.0)


def test_a_schedule_is_pairs():
    changes = ("temperature.kind=schedule", "temperature.value=0.6", "temperature.schedule=[[140,1.2],[300,1]]")
    assert config(*changes).temperature.schedule == [(140, 1.2), (300, 1.0)]
    for pair, path in (([0, 1.2], "schedule.0.0"), ([140, 0.0], "schedule.0.1"), ([140], "schedule.0.1")):
        assert refusal(changed("temperature.schedule", [pair])).startswith(f"temperature.{path}: ")


RECIPES = {
    "microcoder_grpo": ("token_mean", "standardised", 0.28, 0.0, "conditional", 0.0, 0),
    "grpo": ("sequence_mean", "standardised", 0.2, 0.04, "none", 0.0, 0),
    "dapo": ("token_mean", "standardised", 0.28, 0.0, "none", 0.5, 9),
    "grpo_plus": ("token_mean", "standardised", 0.28, 0.0, "failing", 0.0, 0),
    "dr_grpo": ("constant", "centred", 0.2, 0.0, "none", 0.0, 0),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name):
    algorithm = config(f"algorithm={name}", experiment="lcb_v6").algorithm
    assert (
        algorithm.aggregation,
        algorithm.advantage,
        algorithm.clip_high,
        algorithm.kl_weight,
        algorithm.truncation_mask,
        algorithm.overlong_penalty,
        algorithm.dynamic_sampling_rounds,
    ) == RECIPES[name]
    assert (algorithm.clip_low, algorithm.dual_clip, algorithm.mismatch_cap) == (0.2, None, 2.0)
    assert algorithm.overlong_cache == 0.2


def test_every_recipe_is_known():
    assert {path.stem for path in (CONF / "algorithm").glob("*.yaml")} == set(RECIPES)


@pytest.mark.parametrize(("experiment", "recipe"), [("lcb_v6_grpo", "grpo"), ("lcb_v6_dapo", "dapo")])
def test_the_baselines_of_the_paper_differ_in_algorithm_temperature_and_name_only(experiment, recipe):
    base = config(experiment="lcb_v6")
    found = config(experiment=experiment)
    assert found.algorithm == config(f"algorithm={recipe}", experiment="lcb_v6").algorithm
    same: dict[str, Any] = {"algorithm": base.algorithm, "temperature": base.temperature}
    assert dataclasses.replace(found, **same, run=dataclasses.replace(found.run, name=base.run.name)) == base


def test_overrides_arrive():
    assert config("algorithm.group_size=4", "run.name=x").algorithm.group_size == 4


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().run.steps = 3  # type: ignore[misc] # what is tested


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
def test_an_unknown_key_names_the_nearest(key, nearest):
    assert refusal(changed(key, 1)) == f"{key}: unknown key; did you mean {nearest}?"


def test_an_unknown_key_like_no_other():
    assert (
        refusal(changed("run.zzzzzzzzzzzzzzzzzzz", 1))
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
def test_a_wrong_value_is_named(key, value):
    message = refusal(changed(key, value))
    assert message.startswith(f"{key}")
    assert f"(got {value!r})" in message


def test_a_wrong_configuration_is_for_the_user_to_put_right():
    assert issubclass(ConfigError, UserError) and issubclass(ConfigError, ValueError)


def test_a_missing_key_is_named():
    values = copy.deepcopy(composed("+experiment=quickstart"))
    del values["run"]["steps"]
    assert refusal(values).startswith("run.steps: missing")


def test_every_problem_is_named_at_once():
    values = changed("run.steps", 0)
    values["learner"]["threads"] = "many"
    values["evaluator"]["worker"] = 1
    paths = {line.split(":")[0] for line in refusal(values).splitlines()}
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
            "dataset.name and dataset.path are both null: set dataset.path=FILE or dataset.name=starter",
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
            "algorithm.repeat_window=51 needs 2 x that many tokens, but generator.max_response_tokens=100: lower it",
        ),
        (
            ("run.steps=5", "learner.warmup_steps=10", "learner.decay=linear"),
            "learner.warmup_steps=10 leaves nothing to learner.decay=linear: run.steps=5 makes 10 updates; lower "
            "it, or set decay=constant",
        ),
        (
            ("generator.max_response_tokens=100", "algorithm.overlong_penalty=0.5", "algorithm.overlong_cache=0.009"),
            "algorithm.overlong_cache=0.009 of generator.max_response_tokens=100 is less than a token: raise it, or "
            "set overlong_penalty=0",
        ),
        (
            ("generator.device=cpu", "generator.tensor_parallel=2"),
            "generator.tensor_parallel > 1 needs generator.device=cuda",
        ),
        (
            ("evaluator.min_actors=3", "evaluator.max_actors=2"),
            "evaluator.min_actors=3 is more than evaluator.max_actors=2: raise max_actors, or set both to the same "
            "number for a fixed pool",
        ),
        (
            ("dataset.name=lcb_v6", "dataset.release=release_v6"),
            "dataset.release=release_v6 is one of LiveCodeBench: set dataset.name=livecodebench",
        ),
        (
            ("dataset.name=livecodebench",),
            "dataset.name=livecodebench needs dataset.release=release_v6 (or v1 to v5), or held_out_path=FILE",
        ),
        (
            ("dataset.start_date=2025-01-01",),
            "dataset.start_date and end_date select from LiveCodeBench: set dataset.name=livecodebench",
        ),
        (
            ("dataset.name=lcb_v6", "dataset.start_date=2025-02-02", "dataset.end_date=2025-02-01"),
            "dataset.start_date=2025-02-02 is after dataset.end_date=2025-02-01",
        ),
        (
            ("temperature.kind=schedule", "temperature.schedule=[[200,1.2],[140,1.0]]"),
            "temperature.schedule: steps [200, 140] do not ascend: sort the pairs, one for each step",
        ),
        (
            ("temperature.kind=schedule", "temperature.schedule=[[140,1.2],[140,1.0]]"),
            "temperature.schedule: steps [140, 140] do not ascend: sort the pairs, one for each step",
        ),
        (
            ("temperature.kind=schedule",),
            "temperature.kind=schedule without changes: set temperature.schedule=[[140,1.2]], or kind=fixed",
        ),
        (
            ("temperature.schedule=[[140,1.2]]",),
            "temperature.schedule with temperature.kind=fixed: set kind=schedule, or schedule=[]",
        ),
        (
            ("temperature.grid=[0.6,1.0,1.0]",),
            "temperature.grid=[0.6, 1.0, 1.0] does not ascend: sort it, each temperature once",
        ),
        (
            ("temperature.kind=diversity", "temperature.grid=[1.0,1.8]"),
            "temperature 1.8 is above temperature.highest=1.6: lower it, or raise temperature.highest if you mean it",
        ),
        (
            ("temperature.kind=schedule", "temperature.schedule=[[9,1.7]]"),
            "temperature 1.7 is above temperature.highest=1.6: lower it, or raise temperature.highest if you mean it",
        ),
        (
            ("temperature.target_diversity=0.3", "temperature.min_diversity=0.3"),
            "temperature.min_diversity=0.3 is not below temperature.target_diversity=0.3: every stage would end as "
            "soon as it may",
        ),
        (
            ("generator.partial_rollouts=true",),
            "generator.partial_rollouts=true with algorithm.max_staleness=0: on-policy, no completion goes on under "
            "other weights; set max_staleness=1, or partial_rollouts=false",
        ),
        (
            ("run.deterministic=true", "algorithm.max_staleness=1", "evaluator.adaptive_timeout=false"),
            "run.deterministic=true with algorithm.max_staleness=1: which weights a token sees would depend on timing; "
            "set max_staleness=0",
        ),
        (
            ("run.deterministic=true",),
            "run.deterministic=true with evaluator.adaptive_timeout=true: limits would depend on timing; set "
            "evaluator.adaptive_timeout=false",
        ),
    ],
)
def test_impossible_combinations(overrides, message):
    assert refusal(composed("+experiment=quickstart", *overrides)) == message


@pytest.mark.parametrize(
    "overrides",
    [
        ("algorithm.train_batch_size=10", "algorithm.mini_batch_size=5"),
        ("dataset.name=null", "dataset.path=problems.jsonl"),
        ("run.steps=5", "learner.warmup_steps=10"),
        ("run.steps=5", "learner.warmup_steps=9", "learner.decay=cosine"),
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
def test_combinations_at_the_edge_of_the_possible(overrides):
    config(*overrides)


def leaves(values, path=""):
    for name, value in values.items():
        yield from leaves(value, f"{path}{name}.") if isinstance(value, dict) else [f"{path}{name}"]


def test_known_keys_are_those_of_the_yaml():
    assert sorted(leaves(composed())) == sorted(known_keys())


def own_values(path):
    """The configuration's values in a YAML file: without Hydra's own keys."""
    values = yaml.safe_load(path.read_text()) or {}
    return {key: value for key, value in values.items() if key not in ("defaults", "hydra")}


def test_config_yaml_holds_every_key():
    assert sorted(leaves(own_values(CONF / "config.yaml"))) == sorted(known_keys())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_yaml_of_a_command_holds_every_key(command):
    assert sorted(own_values(CONF / "command" / f"{command}.yaml")) == sorted(known_keys(COMMANDS[command]))


def lookup(values, key):
    for name in key.split("."):
        values = values[name]
    return values


GROUPS = ("algorithm", "cluster", "experiment", "model")
DIFFERENCES = [
    *sorted(path.relative_to(CONF) for group in GROUPS for path in (CONF / group).glob("*.yaml")),
    Path("evaluate.yaml"),
]


@pytest.mark.parametrize("path", DIFFERENCES, ids=str)
def test_a_group_an_experiment_and_a_command_hold_only_what_differs(path, tmp_path):
    """No key of the file has the value that composes without the file's own keys."""
    copy_of_conf = tmp_path / "conf"
    group = path.parent.name
    shutil.copytree(CONF, copy_of_conf, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    defaults = [*(yaml.safe_load((CONF / path).read_text()) or {}).get("defaults", [])]
    if "_self_" not in defaults:
        defaults.append("_self_")
    (copy_of_conf / path).write_text(f"# @package _global_\n{yaml.safe_dump({'defaults': defaults})}")
    command, choice = (path.stem, []) if not group else ("config", [f"{group}={path.stem}"])
    with initialize_config_dir(str(copy_of_conf), version_base="1.3"):
        without = OmegaConf.to_container(compose(command, [f"+{choice[0]}"] if group == "experiment" else choice))
    own = own_values(CONF / path)
    assert [key for key in leaves(own) if lookup(own, key) == lookup(without, key)] == []


def test_an_experiment_begins_with_a_line_that_describes_it():
    """``launch.driver --help`` lists them."""
    for path in (CONF / "experiment").glob("*.yaml"):
        package, description = path.read_text().splitlines()[:2]
        assert package == "# @package _global_"
        assert description.startswith("# ") and 20 < len(description) <= 100, f"{path.name}: {description}"


def test_few_keys():
    assert len(known_keys()) < 120


def fields_of(kind):
    """(dotted key, pydantic field) of every leaf."""
    hints = typing.get_type_hints(kind, vars(schema))
    for name, field in kind.__pydantic_fields__.items():
        if dataclasses.is_dataclass(hints[name]):
            yield from ((f"{name}.{key}", leaf) for key, leaf in fields_of(hints[name]))
        else:
            yield name, field


def test_every_key_has_a_docstring():
    documented = {key for key, field in fields_of(Config) if (field.description or "").strip()}
    assert documented == set(known_keys())
    assert [key for key, field in fields_of(WarmStartConfig) if not field.description] == []


def test_the_warm_start_is_valid_and_checked():
    values = compose_values("command/warm_start")
    assert isinstance(parse_warm_start(values), WarmStartConfig)
    with pytest.raises(ConfigError, match=r"^steps: .*\(got 0\)$"):
        parse_warm_start(values | {"steps": 0})
    with pytest.raises(ConfigError, match=r"^vocabluary: unknown key; did you mean vocabulary\?$"):
        parse_warm_start(values | {"vocabluary": 1})
