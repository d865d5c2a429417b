"""Quick check of the output directory of an export. This module imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from conf.schema import ConfigError


def check_output(output: Path, overwrite: bool) -> None:
    """Check that an export may be written to ``output``.

    Args:
        output: directory to write to; it may be missing or empty.
        overwrite: allow to replace a model that an earlier export has written; nothing else is ever replaced.

    Raises:
        ConfigError: the directory must not be replaced.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise ConfigError(f"output={output}: exists; choose another directory, or set overwrite=true")
    has_model_card = (output / "README.md").is_file() and (output / "config.json").is_file()
    if not has_model_card or (output / "trainer").exists():
        raise ConfigError(
            f"output={output}: is not an exported model, so it is not replaced; choose another directory or remove it"
        )
