"""Rules on exploration: diversity of the answers, entropy of the policy."""

from __future__ import annotations

from collections.abc import Sequence

from launch.run_report.health.finding import Finding, format_key
from launch.run_report.health.series import WINDOW, Point, compute_mean, find_lasting, format_steps, read_series
from launch.run_report.run_files import MetricsRow, RecordedSettings

DIVERSITY = "diversity/distinct_4"
TEMPERATURE = "temperature/value"
ENTROPY = "actor/entropy"

DIVERSITY_SHARE = 0.75
"""Share of the diversity of the first steps at a temperature. Recorded runs whose temperature followed the diversity
ended at 0.75 to 0.92 of it, those with a constant temperature of 1 at 0.70 to 0.74."""
ENTROPY_SHARE = 0.3
"""Share of the entropy of the first steps. Recorded runs that learned, also those at a constant temperature, stayed
above 0.44 of it."""


def check_diversity(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that diversity has not declined while the temperature stayed the same."""
    temperatures = read_series(rows, TEMPERATURE)
    if not temperatures:
        return []
    value = temperatures[-1].value
    since = temperatures[0].step
    for point in temperatures:
        if point.value != value:
            since = point.step + 1
    stage = [point for point in read_series(rows, DIVERSITY) if point.step >= since]
    start, declined = _find_decline(stage, DIVERSITY_SHARE)
    if not declined:
        return []
    return [
        Finding(
            rule="diversity_decline",
            severity="warning",
            step=declined[0].step,
            text=f"diversity fell from {compute_mean(start):.3f} ({format_steps(start)}) to "
            f"{compute_mean(declined[-WINDOW:]):.3f} ({format_steps(declined[-WINDOW:])}) while the temperature stayed "
            f"at {value:g}",
            advice=_advise_on_temperature(settings, value),
            metric=DIVERSITY,
        )
    ]


def _advise_on_temperature(settings: RecordedSettings, value: float) -> str:
    if settings.get("temperature.kind") != "diversity":
        return (
            "set temperature.kind=diversity, which raises the temperature when diversity falls, or raise "
            f"{format_key(settings, 'temperature.value')} by temperature.schedule (docs/temperature.md)"
        )
    grid = settings.get("temperature.grid")
    if isinstance(grid, list) and any(isinstance(item, int | float) and item > value for item in grid):
        return (
            f"raise {format_key(settings, 'temperature.min_diversity')}, so that the rule reacts sooner "
            "(docs/temperature.md)"
        )
    return (
        "the temperature is the last of temperature.grid: add a higher one, up to "
        f"{format_key(settings, 'temperature.highest')} (docs/temperature.md)"
    )


def _find_decline(points: Sequence[Point], share: float) -> tuple[Sequence[Point], Sequence[Point]]:
    """Return the first window, and the points since later windows fell below ``share`` of it; empty if they did not."""
    start = points[:WINDOW]
    level = share * compute_mean(start)
    later = points[WINDOW:]
    # A shorter window after the first one would be judged by fewer steps than it is compared with.
    return start, find_lasting(later, lambda mean: mean < level) if len(later) >= WINDOW else ()


def check_entropy(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that the entropy of the policy has not collapsed."""
    start, collapsed = _find_decline(read_series(rows, ENTROPY), ENTROPY_SHARE)
    if not collapsed:
        return []
    level = compute_mean(start)
    last = collapsed[-WINDOW:]
    return [
        Finding(
            rule="entropy_collapse",
            severity="problem",
            step=collapsed[0].step,
            text=f"entropy fell from {level:.3g} ({format_steps(start)}) to {compute_mean(last):.3g} "
            f"({format_steps(last)}), {compute_mean(last) / level:.0%} of it",
            advice=f"raise {format_key(settings, 'algorithm.clip_high')} or the temperature "
            f"({format_key(settings, 'temperature.kind')}), or lower {format_key(settings, 'learner.learning_rate')}; "
            "continue from a checkpoint before the collapse",
            metric=ENTROPY,
        )
    ]
