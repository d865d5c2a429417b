"""Unbiased pass@k (Chen et al., arXiv 2107.03374, section 2.1) with bootstrap intervals over problems.

Problems, not samples, are resampled: the question an interval answers is how the figure would vary with other problems
of the same kind. Differences of two runs are paired by problem, which removes the problems' own difficulty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Attempts:
    """How often one problem was tried, and how many of those programs passed."""

    tried: int
    passed: int

    def __post_init__(self) -> None:
        if not 0 <= self.passed <= self.tried:
            raise ValueError(f"{self.passed} passed of {self.tried} tried")


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its bootstrap interval (percentiles), all as fractions."""

    mean: float
    low: float
    high: float


def pass_at_k(tried: int, passed: int, k: int) -> float:
    """Probability that one of ``k`` programs drawn from ``tried`` without return passes.

    Raises ValueError when fewer than ``k`` were tried.

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 4), pass_at_k(4, 2, 2) == 1 - 1 / 6, pass_at_k(8, 0, 1)
    (0.25, 1.0, True, 0.0)
    """
    if not 1 <= k <= tried:
        raise ValueError(f"pass@{k} needs at least {k} attempts (k >= 1), there are {tried}")
    if not 0 <= passed <= tried:
        raise ValueError(f"{passed} passed of {tried} tried")
    missed = 1.0
    # Product form of C(tried - passed, k) / C(tried, k): no large numbers, and 0 as soon as k draws must hit.
    for draw in range(k):
        missed *= max(0, tried - passed - draw) / (tried - draw)
    return 1.0 - missed


def estimate(
    attempts: Mapping[str, Attempts], k: int, *, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Mean pass@k over problems (keys are question ids) and its interval. Raises ValueError without problems."""
    return _bootstrap(_values(attempts, k), samples, confidence, seed)


def paired_difference(
    first: Mapping[str, Attempts],
    second: Mapping[str, Attempts],
    k: int,
    *,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of pass@k of ``second`` minus that of ``first``, problem by problem, and its interval.

    Raises ValueError when the runs are not on the same problems.
    """
    if first.keys() != second.keys():
        odd = sorted(first.keys() ^ second.keys())
        raise ValueError(f"{len(odd)} problems are in one run only, for example {odd[0]!r}")
    ordered = {question_id: second[question_id] for question_id in first}
    return _bootstrap(_values(ordered, k) - _values(first, k), samples, confidence, seed)


def _values(attempts: Mapping[str, Attempts], k: int) -> np.ndarray:
    """pass@k of each problem, float64 [problems]."""
    import numpy as np  # not at the top: importing the package must stay fast

    if not attempts:
        raise ValueError("no problems")
    return np.array([pass_at_k(one.tried, one.passed, k) for one in attempts.values()])


def _bootstrap(values: np.ndarray, samples: int, confidence: float, seed: int) -> Estimate:
    import numpy as np

    generator = np.random.default_rng(seed)
    # Resamples drawn as counts per problem: [samples, problems] of small integers instead of indices and a gather.
    counts = generator.multinomial(len(values), np.full(len(values), 1 / len(values)), size=samples)
    means = counts @ values / len(values)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(values.mean()), float(low), float(high))
