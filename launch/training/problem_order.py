"""The order in which the training problems come, as a function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ProblemOrder:
    """The endless order in which problems come: a new permutation every epoch, a function of the seed alone."""

    problems: int
    seed: int

    def batch(self, step: int, size: int) -> list[int]:
        """Indices of the problems of ``step``; a batch may reach over the end of an epoch."""
        found: list[int] = []
        while len(found) < size:
            epoch, place = divmod(step * size + len(found), self.problems)
            found += self._epoch(epoch)[place : place + size - len(found)].tolist()
        return found

    def further(self, step: int, sampling_round: int, size: int, used: Sequence[int]) -> list[int]:
        """Indices of up to ``size`` more problems for ``step``, in its ``sampling_round`` (from 1) of further sampling.

        From a second stream, a function of (seed, step, round): the first stream's position stays a function of the
        step alone, so a checkpoint need not hold either. Problems in ``used`` come only when all others are.
        """
        shuffled = np.random.default_rng([self.seed, step, sampling_round]).permutation(self.problems).tolist()
        taken = set(used)
        return sorted(shuffled, key=lambda index: index in taken)[:size]  # a stable sort: else in shuffled order

    def _epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.problems)
