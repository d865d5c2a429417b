"""Metrics of a setting over the steps: mean over its seeds, and the range of the seeds as a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from launch.run_report.run_files import RunFiles

MAX_POINTS = 2000
"""Points of a line or band: longer ones are averaged over equal numbers of steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricBand:
    """A metric over the steps.

    The band is the range from the lowest to the highest seed. A setting has two or three seeds as a rule, of which a
    standard deviation would say little; the range is what was seen.

    Attributes:
        steps: steps at which a run has the metric, ascending.
        mean: means over the runs that have the metric at the step.
        low: lowest values; None at a step that only one run has. The whole is None if that is so at all steps.
        high: highest values, likewise.
        count: number of runs that have the metric at the step.
    """

    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float | None, ...] | None
    high: tuple[float | None, ...] | None
    count: tuple[int, ...]


def make_band(runs: Sequence[RunFiles], metric: str, max_points: int = MAX_POINTS) -> MetricBand:
    """Return a metric's mean and range over runs. Rows without a finite value of it are left out.

    Args:
        runs: runs of a setting; they may have different lengths.
        metric: name of the metric.
        max_points: largest number of points.
    """
    by_step: dict[int, list[float]] = {}
    for run in runs:
        for row in run.rows:
            value = row.get(metric, math.nan)
            if math.isfinite(value):
                by_step.setdefault(int(row["step"]), []).append(value)
    steps = sorted(by_step)
    size = max(1, -(-len(steps) // max_points))
    chunks = [steps[start : start + size] for start in range(0, len(steps), size)]
    ranges = [_find_range([by_step[step] for step in chunk]) for chunk in chunks]
    has_band = any(each is not None for each in ranges)
    return MetricBand(
        steps=tuple(float(np.mean(chunk)) for chunk in chunks),
        mean=tuple(float(np.mean([np.mean(by_step[step]) for step in chunk])) for chunk in chunks),
        low=tuple(each and each[0] for each in ranges) if has_band else None,
        high=tuple(each and each[1] for each in ranges) if has_band else None,
        count=tuple(min(len(by_step[step]) for step in chunk) for chunk in chunks),
    )


def _find_range(values: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the mean lowest and the mean highest value of neighbouring steps; None if one has a single value."""
    if any(len(at_step) < 2 for at_step in values):
        return None
    return float(np.mean([min(at_step) for at_step in values])), float(np.mean([max(at_step) for at_step in values]))


def find_spread(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the lowest and the highest value; None if there are fewer than two."""
    return (min(values), max(values)) if len(values) > 1 else None
