"""Order of the training problems, as a function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ProblemOrder:
    """Endless order of ``problems`` indices: a new permutation every epoch, which depends on the seed alone."""

    problems: int
    seed: int

    def batch(self, step: int, size: int) -> list[int]:
        """Return the indices of the ``size`` problems of ``step``; a batch may continue in the next epoch."""
        indices: list[int] = []
        while len(indices) < size:
            epoch, start = divmod(step * size + len(indices), self.problems)
            indices += self._epoch(epoch)[start : start + size - len(indices)].tolist()
        return indices

    def further(self, step: int, sampling_round: int, size: int, used: Sequence[int]) -> list[int]:
        """Return the indices of up to ``size`` more problems for a round of dynamic sampling.

        They come from a second random stream, a function of (seed, step, round): the position of the first stream
        stays a function of the step alone, so a checkpoint need hold neither.

        Args:
            step: training step.
            sampling_round: round of dynamic sampling, from 1.
            size: number of problems wanted.
            used: problems that the step has sampled already; they come last.
        """
        shuffled = np.random.default_rng([self.seed, step, sampling_round]).permutation(self.problems).tolist()
        used_indices = set(used)
        return sorted(shuffled, key=lambda index: index in used_indices)[:size]  # the sort is stable

    def _epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.problems)
