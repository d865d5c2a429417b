"""Unbiased pass@k (Chen et al., arXiv 2107.03374, section 2.1) with bootstrap confidence intervals over problems.

The bootstrap resamples problems, not programs: an interval shows how much the score would vary with other problems of
the same kind. Problems made from common templates are not independent, so they are resampled by cluster: without that,
the interval is too narrow. Differences between two runs are paired by problem, which removes the variance of problem
difficulty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Attempts:
    """Number of programs tried for one problem, and how many of them passed."""

    tried: int
    passed: int

    def __post_init__(self) -> None:
        if not 0 <= self.passed <= self.tried:
            raise ValueError(f"passed must lie between 0 and tried: passed={self.passed}, tried={self.tried}")


@dataclass(frozen=True)
class Estimate:
    """Mean over problems with its bootstrap percentile interval, all as fractions."""

    mean: float
    low: float
    high: float


def pass_at_k(tried: int, passed: int, k: int) -> float:
    """Return the probability that at least one of ``k`` programs passes, drawn without replacement from ``tried``.

    Raises ValueError if fewer than ``k`` programs were tried.

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 4), pass_at_k(4, 2, 2) == 1 - 1 / 6, pass_at_k(8, 0, 1)
    (0.25, 1.0, True, 0.0)
    """
    if not 1 <= k <= tried:
        raise ValueError(f"pass@{k} needs at least {k} attempts (k >= 1), there are {tried}")
    if not 0 <= passed <= tried:
        raise ValueError(f"passed must lie between 0 and tried: passed={passed}, tried={tried}")
    all_failed = 1.0
    # Product form of C(tried - passed, k) / C(tried, k): avoids large numbers, and is 0 if k draws must include a pass.
    for draw in range(k):
        all_failed *= max(0, tried - passed - draw) / (tried - draw)
    return 1.0 - all_failed


def estimate(
    attempts: Mapping[str, Attempts],
    k: int,
    *,
    clusters: Mapping[str, str] | None = None,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean pass@k over problems with a bootstrap interval.

    Args:
        attempts: attempts by question id.
        k: number of programs drawn per problem.
        clusters: name of each problem's cluster, by question id; None if every problem is a cluster of its own.
        samples: number of bootstrap resamples.
        confidence: coverage of the interval.
        seed: seed of the resampling.

    Raises:
        ValueError: there are no problems, or a problem has fewer than ``k`` attempts.
    """
    values = _pass_at_k_per_problem(attempts, k)
    names = _name_clusters(attempts, clusters)
    return estimate_mean(values, names, samples=samples, confidence=confidence, seed=seed)


def paired_difference(
    first: Mapping[str, Attempts],
    second: Mapping[str, Attempts],
    k: int,
    *,
    clusters: Mapping[str, str] | None = None,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate by how much pass@k of ``second`` exceeds that of ``first``, averaged over problems.

    The estimate has a bootstrap interval.

    Arguments as in ``estimate``. Raises ValueError if the two runs are not on the same problems.
    """
    if first.keys() != second.keys():
        unpaired = sorted(first.keys() ^ second.keys())
        raise ValueError(f"{len(unpaired)} problems are in one run only, for example {unpaired[0]!r}")
    second_in_order = {question_id: second[question_id] for question_id in first}
    differences = _pass_at_k_per_problem(second_in_order, k) - _pass_at_k_per_problem(first, k)
    names = _name_clusters(first, clusters)
    return estimate_mean(differences, names, samples=samples, confidence=confidence, seed=seed)


def _pass_at_k_per_problem(attempts: Mapping[str, Attempts], k: int) -> np.ndarray:
    """Return pass@k of each problem, float64 [problems]."""
    import numpy as np  # imported here, so that importing the package stays fast

    if not attempts:
        raise ValueError("no problems")
    return np.array(
        [pass_at_k(problem_attempts.tried, problem_attempts.passed, k) for problem_attempts in attempts.values()]
    )


def _name_clusters(attempts: Mapping[str, Attempts], clusters: Mapping[str, str] | None) -> list[str]:
    return [clusters[question_id] if clusters else question_id for question_id in attempts]


def estimate_mean(
    values: np.ndarray,
    clusters: Sequence[str],
    *,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean of a quantity of problems with a bootstrap interval.

    The bootstrap resamples whole clusters; the mean of a resample is over all problems of the drawn clusters.

    Args:
        values: values of the problems, float [problems].
        clusters: name of each problem's cluster.
        samples: number of bootstrap resamples.
        confidence: coverage of the interval.
        seed: seed of the resampling.
    """
    import numpy as np

    names, cluster_of = np.unique(np.array(clusters), return_inverse=True)
    totals = np.bincount(cluster_of, weights=values)
    sizes = np.bincount(cluster_of)
    generator = np.random.default_rng(seed)
    # Multinomial counts [samples, clusters] are equivalent to drawing cluster indices, without gathering values.
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=samples)
    means = counts @ totals / (counts @ sizes)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(values.mean()), float(low), float(high))
