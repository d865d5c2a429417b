"""Figures and tables of ``benchmarks.scheduler``: pure functions of what was run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

STAND_INS = "actor stand-ins"
PARTS = ("crediting", "train batch", "metrics", "diversity", "rollout file", STAND_INS)
SCHEDULING = "claims, pools, buffer, event loop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A run: ``groups`` a step; ``timed`` actors answer after drawn times, others at once."""

    groups: int
    steps: int
    max_staleness: int
    timed: bool
    generators: int
    evaluators: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverRun:
    """What the loop took from its first line to its last, by wall and by CPU seconds of its process.

    ``parts_*``: the same by ``PARTS``; what no part accounts for is ``SCHEDULING``. ``peaks``: resident bytes at their
    highest in each step. ``handovers``: median, 99th percentile and longest of the seconds from when a completion was
    due until an evaluator had it; none where actors answer at once. ``lateness``: the same of the seconds by which the
    loop was late for a timer.
    """

    completions: int
    tokens: int
    wall_s: float
    cpu_s: float
    parts_wall: Mapping[str, float]
    parts_cpu: Mapping[str, float]
    peaks: Sequence[int]
    handovers: Sequence[float]
    lateness: Sequence[float]

    @property
    def scheduling_wall_s(self) -> float:
        """What no part accounts for."""
        return self.wall_s - sum(self.parts_wall.values())

    @property
    def scheduling_cpu_s(self) -> float:
        """What no part accounts for."""
        return self.cpu_s - sum(self.parts_cpu.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundTrips:
    """Calls of one async Ray actor, ``in_flight`` at once: wall seconds, and CPU seconds of the caller."""

    what: str
    calls: int
    in_flight: int
    wall_s: float
    cpu_s: float


Result = tuple[Setting, DriverRun]


def figures(instant: Sequence[Result], timed: Sequence[Result], trips: Sequence[RoundTrips]) -> dict[str, object]:
    """What the last line says. The keys without a size are of the largest one, on-policy.

    ``instant``: sizes ascending, on-policy, then the largest again with sampling ahead.
    """
    sizes = [result for result in instant if not result[0].max_staleness]
    run = sizes[-1][1]
    return {
        "completions_per_s": run.completions / run.scheduling_wall_s,
        "completions_per_cpu_s": run.completions / run.scheduling_cpu_s,
        "completions_per_s_all": run.completions / run.wall_s,
        "completions_per_cpu_s_all": run.completions / run.cpu_s,
        "completions_per_s_all_ahead": instant[-1][1].completions / instant[-1][1].wall_s,
        "peak_rss_mb": max(max(run.peaks) for _, run in (*instant, *timed)) / 1e6,
        "peak_growth": max(growth(run.peaks) for _, run in instant),
        "cpu_exponent": exponent(sizes),
        "sizes": {
            str(per_step(result)): {
                "completions_per_s": result[1].completions / result[1].scheduling_wall_s,
                "completions_per_s_all": result[1].completions / result[1].wall_s,
                "cpu_us_per_completion": 1e6 * result[1].scheduling_cpu_s / result[1].completions,
                "cpu_us_per_completion_all": 1e6 * result[1].cpu_s / result[1].completions,
                "peak_rss_mb": max(result[1].peaks) / 1e6,
            }
            for result in sizes
        },
        "handover_p50_ms": max(1e3 * run.handovers[0] for _, run in timed),
        "handover_p99_ms": max(1e3 * run.handovers[1] for _, run in timed),
        "loop_late_p99_ms": max(1e3 * run.lateness[1] for _, run in timed),
        "loop_late_max_ms": max(1e3 * run.lateness[2] for _, run in timed),
        "ray_cpu_us_per_call": {one.what: 1e6 * one.cpu_s / one.calls for one in trips},
        "ray_calls_per_s": {one.what: one.calls / one.wall_s for one in trips},
    }


def per_step(result: Result) -> int:
    """Completions of one step."""
    setting, run = result
    return run.completions // setting.steps


def growth(peaks: Sequence[int]) -> float:
    """The last step's peak over that of the second: the first has nothing to free.

    >>> growth([5, 10, 30, 11])
    1.1
    """
    return peaks[-1] / peaks[1]


def exponent(results: Sequence[Result]) -> float:
    """k of CPU seconds ~ completions ** k, between the smallest and the largest size: 1 is linear, 2 quadratic."""
    (_, small) = results[0]
    (_, large) = results[-1]
    seconds = large.cpu_s / results[-1][0].steps * results[0][0].steps / small.cpu_s
    return math.log(seconds) / math.log(per_step(results[-1]) / per_step(results[0]))


def print_report(instant: Sequence[Result], timed: Sequence[Result], trips: Sequence[RoundTrips]) -> None:
    """All tables to standard output."""
    console = Console(width=160, highlight=False)
    console.print(instant_table(instant))
    console.print(parts_table(instant))
    console.print(timed_table(timed))
    console.print(trips_table(trips))


def instant_table(results: Sequence[Result]) -> Table:
    """Speed and memory with actors that answer at once."""
    table = _table(
        "actors that answer at once: the whole loop, and without the parts of the table below",
        ("completions a step", "staleness", "steps"),
        ("completions/s", "per CPU s", "whole loop", "per CPU s", "peak MB by step"),
    )
    for setting, run in results:
        table.add_row(
            f"{per_step((setting, run)):,}",
            str(setting.max_staleness),
            str(setting.steps),
            # Sampling ahead, the loop and the parts' threads work at once: no wall seconds are the loop's alone.
            "" if setting.max_staleness else f"{run.completions / run.scheduling_wall_s:,.0f}",
            f"{run.completions / run.scheduling_cpu_s:,.0f}",
            f"{run.completions / run.wall_s:,.0f}",
            f"{run.completions / run.cpu_s:,.0f}",
            " ".join(f"{peak / 1e6:.0f}" for peak in run.peaks),
        )
    return table


def parts_table(results: Sequence[Result]) -> Table:
    """Where the CPU goes."""
    names = [f"{per_step((setting, run)):,}, staleness {setting.max_staleness}" for setting, run in results]
    table = _table("CPU us a completion, and share", ("part",), names)
    runs = [run for _, run in results]
    table.add_row(SCHEDULING, *(_share(run.scheduling_cpu_s, run) for run in runs))
    for part in PARTS:
        table.add_row(part, *(_share(run.parts_cpu[part], run) for run in runs))
    table.add_row("tokens a completion", *(f"{run.tokens / run.completions:.0f}" for run in runs))
    return table


def timed_table(results: Sequence[Result]) -> Table:
    """How late the driver is with actors that take their time."""
    table = _table(
        "actors that answer after drawn times",
        ("completions a step", "staleness", "steps"),
        ("wall s", "driver CPU s", "handover p50 ms", "p99", "longest", "loop late p50 ms", "p99", "longest"),
    )
    for setting, run in results:
        table.add_row(
            f"{per_step((setting, run)):,}",
            str(setting.max_staleness),
            str(setting.steps),
            f"{run.wall_s:.1f}",
            f"{run.cpu_s:.1f}",
            *(f"{1e3 * seconds:.1f}" for seconds in (*run.handovers, *run.lateness)),
        )
    return table


def trips_table(trips: Sequence[RoundTrips]) -> Table:
    """What Ray costs the driver."""
    table = _table("calls of one async Ray actor", ("call",), ("in flight", "calls/s", "driver CPU us a call"))
    for one in trips:
        table.add_row(
            one.what, str(one.in_flight), f"{one.calls / one.wall_s:,.0f}", f"{1e6 * one.cpu_s / one.calls:.0f}"
        )
    return table


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _share(cpu_s: float, run: DriverRun) -> str:
    return f"{1e6 * cpu_s / run.completions:.0f} ({cpu_s / run.cpu_s:.0%})"
