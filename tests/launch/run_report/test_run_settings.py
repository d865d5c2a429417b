"""Grouping of runs by setting, labels, and the keys that differ."""

import pytest

from conf.schema import Config
from launch.run_report.run_files import RecordedSettings
from launch.run_report.run_settings import (
    IDENTITY_KEYS,
    RESOURCE_KEYS,
    differing_keys,
    group_by_setting,
    is_method_key,
    is_setting_key,
)
from tests.launch.run_report.run_factory import make_run_files, make_settings

DEFAULT = make_settings({})


def make_run(name, *, config=None, **changes):
    """Make a run without files; ``changes`` are values by dotted key with ``__`` for the dot."""
    if config is None:
        config = make_settings({"run.name": name, **{key.replace("__", "."): value for key, value in changes.items()}})
    return make_run_files(f"runs/{name}", config=config)


def list_names(settings):
    return [[run.name for run in setting.runs] for setting in settings]


def list_labels(settings):
    return [setting.label for setting in settings]


def test_runs_that_differ_in_their_seeds_are_one_setting():
    runs = [make_run(f"method-seed{seed}", run__seed=seed, run__root=f"runs{seed}") for seed in (3, 1, 2)]
    (setting,) = group_by_setting(runs)
    assert list(setting.runs) == runs
    assert setting.label == "method"
    assert differing_keys([setting]) == ()


def test_a_method_key_makes_a_setting_and_its_label():
    runs = [
        make_run("a", temperature__value=0.6),
        make_run("b"),
        make_run("c", run__seed=1, temperature__value=0.6),
        make_run("d", temperature__kind="diversity"),
    ]
    settings = group_by_setting(runs)
    assert list_names(settings) == [["a", "c"], ["b"], ["d"]]
    assert list_labels(settings) == [
        "temperature.kind=fixed, temperature.value=0.6",
        "temperature.kind=fixed, temperature.value=1.0",
        "temperature.kind=diversity, temperature.value=1.0",
    ]


def test_seeds_may_have_other_resources_which_are_listed():
    runs = [make_run("a", generator__actors=1), make_run("b", run__seed=1, generator__actors=2)]
    settings = group_by_setting(runs)
    assert list_names(settings) == [["a", "b"]]
    assert [(row.key, row.values) for row in differing_keys(settings)] == [("generator.actors", ("1, 2",))]


def test_runs_with_one_seed_and_other_resources_are_compared():
    runs = [make_run("a", generator__actors=1), make_run("b", generator__actors=2)]
    settings = group_by_setting(runs)
    assert list_names(settings) == [["a"], ["b"]]
    assert list_labels(settings) == ["generator.actors=1", "generator.actors=2"]


def test_equal_runs_are_repetitions_in_one_setting():
    assert list_names(group_by_setting([make_run("a"), make_run("b")])) == [["a", "b"]]


def test_a_key_that_an_older_run_lacks_counts_as_its_default():
    older = make_settings({"run.name": "older"})
    assert older["learner"].pop("weight_decay") == 0.0
    other = make_run("other", run__seed=1, learner__weight_decay=0.1)
    settings = group_by_setting([make_run("older", config=older), make_run("new", run__seed=2), other])
    assert list_names(settings) == [["older", "new"], ["other"]]
    assert list_labels(settings) == ["learner.weight_decay=0.0", "learner.weight_decay=0.1"]
    assert [(row.key, row.values) for row in differing_keys(settings)] == [("learner.weight_decay", ("—, 0.0", "0.1"))]


def test_a_key_of_no_run_of_a_setting_has_no_value():
    added = make_settings({})
    added["algorithm"]["added_later"] = "yes"
    settings = group_by_setting([make_run("a"), make_run("b", config=added)])
    assert [row.values for row in differing_keys(settings)] == [(None, "yes")]
    assert list_labels(settings) == ["algorithm.added_later=—", "algorithm.added_later=yes"]


def test_each_of_many_settings_is_described_by_its_difference_from_the_first():
    runs = [
        make_run("method"),
        make_run("a", algorithm__clip_high=0.2),
        make_run("b", algorithm__truncation_mask="none"),
        make_run("c", algorithm__kl_weight=0.1),
        make_run("d", algorithm__group_size=4),
    ]
    assert list_labels(group_by_setting(runs)) == [
        "method",
        "algorithm.clip_high=0.2",
        "algorithm.truncation_mask=none",
        "algorithm.kl_weight=0.1",
        "algorithm.group_size=4",
    ]


def test_settings_with_many_differences_are_described_by_their_names():
    changes = {
        "algorithm__clip_high": 0.2,
        "algorithm__kl_weight": 0.1,
        "algorithm__group_size": 4,
        "learner__weight_decay": 0.1,
    }
    runs = [make_run("method_s0"), make_run("method_s1", run__seed=1), make_run("grpo", **changes)]
    assert list_labels(group_by_setting(runs)) == ["method", "grpo"]


def test_long_values_are_not_in_labels():
    schedule = [[step, 1.0] for step in range(1, 40)]
    runs = [make_run("a"), make_run("b", temperature__schedule=schedule)]
    assert list_labels(group_by_setting(runs)) == ["temperature.schedule=[]", "b"]


def test_labels_are_unique():
    runs = [make_run("x/same", config={}), make_run("y/same", config={}), make_run("z/same")]
    settings = group_by_setting(runs)
    assert len(settings) == 3
    assert list_labels(settings) == ["same", "same (2)", "same (3)"]


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["a"], "a"),
        (["method-seed10", "method-seed11"], "method"),
        (["class0", "class1"], "class"),
        (["2026-11-30_1", "2026-11-30_2"], "2026-11-30"),
        (["one", "two", "three"], "one and 2 more"),
    ],
)
def test_a_single_setting_has_the_common_name_of_its_runs(names, label):
    runs = [make_run(name, run__seed=seed) for seed, name in enumerate(names)]
    assert list_labels(group_by_setting(runs)) == [label]


def test_patterns_of_resources_match_keys_that_exist():
    keys = RecordedSettings(DEFAULT).flatten()
    assert set(DEFAULT) == set(Config.__dataclass_fields__)
    assert set(IDENTITY_KEYS) <= {key for key in keys if not is_setting_key(key)}
    resources = {key for key in keys if is_setting_key(key) and not is_method_key(key)}
    assert {"cluster.address", "learner.ranks", "weight_transfer.bucket_mb", "generator.deadline_s"} <= resources
    exact = {pattern for pattern in RESOURCE_KEYS if "*" not in pattern}
    assert exact <= keys.keys()
    sections = {"run", "dataset", "algorithm", "temperature", "learner", "evaluator", "evaluation", "model"}
    method = {key.split(".")[0] for key in keys if is_method_key(key)}
    assert sections <= method


def test_no_run_makes_no_setting():
    assert group_by_setting([]) == ()
    assert differing_keys([]) == ()
