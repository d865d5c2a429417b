"""Rule on memory that grows over the run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from launch.run_report.health.finding import Finding, format_key
from launch.run_report.health.series import WINDOW, compute_mean, format_steps, read_series
from launch.run_report.run_files import MetricsRow, RecordedSettings

DRIVER = "perf/memory/driver_gib"
NODE = "perf/cpu_memory_used_gb"

PARTS = 4
"""Parts of the run that are compared. Memory that leaps once grows between at most three of them, a leak between all
four."""
MIN_PART = 15
"""Steps of a part: in fewer, one evaluation or checkpoint changes the mean."""
MIN_GROWTH = 0.2
"""Growth from the first part to the last, as a share: pools and caches fill by less after the warm-up."""
MIN_GROWTH_GIB = 0.5
"""Growth in GiB below which it does not matter in a run of any length: 20 % of a small process."""
STEADY_SHARE = 0.15
"""Share of the growth that lies between any two successive parts of a leak: half of what it is if growth is even."""


def check_memory(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that the memory of the driver and of its node does not grow steadily after the first steps."""
    remedies = {
        DRIVER: "the driver keeps what it should free: continue with run.resume=true in a new process before memory "
        f"runs out, and lower {format_key(settings, 'algorithm.train_batch_size')} to make it last longer",
        NODE: "if no other program on the node grows, continue with run.resume=true before memory runs out, and lower "
        f"{format_key(settings, 'evaluator.memory_mb')} x {format_key(settings, 'evaluator.workers')} or "
        f"{format_key(settings, 'generator.kv_cache_gib')}",
    }
    names = {DRIVER: "memory of the driver", NODE: "memory in use on the driver's node"}
    return [finding for metric in names for finding in _check(rows, metric, names[metric], remedies[metric])]


def _check(rows: Sequence[MetricsRow], metric: str, name: str, advice: str) -> list[Finding]:
    points = read_series(rows, metric)[WINDOW:]
    size = len(points) // PARTS
    if size < MIN_PART:
        return []
    parts = [points[place * size : (place + 1) * size] for place in range(PARTS)]
    means = [compute_mean(part) for part in parts]
    growth = means[-1] - means[0]
    # `not >=`, because differences of infinite means are NaN.
    if not growth >= max(MIN_GROWTH * means[0], MIN_GROWTH_GIB):
        return []
    if not all(later - earlier >= STEADY_SHARE * growth for earlier, later in pairwise(means)):
        return []
    return [
        Finding(
            rule="memory_growth",
            severity="warning",
            step=points[0].step,
            text=f"{name} grew from {means[0]:.2f} GiB ({format_steps(parts[0])}) to {means[-1]:.2f} GiB "
            f"({format_steps(parts[-1])})",
            advice=advice,
            metric=metric,
        )
    ]
