"""Series of a metric over the steps, and the search for conditions in it that noise does not cause.

A condition is decided on means over windows of steps, never on a single step, because a step of few groups is noisy.
A metric that a row lacks, or whose value is not finite, is unknown there: the step is not part of the series.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launch.run_report.run_files import MetricsRow

WINDOW = 20
"""Steps of a window: as many as the temperature rule averages over before it compares
(``learner.temperature_rules.REFERENCE_STEPS``)."""
MIN_STEPS = 5
"""Fewer steps than these are not judged: engines warm up, and the first problems may be special."""


@dataclass(frozen=True, slots=True)
class Point:
    """Value of a metric at a step."""

    step: int
    value: float


def read_series(rows: Sequence[MetricsRow], metric: str) -> list[Point]:
    """Return the finite values of a metric in step order; of a step that was repeated the last one."""
    values = {int(step): value for step, value in _list_values(rows, metric) if math.isfinite(value)}
    return [Point(step, values[step]) for step in sorted(values)]


def list_non_finite(rows: Sequence[MetricsRow], metric: str) -> list[int]:
    """Return the steps at which a metric was written but is NaN or infinite."""
    return sorted({int(step) for step, value in _list_values(rows, metric) if not math.isfinite(value)})


def _list_values(rows: Sequence[MetricsRow], metric: str) -> list[tuple[float, float]]:
    return [(row["step"], row[metric]) for row in rows if metric in row and math.isfinite(row.get("step", math.nan))]


def read_shares(rows: Sequence[MetricsRow], part: str, whole: str) -> list[Point]:
    """Return one metric divided by another, at the steps where both are known and the divisor is positive."""
    wholes = {point.step: point.value for point in read_series(rows, whole)}
    return [
        Point(point.step, point.value / wholes[point.step])
        for point in read_series(rows, part)
        if wholes.get(point.step, 0.0) > 0
    ]


def read_increases(rows: Sequence[MetricsRow], metric: str) -> list[Point]:
    """Return the steps at which a counter rose, with the increase. It starts at 0 again when a run is resumed."""
    increases = []
    previous = 0.0
    for point in read_series(rows, metric):
        increase = point.value - previous if point.value >= previous else point.value
        if increase > 0:
            increases.append(Point(point.step, increase))
        previous = point.value
    return increases


def compute_mean(points: Sequence[Point]) -> float:
    """Return the mean value; NaN without points."""
    return sum(point.value for point in points) / len(points) if points else math.nan


def compute_median(points: Sequence[Point]) -> float:
    """Return the median value; NaN without points."""
    return statistics.median(point.value for point in points) if points else math.nan


def find_lasting(
    points: Sequence[Point],
    holds: Callable[[float], bool],
    summarize: Callable[[Sequence[Point]], float] = compute_mean,
) -> Sequence[Point]:
    """Return the points since a condition began that still holds at the end; empty if it does not hold there.

    A condition that ended is history, which the charts show: no advice is due on it.

    Args:
        points: series in step order.
        holds: the condition on the summary of a window, monotonic in it.
        summarize: summary of a window.
    """
    if len(points) < MIN_STEPS:
        return ()
    size = min(WINDOW, len(points))
    start = len(points)
    while start >= size and holds(summarize(points[start - size : start])):
        start -= 1
    if start == len(points):
        return ()
    # The first window in which it holds began before the condition did: skip the steps that do not meet it.
    begin = start + 1 - size
    while begin < len(points) - 1 and not holds(points[begin].value):
        begin += 1
    return points[begin:]


def format_steps(points: Sequence[Point]) -> str:
    """Return the range of steps as text: "step 3" or "steps 40-59"."""
    first = points[0].step
    last = points[-1].step
    return f"step {first}" if first == last else f"steps {first}-{last}"
