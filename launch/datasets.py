"""The problems of a run: what to train on, what to hold out, and in which order they come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conf.schema import DatasetConfig
from evaluator.problem import Problem, ProblemError, RejectedRow, load_problems
from evaluator.starter import held_out_problems, training_problems


@dataclass(frozen=True)
class Dataset:
    """Problems to train on and held-out ones (possibly none), with the rows that could not be read."""

    training: tuple[Problem, ...]
    held_out: tuple[Problem, ...]
    rejected: tuple[RejectedRow, ...]


class DatasetError(ValueError):
    """There is nothing to train on, or a file cannot be read."""


def load_dataset(config: DatasetConfig) -> Dataset:
    """Read what ``dataset.*`` names.

    Raises DatasetError with the path and what to do; with ``dataset.strict``, ProblemError for the first bad row.
    """
    training: list[Problem] = []
    held_out: list[Problem] = []
    rejected: list[RejectedRow] = []
    if config.path is not None:
        training, bad = _read(config.path, "dataset.path", config.strict)
        rejected += bad
    elif config.name == "starter":
        training = [starter.problem for starter in training_problems()]
    if config.held_out_path is not None:
        held_out, bad = _read(config.held_out_path, "dataset.held_out_path", config.strict)
        rejected += bad
    elif config.path is None and config.name == "starter":
        held_out = [starter.problem for starter in held_out_problems()]
    if not training:
        first = f"; the first bad row: {rejected[0]}" if rejected else ""
        raise DatasetError(f"dataset.path={config.path}: no usable problem in it{first}")
    return Dataset(tuple(training), tuple(held_out), tuple(rejected))


def _read(path: str, key: str, strict: bool) -> tuple[list[Problem], list[RejectedRow]]:
    if not Path(path).is_file():
        raise DatasetError(f"{key}={path}: no such file; give a JSONL, JSONL.gz or Parquet file of problems")
    try:
        loaded = load_problems(path, strict=strict)
    except ProblemError:
        raise
    except (OSError, EOFError, ValueError) as error:  # another format, a damaged or half-written file
        raise DatasetError(f"{key}={path}: cannot be read: {error}") from error
    return list(loaded.problems), list(loaded.rejected)


@dataclass(frozen=True)
class ProblemOrder:
    """The endless order in which problems come: a new permutation every epoch, a function of the seed alone."""

    problems: int
    seed: int

    def batch(self, step: int, size: int) -> list[int]:
        """Indices of the problems of ``step``; a batch may reach over the end of an epoch."""
        positions = range(step * size, (step + 1) * size)
        return [self._at(position) for position in positions]

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self.problems)
        return int(np.random.default_rng([self.seed, epoch]).permutation(self.problems)[place])
