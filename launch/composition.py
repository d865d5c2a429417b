"""Compose a configuration from Python as a command does from its arguments: for benchmarks and tests.

Not for use inside a command: there Hydra has composed the configuration, and composes one at a time.
"""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from conf.schema import Config
from conf.validation import parse_config
from launch.command import CONF


def compose_values(command: str, *overrides: str) -> dict[str, Any]:
    """Compose ``conf/<command>.yaml`` with command-line ``overrides`` into plain values, interpolations resolved."""
    path = CONF / f"{command}.yaml"
    with initialize_config_dir(str(path.parent), version_base="1.3"):
        values: Any = OmegaConf.to_container(compose(path.stem, list(overrides)), resolve=True)
    return values


def compose_config(*overrides: str, command: str = "config", training: bool = True) -> Config:
    """Compose and validate the configuration of ``launch.driver``, or of ``command``. Raises ConfigError."""
    return parse_config(compose_values(command, *overrides), training)
