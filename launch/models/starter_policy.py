"""The starter policy: built once from nothing, by a recipe whose fingerprint names its directory in the cache."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console

from conf.schema import WarmStartConfig
from conf.validation import parse_warm_start
from launch.models.resolve import CACHE
from launch.models.supervised_training import Pair, progress_printer, train
from launch.problems.prompts import answer, instruction
from launch.problems.starter import warm_start_pairs

DEFAULTS = Path(__file__).parents[2] / "conf" / "command" / "warm_start.yaml"


def build_starter(console: Console) -> Path:
    """Build the starter policy of ``conf/command/warm_start.yaml``, unless it is in the cache."""
    return starter_policy(default_warm_start(), console)


def default_warm_start(**changes: Any) -> WarmStartConfig:
    """Defaults of ``launch.warm_start`` with ``changes``, read without Hydra: usable inside any command."""
    values: Any = OmegaConf.to_container(OmegaConf.load(DEFAULTS))
    hydra_keys = ("defaults", "hydra")
    return parse_warm_start({key: value for key, value in values.items() if key not in hydra_keys} | changes)


def starter_policy(config: WarmStartConfig, console: Console) -> Path:
    """The starter policy's directory; trains it first if this recipe has not been trained here before."""
    pairs = with_mistakes(warm_start_pairs(config.pairs, config.seed), config.mistakes, config.seed)
    target = CACHE / f"starter-{_fingerprint(config, pairs)}"
    if not (target / "config.json").is_file():
        console.print(f"building the starter policy ({config.steps} steps, once) in {target}")
        train(replace(config, output=str(target)), pairs, progress_printer(console))
    return target


def with_mistakes(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """Give ``share`` of the starter problems the program of another variant of their family.

    The policy then knows what programs look like and how to follow a statement, but often does not: what a pretrained
    model is like before reinforcement learning, and what the reward can teach in a few minutes.
    """
    generator = np.random.default_rng(seed)
    families: dict[str, list[str]] = defaultdict(list)
    for problem, program in pairs:
        families[problem.extra["family"]].append(program)
    return [
        (problem, str(generator.choice(families[problem.extra["family"]])) if generator.random() < share else program)
        for problem, program in pairs
    ]


def _fingerprint(config: WarmStartConfig, pairs: Sequence[Pair]) -> str:
    """Names the recipe: its settings, its data and the code that applies it."""
    recipe = hashlib.blake2b(digest_size=6)
    recipe.update(repr(sorted(asdict(config).items())).encode())
    for problem, program in pairs:
        recipe.update(f"{instruction(problem)}\0{answer(program)}\0".encode())
    for source in ("models/supervised_training.py", "models/starter_model.py", "problems/prompts.py"):
        recipe.update((Path(__file__).parents[1] / source).read_bytes())
    return recipe.hexdigest()
