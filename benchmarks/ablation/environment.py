"""Identity of what all arms share: starter policy, problems, settings. Rows of another environment do not compare."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from benchmarks.ablation.arms import BASE
from conf.schema import Config
from evaluator.problem import to_row
from launch.composition import compose_config
from launch.models.starter_policy import load_warm_start_defaults, name_starter_policy
from launch.problems.datasets import load_dataset


def hash_environment() -> str:
    """Hash the starter policy's recipe, all problems, and the settings of ``BASE``."""
    config = compose_config(*BASE)
    dataset = load_dataset(config.dataset)
    content = {
        "starter": name_starter_policy(load_warm_start_defaults()),
        "training": [to_row(problem) for problem in dataset.training],
        "held_out": [to_row(problem) for problem in dataset.held_out],
        "settings": asdict(without_place(config)),
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()


def without_place(config: Config) -> Config:
    """Return the configuration without what says where and under which name a run takes place."""
    return replace(config, run=replace(config.run, name="", root="", resume=False))
