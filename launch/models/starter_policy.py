"""Starter policy: a small model trained from scratch, once, and kept in the cache.

The name of its directory contains a fingerprint of the recipe (settings, data and code), so a changed recipe is trained
again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from conf.schema import WarmStartConfig
from conf.validation import parse_warm_start
from launch.models.resolve import CACHE
from launch.models.supervised_training import SupervisedExample, make_progress_printer, train_supervised
from launch.problems.prompts import build_training_prompt
from launch.problems.starter.answers import draw_warm_start_answers

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


def name_starter_policy(config: WarmStartConfig) -> str:
    """Return the name of the directory of the starter policy of ``config``, which identifies its recipe."""
    return f"starter-{_compute_fingerprint(config, draw_examples(config))}"


def draw_examples(config: WarmStartConfig) -> list[SupervisedExample]:
    """Draw the examples that the starter policy of ``config`` is trained on."""
    return [
        SupervisedExample(problem=answer.problem, answer=answer.text, complete=answer.complete)
        for answer in draw_warm_start_answers(config.pairs, config.seed, config.mistakes)
    ]


def build_starter_policy(config: WarmStartConfig, console: Console) -> Path:
    """Return the directory of the starter policy of ``config``; train it if it is not cached."""
    examples = draw_examples(config)
    target = CACHE / f"starter-{_compute_fingerprint(config, examples)}"
    if not (target / "config.json").is_file():
        console.print(f"building the starter policy ({config.steps} steps, once) in {target}")
        train_supervised(replace(config, output=str(target)), examples, make_progress_printer(console))
    return target


def _compute_fingerprint(config: WarmStartConfig, examples: Sequence[SupervisedExample]) -> str:
    """Hash the recipe: its settings, its data, and the source code that applies it."""
    recipe = hashlib.blake2b(digest_size=6)
    recipe.update(repr(sorted(asdict(config).items())).encode())
    for example in examples:
        recipe.update(f"{build_training_prompt(example.problem)}\0{example.answer}\0{example.complete}\0".encode())
    for source in ("models/supervised_training.py", "models/starter_model.py", "problems/prompts.py"):
        recipe.update(_read_code(Path(__file__).parents[1] / source).encode())
    return recipe.hexdigest()


def _read_code(path: Path) -> str:
    """Return Python source without comments and docstrings, whose wording does not change a recipe."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = node.body if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else []
        for statement in body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                statement.value.value = ""
    return ast.unparse(tree)
