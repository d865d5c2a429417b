"""Quick checks of run directories. This module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluator.errors import UserError

RECORDS = ("config.yaml", "metrics.jsonl", "rollouts")
"""Files and folders of which any makes a directory one that a report can be written of."""


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


def find_run(run: str, contents: Sequence[str] = ("config.yaml",)) -> Path:
    """Return the directory of a run.

    Args:
        run: path, or a name in ``runs/``.
        contents: files and folders; a directory that has any of them is that of a run.

    Raises:
        RunDirectoryError: there is no such directory.
    """
    path = Path(run)
    candidates = [path] if path.is_absolute() else [path, Path("runs") / run]
    for candidate in candidates:
        if any((candidate / name).exists() for name in contents):
            return candidate
    places = f"{run} has no" if path.is_absolute() else f"neither {run} nor runs/{run} has a"
    raise RunDirectoryError(f"run={run}: no such run: {places} {' or '.join(contents)} in it")


def find_runs(runs: Sequence[str], contents: Sequence[str] = ("config.yaml",)) -> list[Path]:
    """Return the directories of several runs, each as ``find_run`` does. Raises RunDirectoryError if two are equal."""
    paths = [find_run(run, contents) for run in runs]
    for position, path in enumerate(paths):
        if any(path.samefile(other) for other in paths[:position]):
            raise RunDirectoryError(f"runs: {path} is in the list twice: name each run once")
    return paths
