"""Identity of what all arms share: starter policy, problems, settings. Rows of another environment do not compare."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

from benchmarks.ablation.arms import BASE
from conf.schema import Config
from evaluator.problem import to_row
from launch.composition import compose_config
from launch.models.starter_policy import load_warm_start_defaults, name_starter_policy
from launch.problems.datasets import load_dataset

# Settings that were added after the first rows, and their defaults. With these, they do not count: rows stay valid.
LATER_SETTINGS: tuple[tuple[str, str, Any], ...] = (
    ("dataset", "train", None),
    ("dataset", "exclude", ["lcb_v6", "humaneval", "mbpp"]),
    ("learner", "compile", False),
    ("learner", "logprobs_while_sampling", True),
    ("cluster", "gpu_memory_gib", None),
    ("logging", "report_every", 20),
)


def hash_environment() -> str:
    """Hash the starter policy's recipe, all problems, and the settings of ``BASE``."""
    config = compose_config(*BASE)
    dataset = load_dataset(config.dataset)
    content = {
        "starter": name_starter_policy(load_warm_start_defaults()),
        "training": [to_row(problem) for problem in dataset.training],
        "held_out": [to_row(problem) for problem in dataset.held_out],
        "settings": select_settings(config),
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()


def select_settings(config: Config) -> dict[str, Any]:
    """Return the settings that count: not those that say where and under which name a run takes place."""
    settings = asdict(replace(config, run=replace(config.run, name="", root="", resume=False)))
    for group, key, default in LATER_SETTINGS:
        if settings[group][key] == default:
            del settings[group][key]
            if not settings[group]:  # the group was added with its key
                del settings[group]
    return settings
