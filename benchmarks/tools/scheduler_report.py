"""Metrics and tables of ``benchmarks.scheduler``, computed from the measured loops by pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

FAKE_ACTORS = "fake actors"
COMPONENTS = ("crediting", "train batch", "metrics", "diversity", "rollout file", FAKE_ACTORS)
SCHEDULING = "claims, pools, buffer, event loop"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopSettings:
    """Size of a training loop on fake actors.

    Attributes:
        groups: groups per step.
        steps: training steps.
        max_staleness: steps by which sampling may be ahead of training.
        timed: fake actors answer after random times instead of at once.
        generators: fake generators.
        evaluators: fake evaluators.
    """

    groups: int
    steps: int
    max_staleness: int
    timed: bool
    generators: int
    evaluators: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopMeasurement:
    """Cost of a training loop on fake actors.

    Attributes:
        completions: completions trained on.
        tokens: real tokens of all steps.
        wall_s: wall seconds of the loop.
        cpu_s: CPU seconds of the loop's process.
        component_wall_s: wall seconds by ``COMPONENTS``; the rest is ``SCHEDULING``.
        component_cpu_s: CPU seconds by ``COMPONENTS``; the rest is ``SCHEDULING``.
        peaks: peak resident bytes of each step.
        handovers: median, 99th percentile and maximum of the seconds from when a completion was due until an evaluator
            received it; empty if the fake actors answer at once.
        lateness: median, 99th percentile and maximum of the seconds by which the event loop was late for a timer.
    """

    completions: int
    tokens: int
    wall_s: float
    cpu_s: float
    component_wall_s: Mapping[str, float]
    component_cpu_s: Mapping[str, float]
    peaks: Sequence[int]
    handovers: Sequence[float]
    lateness: Sequence[float]

    @property
    def scheduling_wall_s(self) -> float:
        """Wall seconds outside all components."""
        return self.wall_s - sum(self.component_wall_s.values())

    @property
    def scheduling_cpu_s(self) -> float:
        """CPU seconds outside all components."""
        return self.cpu_s - sum(self.component_cpu_s.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class RayCallMeasurement:
    """Cost of calls of an async Ray actor.

    Attributes:
        method: kind of call.
        calls: number of calls.
        in_flight: calls in flight at a time.
        wall_s: wall seconds of all calls.
        cpu_s: CPU seconds of the caller.
    """

    method: str
    calls: int
    in_flight: int
    wall_s: float
    cpu_s: float


MeasuredLoop = tuple[LoopSettings, LoopMeasurement]


def compute_summary(
    instant: Sequence[MeasuredLoop], timed: Sequence[MeasuredLoop], ray_calls: Sequence[RayCallMeasurement]
) -> dict[str, object]:
    """Compute the metrics of the JSON line. Keys without a size belong to the largest size, on-policy.

    Args:
        instant: loops whose fake actors answer at once: on-policy with ascending sizes, then the largest size again
            with sampling ahead.
        timed: loops whose fake actors answer after random times.
        ray_calls: costs of Ray calls.
    """
    on_policy = [(settings, loop) for settings, loop in instant if not settings.max_staleness]
    _, largest = on_policy[-1]
    _, ahead = instant[-1]
    return {
        "completions_per_s": largest.completions / largest.scheduling_wall_s,
        "completions_per_cpu_s": largest.completions / largest.scheduling_cpu_s,
        "completions_per_s_all": largest.completions / largest.wall_s,
        "completions_per_cpu_s_all": largest.completions / largest.cpu_s,
        "completions_per_s_all_ahead": ahead.completions / ahead.wall_s,
        "peak_rss_mb": max(max(loop.peaks) for _, loop in (*instant, *timed)) / 1e6,
        "peak_growth": max(peak_growth(loop.peaks) for _, loop in instant),
        "cpu_exponent": cpu_exponent(on_policy),
        "sizes": {
            str(completions_per_step((settings, loop))): {
                "completions_per_s": loop.completions / loop.scheduling_wall_s,
                "completions_per_s_all": loop.completions / loop.wall_s,
                "cpu_us_per_completion": 1e6 * loop.scheduling_cpu_s / loop.completions,
                "cpu_us_per_completion_all": 1e6 * loop.cpu_s / loop.completions,
                "peak_rss_mb": max(loop.peaks) / 1e6,
            }
            for settings, loop in on_policy
        },
        "handover_p50_ms": max(1e3 * loop.handovers[0] for _, loop in timed),
        "handover_p99_ms": max(1e3 * loop.handovers[1] for _, loop in timed),
        "loop_late_p99_ms": max(1e3 * loop.lateness[1] for _, loop in timed),
        "loop_late_max_ms": max(1e3 * loop.lateness[2] for _, loop in timed),
        "ray_cpu_us_per_call": {calls.method: 1e6 * calls.cpu_s / calls.calls for calls in ray_calls},
        "ray_calls_per_s": {calls.method: calls.calls / calls.wall_s for calls in ray_calls},
    }


def completions_per_step(measured: MeasuredLoop) -> int:
    """Return the number of completions per step."""
    settings, loop = measured
    return loop.completions // settings.steps


def peak_growth(peaks: Sequence[int]) -> float:
    """Divide the last step's peak memory by the second's; the first step has no earlier data to free.

    >>> peak_growth([5, 10, 30, 11])
    1.1
    """
    return peaks[-1] / peaks[1]


def cpu_exponent(measured: Sequence[MeasuredLoop]) -> float:
    """Compute k in: CPU seconds per step ~ completions ** k, from the smallest and the largest size.

    A linear cost gives 1, a quadratic one 2.
    """
    small_settings, small = measured[0]
    large_settings, large = measured[-1]
    cpu_ratio = large.cpu_s / large_settings.steps * small_settings.steps / small.cpu_s
    return math.log(cpu_ratio) / math.log(completions_per_step(measured[-1]) / completions_per_step(measured[0]))


def print_report(
    instant: Sequence[MeasuredLoop], timed: Sequence[MeasuredLoop], ray_calls: Sequence[RayCallMeasurement]
) -> None:
    """Print all tables to standard output."""
    console = Console(width=160, highlight=False)
    console.print(build_instant_table(instant))
    console.print(build_component_table(instant))
    console.print(build_timed_table(timed))
    console.print(build_ray_table(ray_calls))


def build_instant_table(measured: Sequence[MeasuredLoop]) -> Table:
    """Build the table of speed and memory with fake actors that answer at once."""
    table = _build_table(
        "Training loop on fake actors that answer at once: scheduling alone, and the whole loop",
        ("completions per step", "max_staleness", "steps"),
        (
            *("scheduling: completions/s", "completions/CPU s", "whole loop: completions/s", "completions/CPU s"),
            "peak MB of each step",
        ),
    )
    for settings, loop in measured:
        table.add_row(
            f"{completions_per_step((settings, loop)):,}",
            str(settings.max_staleness),
            str(settings.steps),
            # When sampling ahead, the event loop and the components' threads overlap, so that subtracting the
            # components' wall seconds does not give those of scheduling.
            "" if settings.max_staleness else f"{loop.completions / loop.scheduling_wall_s:,.0f}",
            f"{loop.completions / loop.scheduling_cpu_s:,.0f}",
            f"{loop.completions / loop.wall_s:,.0f}",
            f"{loop.completions / loop.cpu_s:,.0f}",
            " ".join(f"{peak / 1e6:.0f}" for peak in loop.peaks),
        )
    return table


def build_component_table(measured: Sequence[MeasuredLoop]) -> Table:
    """Build the table of CPU time by component."""
    names = [
        f"{completions_per_step((settings, loop)):,} per step, max_staleness {settings.max_staleness}"
        for settings, loop in measured
    ]
    table = _build_table("Driver CPU by component: us per completion (share)", ("component",), names)
    loops = [loop for _, loop in measured]
    table.add_row(SCHEDULING, *(_format_share(loop.scheduling_cpu_s, loop) for loop in loops))
    for component in COMPONENTS:
        table.add_row(component, *(_format_share(loop.component_cpu_s[component], loop) for loop in loops))
    table.add_row("tokens per completion", *(f"{loop.tokens / loop.completions:.0f}" for loop in loops))
    return table


def build_timed_table(measured: Sequence[MeasuredLoop]) -> Table:
    """Build the table of the driver's delays with fake actors that answer after random times."""
    table = _build_table(
        "Driver delays on fake actors that answer after random times: handover of a completion to an evaluator, "
        "lateness of the event loop",
        ("completions per step", "max_staleness", "steps"),
        (
            *("wall s", "driver CPU s", "handover p50 ms", "handover p99 ms", "handover max ms"),
            *("lateness p50 ms", "lateness p99 ms", "lateness max ms"),
        ),
    )
    for settings, loop in measured:
        table.add_row(
            f"{completions_per_step((settings, loop)):,}",
            str(settings.max_staleness),
            str(settings.steps),
            f"{loop.wall_s:.1f}",
            f"{loop.cpu_s:.1f}",
            *(f"{1e3 * seconds:.1f}" for seconds in (*loop.handovers, *loop.lateness)),
        )
    return table


def build_ray_table(ray_calls: Sequence[RayCallMeasurement]) -> Table:
    """Build the table of the driver's cost of Ray calls."""
    table = _build_table("Calls of one async Ray actor", ("method",), ("in flight", "calls/s", "driver CPU us/call"))
    for calls in ray_calls:
        table.add_row(
            calls.method,
            str(calls.in_flight),
            f"{calls.calls / calls.wall_s:,.0f}",
            f"{1e6 * calls.cpu_s / calls.calls:.0f}",
        )
    return table


def _build_table(title: str, left_columns: Sequence[str], right_columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in left_columns:
        table.add_column(name, no_wrap=True)
    for name in right_columns:
        table.add_column(name, justify="right")
    return table


def _format_share(cpu_s: float, loop: LoopMeasurement) -> str:
    return f"{1e6 * cpu_s / loop.completions:.0f} ({cpu_s / loop.cpu_s:.0%})"
