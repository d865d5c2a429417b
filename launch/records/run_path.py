"""Where runs are: finding the directory of one, and refusing one that is in use. It imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from evaluator.errors import UserError


class RunDirectoryError(UserError, RuntimeError):
    """The run directory cannot be used as asked."""


def check_unused(path: Path, resume: bool) -> None:
    """Check that ``path`` holds no run, or that it is to be resumed. Raises RunDirectoryError."""
    if (path / "config.yaml").exists() and not resume:
        raise RunDirectoryError(f"{path} holds a run: set run.resume=true to go on, or another run.name")


def check_training_run(run: Path) -> None:
    """Check that ``run`` is the directory of a training run. Raises RunDirectoryError."""
    if not (run / "config.yaml").is_file():
        raise RunDirectoryError(f"run={run}: no config.yaml in it, so not the directory of a training run")


def find_run(run: str) -> Path:
    """The directory of the run that ``run`` names. Raises RunDirectoryError."""
    for path in (Path(run), Path("runs") / run):
        if (path / "config.yaml").is_file():
            return path
    raise RunDirectoryError(f"run={run}: no such run: neither {run} nor runs/{run} has a config.yaml in it")
