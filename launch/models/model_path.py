"""Quick check of ``model.path``. This module imports nothing heavy and does not read the model."""

from __future__ import annotations

from pathlib import Path

from evaluator.errors import UserError

STARTER = "starter"


class ModelError(UserError, RuntimeError):
    """There is no usable model at ``model.path``. The message says what to do."""


def check_model_path(path: str, key: str = "model.path") -> None:
    """Check that ``path`` is ``starter``, a directory with a checkpoint, or has the form of a hub id.

    Args:
        path: value to check.
        key: configuration key with that value, for the error message.

    Raises:
        ModelError: ``path`` is none of these.
    """
    directory = Path(path)
    if path == STARTER:
        return
    if not directory.is_dir():
        if path.startswith((".", "/")) or path.count("/") != 1:
            raise ModelError(f"{key}={path}: no such directory, and not a hub id (OWNER/NAME)")
        return
    if not (directory / "config.json").is_file():
        raise ModelError(f"{key}={path}: no config.json in it, so it is not a Hugging Face checkpoint")
    if not [*directory.glob("*.safetensors"), *directory.glob("*.bin")]:
        raise ModelError(f"{key}={path}: no weights (*.safetensors) in it, so it is not a complete checkpoint")
