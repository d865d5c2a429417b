"""Compose a configuration in Python as a command composes it from its arguments, for benchmarks and tests.

Do not use it inside a command: Hydra has composed the configuration there, and allows only one composition at a time.
"""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from conf.schema import Config
from conf.validation import parse_config
from launch.command import CONF


def compose_tree(command: str, *overrides: str) -> DictConfig:
    """Compose ``conf/<command>.yaml`` with command line ``overrides``; interpolations stay unresolved."""
    path = CONF / f"{command}.yaml"
    with initialize_config_dir(str(path.parent), version_base="1.3"):
        return compose(path.stem, list(overrides))


def compose_values(command: str, *overrides: str) -> dict[str, Any]:
    """Compose ``conf/<command>.yaml`` with command line ``overrides`` into plain values; resolve interpolations."""
    values: Any = OmegaConf.to_container(compose_tree(command, *overrides), resolve=True)
    return values


def compose_config(*overrides: str, command: str = "config", training: bool = True) -> Config:
    """Compose and validate a configuration.

    Args:
        overrides: command line arguments, for example "run.steps=3".
        command: name of the command's file in ``conf/``; the default is that of ``launch.driver``.
        training: also check what only training needs.

    Raises:
        ConfigError: the configuration is invalid.
    """
    return parse_config(compose_values(command, *overrides), training)
