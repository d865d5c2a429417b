"""Where an exported model may be written. It imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from conf.schema import ConfigError


def check_output(output: Path, overwrite: bool) -> None:
    """Check that an export may be written to ``output``: only a model that an export has written is replaced.

    Raises ConfigError.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise ConfigError(f"output={output}: exists; choose another directory, or set overwrite=true")
    ours = (output / "README.md").is_file() and (output / "config.json").is_file()
    if not ours or (output / "trainer").exists():
        raise ConfigError(f"output={output}: holds something else than an exported model; remove it yourself")
