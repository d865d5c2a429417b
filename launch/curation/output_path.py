"""Quick check of the output directory of a curation. This module imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from conf.schema import ConfigError

WORK = "work"
"""Name of the folder in ``output`` that holds the stages."""
HOW_TO_RESUME = "run the same command again to continue"
"""Advice at the end of messages about a run that was stopped."""


def check_output(output: Path) -> None:
    """Check that a data set may be curated into ``output``: it is missing, empty, or holds a curation.

    Raises:
        ConfigError: the directory must not be written to.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"output={output}: is a file; give a directory")
    if output.is_dir() and any(output.iterdir()) and not (output / WORK / "lock").exists():
        raise ConfigError(f"output={output}: holds other files; choose an empty directory, or the one of a curation")
