"""Settings of runs: runs that differ in their seeds only are grouped, and what differs between groups is listed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import takewhile

import yaml

from launch.command import CONF
from launch.run_report.run_files import RecordedSettings, RunFiles

IDENTITY_KEYS = ("run.name", "run.seed", "run.root", "run.resume", "dry_run")
"""Keys that say which run it is. They are never a difference between settings."""
RESOURCE_KEYS = (
    *("run.checkpoint_every", "run.keep_checkpoints", "run.tensorboard", "run.deterministic"),
    *("cluster.*", "weight_transfer.*", "*.device", "*.cpus", "*.threads", "*.deadline_s"),
    *("*.start_deadline_s", "model.attention", "model.parameters_m", "dataset.strict"),
    *("generator.actors", "generator.tensor_parallel", "generator.max_sequences", "generator.kv_cache_gib"),
    *("generator.gpu_memory_fraction", "evaluator.min_actors", "evaluator.max_actors", "evaluator.workers"),
    *("evaluator.strict", "learner.ranks", "learner.micro_batch_tokens", "learner.sync_every_micro_batch"),
    *("learner.activation_checkpointing", "learner.logprobs_while_sampling", "learner.compile"),
    *("evaluation.every", "evaluation.samples", "evaluation.other_temperatures"),
)
"""Keys that change where, how fast and with how many measurements a run takes place, but not the method: patterns in
which ``*`` is any text. Runs that differ in them may be seeds of one setting, see ``group_by_setting``. All other keys
make a setting, ``run.steps`` too, because schedules depend on it."""

MAX_LABEL_KEYS = 3
MAX_LABEL_LENGTH = 72
ABSENT = "—"
SEED_SUFFIX = re.compile(r"([-_. ]+(seed|s))?[-_. ]*[0-9]*$")
"""End of the text with which all names of a setting's runs begin: "-seed1" for "method-seed10" and "method-seed11"."""

Values = Mapping[str, str]
"""Values of a configuration as JSON text, by dotted key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Runs with the same method, which differ in their seeds.

    Attributes:
        label: short description, different from those of the other settings.
        runs: the runs, in the given order.
    """

    label: str
    runs: tuple[RunFiles, ...]


@dataclass(frozen=True)
class DifferingKey:
    """A key of the configuration that is not the same in all runs.

    Attributes:
        key: dotted key.
        values: a text per setting, with all values of its runs if these differ; None if no run has the key.
    """

    key: str
    values: tuple[str | None, ...]


def group_by_setting(runs: Sequence[RunFiles]) -> tuple[Setting, ...]:
    """Group runs by the keys that make a setting; groups and their runs keep the order of ``runs``.

    A key that a run of an older version lacks counts as its default. Runs of a group with the same seed that differ in
    a key of ``RESOURCE_KEYS`` are not repetitions with other seeds, but a comparison of that key: such a group is
    divided by these keys too. Runs without a readable configuration are settings of their own.
    """
    groups = [
        part
        for group in _divide(runs, lambda run: _identify(run, is_method_key))
        for part in (_divide(group, lambda run: _identify(run, is_setting_key)) if _repeats_a_seed(group) else [group])
    ]
    return tuple(
        Setting(label=label, runs=tuple(group)) for label, group in zip(_make_labels(groups), groups, strict=True)
    )


def is_setting_key(key: str) -> bool:
    """Return True for a key that may differ between settings: all but those that say which run it is."""
    return key not in IDENTITY_KEYS


def is_method_key(key: str) -> bool:
    """Return True for a key whose values make a setting."""
    return is_setting_key(key) and not any(fnmatchcase(key, pattern) for pattern in RESOURCE_KEYS)


def differing_keys(settings: Sequence[Setting]) -> tuple[DifferingKey, ...]:
    """List the keys that are not the same in all runs, except those that say which run it is, in alphabetical order.

    A key that a run lacks differs from its default here, so differences between versions are listed.
    """
    values = [[run.config.flatten() for run in setting.runs] for setting in settings]
    keys = sorted({key for runs in values for run in runs for key in run if is_setting_key(key)})
    return tuple(
        DifferingKey(key, tuple(_join_values([run.get(key) for run in runs]) for runs in values))
        for key in keys
        if len({run.get(key) for runs in values for run in runs}) > 1
    )


def _join_values(values: Sequence[str | None]) -> str | None:
    """Return the different values of a setting's runs as one text; None if no run has a value."""
    if all(value is None for value in values):
        return None
    return ", ".join(dict.fromkeys(_format_value(value) for value in values))


def _format_value(value: str | None) -> str:
    """Return a JSON text as it is written on the command line: strings without quotes."""
    if value is None:
        return ABSENT
    return str(json.loads(value)) if value.startswith('"') else value


@cache
def _load_defaults() -> Values:
    return RecordedSettings(yaml.safe_load((CONF / "config.yaml").read_text())).flatten()


def _identify(run: RunFiles, select: Callable[[str], bool]) -> tuple[tuple[str, str], ...]:
    """Return the selected keys of a run that are not at their defaults, with their values."""
    values = run.config.flatten()
    if not values:
        return (("path", str(run.path)),)
    defaults = _load_defaults()
    return tuple(
        sorted((key, value) for key, value in values.items() if select(key) and value != defaults.get(key, "null"))
    )


def _divide(
    runs: Sequence[RunFiles], identify: Callable[[RunFiles], tuple[tuple[str, str], ...]]
) -> list[list[RunFiles]]:
    groups: dict[tuple[tuple[str, str], ...], list[RunFiles]] = {}
    for run in runs:
        groups.setdefault(identify(run), []).append(run)
    return list(groups.values())


def _repeats_a_seed(runs: Sequence[RunFiles]) -> bool:
    seeds = [run.config.get("run.seed") for run in runs]
    return len(set(map(repr, seeds))) < len(seeds)


def _make_labels(groups: Sequence[Sequence[RunFiles]]) -> list[str]:
    """Describe each group by the keys in which the groups differ, or by the names of its runs.

    With many such keys, each group is described by those in which it differs from the first one.
    """
    values = [dict(_identify(group[0], is_setting_key)) for group in groups]
    differing = _find_differences(values, groups)
    labels = []
    for own, group in zip(values, groups, strict=True):
        keys = differing
        if len(keys) > MAX_LABEL_KEYS:
            keys = [key for key in differing if own.get(key) != values[0].get(key)]
        parts = [f"{key}={_format_value(own.get(key, _load_defaults().get(key)))}" for key in keys]
        label = ", ".join(parts)
        is_clear = 0 < len(keys) <= MAX_LABEL_KEYS and len(label) <= MAX_LABEL_LENGTH
        labels.append(label if is_clear else _find_common_name([run.name for run in group]))
    return _number_equal_labels(labels)


def _find_differences(values: Sequence[Values], groups: Sequence[Sequence[RunFiles]]) -> list[str]:
    """Return the keys by which groups are told apart: those of the method, if these suffice."""
    if not all(group[0].config.values for group in groups):
        return []  # a group without a configuration has nothing but its name
    keys = sorted({key for own in values for key in own if len({other.get(key) for other in values}) > 1})
    method = [key for key in keys if is_method_key(key)]
    is_enough = len({tuple(own.get(key) for key in method) for own in values}) == len(values)
    return method if is_enough else keys


def _find_common_name(names: Sequence[str]) -> str:
    """Return the beginning that the names of a setting's runs share, without the number of the seed."""
    if len(set(names)) == 1:
        return names[0]
    pairs = zip(min(names), max(names), strict=False)  # the names in between begin as these two do
    start = "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return SEED_SUFFIX.sub("", start) or f"{names[0]} and {len(names) - 1} more"


def _number_equal_labels(labels: Sequence[str]) -> list[str]:
    """Append a number to labels that occur before."""
    unique: list[str] = []
    for label in labels:
        number = 1
        candidate = label
        while candidate in unique:
            number += 1
            candidate = f"{label} ({number})"
        unique.append(candidate)
    return unique
