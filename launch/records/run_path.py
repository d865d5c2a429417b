"""Quick checks of run directories. This module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluator.errors import UserError


class RunDirectoryError(UserError, RuntimeError):
    """The run directory cannot be used for the requested purpose."""


def check_run_directory_unused(path: Path, resume: bool) -> None:
    """Check that ``path`` contains no run, unless it is to be resumed. Raises RunDirectoryError."""
    if (path / "config.yaml").exists() and not resume:
        raise RunDirectoryError(f"{path} holds a run: set run.resume=true to resume it, or choose another run.name")


def check_training_run(run: Path) -> None:
    """Check that ``run`` is the directory of a training run. Raises RunDirectoryError."""
    if not (run / "config.yaml").is_file():
        raise RunDirectoryError(f"run={run}: no config.yaml in it, so it is not the directory of a training run")


def find_run(run: str) -> Path:
    """Return the directory of a run, given as a path or as a name in ``runs/``. Raises RunDirectoryError."""
    for path in (Path(run), Path("runs") / run):
        if (path / "config.yaml").is_file():
            return path
    raise RunDirectoryError(f"run={run}: no such run: neither {run} nor runs/{run} has a config.yaml in it")


def find_runs(runs: Sequence[str]) -> list[Path]:
    """Return the directories of several runs, each as ``find_run`` does. Raises RunDirectoryError if two are equal."""
    paths = [find_run(run) for run in runs]
    for position, path in enumerate(paths):
        if any(path.samefile(other) for other in paths[:position]):
            raise RunDirectoryError(f"runs: {path} is in the list twice: name each run once")
    return paths
