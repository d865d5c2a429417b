"""Starter policy: a small model trained from scratch, once, and kept in the cache.

The name of its directory contains a fingerprint of the recipe (settings, data and code), so a changed recipe is trained
again.
"""

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
from launch.models.supervised_training import TrainingExample, make_progress_printer, train_supervised
from launch.problems.prompts import build_training_prompt, format_answer
from launch.problems.starter import draw_warm_start_pairs

DEFAULTS = Path(__file__).parents[2] / "conf" / "command" / "warm_start.yaml"


def build_default_starter(console: Console) -> Path:
    """Return the directory of the starter policy of ``conf/command/warm_start.yaml``; train it if it is not cached."""
    return build_starter_policy(load_warm_start_defaults(), console)


def load_warm_start_defaults(**changes: Any) -> WarmStartConfig:
    """Load the defaults of ``launch.warm_start`` without Hydra, so that any command can call it.

    ``changes`` are keys to replace.
    """
    values: Any = OmegaConf.to_container(OmegaConf.load(DEFAULTS))
    hydra_keys = ("defaults", "hydra")
    return parse_warm_start({key: value for key, value in values.items() if key not in hydra_keys} | changes)


def build_starter_policy(config: WarmStartConfig, console: Console) -> Path:
    """Return the directory of the starter policy of ``config``; train it if it is not cached."""
    examples = add_mistakes(draw_warm_start_pairs(config.pairs, config.seed), config.mistakes, config.seed)
    target = CACHE / f"starter-{_compute_fingerprint(config, examples)}"
    if not (target / "config.json").is_file():
        console.print(f"building the starter policy ({config.steps} steps, once) in {target}")
        train_supervised(replace(config, output=str(target)), examples, make_progress_printer(console))
    return target


def add_mistakes(examples: Sequence[TrainingExample], share: float, seed: int) -> list[TrainingExample]:
    """Replace the programs of some problems by the program of another variant of the same problem family.

    A model trained on these examples can write programs and follow a problem statement, but often fails to do so. It
    resembles a pretrained model before reinforcement learning, and the reward can improve it within minutes.

    Args:
        examples: correct examples.
        share: share of the examples to replace.
        seed: seed of the random choice.
    """
    generator = np.random.default_rng(seed)
    families: dict[str, list[str]] = defaultdict(list)
    for problem, program in examples:
        families[problem.extra["family"]].append(program)
    return [
        (problem, str(generator.choice(families[problem.extra["family"]])) if generator.random() < share else program)
        for problem, program in examples
    ]


def _compute_fingerprint(config: WarmStartConfig, examples: Sequence[TrainingExample]) -> str:
    """Hash the recipe: its settings, its data, and the source code that applies it."""
    recipe = hashlib.blake2b(digest_size=6)
    recipe.update(repr(sorted(asdict(config).items())).encode())
    for problem, program in examples:
        recipe.update(f"{build_training_prompt(problem)}\0{format_answer(program)}\0".encode())
    for source in ("models/supervised_training.py", "models/starter_model.py", "problems/prompts.py"):
        recipe.update((Path(__file__).parents[1] / source).read_bytes())
    return recipe.hexdigest()
