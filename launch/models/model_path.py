"""What ``model.path`` may be, checked without reading a model: it imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from evaluator.errors import UserError

STARTER = "starter"


class ModelError(UserError, RuntimeError):
    """No model can be had at ``model.path``; the message says what to do."""


def check_model_path(path: str, key: str = "model.path") -> None:
    """Check that ``path`` is ``starter``, a directory with a checkpoint, or may be a hub id.

    ``key``: the setting that it is the value of, for the message. Raises ModelError.
    """
    directory = Path(path)
    if path == STARTER:
        return
    if not directory.is_dir():
        if path.startswith((".", "/")) or path.count("/") != 1:
            raise ModelError(f"{key}={path}: no such directory, and not a hub id (owner/name)")
        return
    if not (directory / "config.json").is_file():
        raise ModelError(f"{key}={path}: no config.json in it, so not a Hugging Face checkpoint")
    if not [*directory.glob("*.safetensors"), *directory.glob("*.bin")]:
        raise ModelError(f"{key}={path}: no weights (*.safetensors) in it")
