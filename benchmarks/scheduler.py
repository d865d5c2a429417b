"""Measure the driver alone at the size of a large cluster: the training loop on fake actors.

    python -m benchmarks.scheduler [--quick]

Real are ``launch.training.train.train`` with its rollouts, work buffer, crediting, train batches, metrics and rollout
files, and the pools of generators and evaluators with routing, queue, retries, repeated programs and activity; all run
on the event loop of one process. Generators, evaluators, learner and weight transfer are fakes on the same event loop
(``tools/fake_actors.py``): 64 generators and 1,024 evaluators, 8,192 completions per step (1,024 groups of 8),
log-normal response lengths. Ray is not involved; the driver's cost of calling a Ray actor is measured separately.

``completions_per_s`` counts scheduling alone (claims, pools, buffer and event loop) from claim to TRAINED: without
crediting, train batch, metrics, diversity and rollout file, whose cost depends on tokens, and without the fake actors.
``completions_per_s_all`` counts the whole loop, by its own clock. Other processes disturb wall time, and CPU time much
less; every metric is given by both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.tools.processes import start_child
from benchmarks.tools.scheduler_report import (
    LoopMeasurement,
    LoopSettings,
    MeasuredLoop,
    RayCallMeasurement,
    compute_summary,
    print_report,
)

PYTHON = Path(sys.executable)
GENERATORS = 64
EVALUATORS = 1024
SIZES = (256, 512, 1024)  # groups per step
STEPS = 6
TIMED_STEPS = 3
RAY_CALLS = 10_000
RAY_CALLS_IN_FLIGHT = 2_000

progress = Console(stderr=True, highlight=False, soft_wrap=True)


def run_loop(settings: LoopSettings) -> MeasuredLoop:
    """Run the training loop once, in a process of its own."""
    with start_child(PYTHON, "benchmarks.tools.run_scheduler", asdict(settings)) as child:
        loop = LoopMeasurement(**child.run_work().result)
    progress.print(f"  {settings}: {loop.wall_s:.1f} s wall, {loop.cpu_s:.1f} s CPU")
    return settings, loop


def measure_ray_calls(calls: int) -> list[RayCallMeasurement]:
    """Measure the driver's cost of Ray calls, ``calls`` of each kind."""
    request = {"calls": calls, "in_flight": RAY_CALLS_IN_FLIGHT}
    with start_child(PYTHON, "benchmarks.tools.run_ray_calls", request) as child:
        return [RayCallMeasurement(**row) for row in child.run_work().result]


def build_settings(sizes: Sequence[int]) -> tuple[list[LoopSettings], list[LoopSettings]]:
    """Build the settings of all loops; ``sizes`` are groups per step, ascending.

    Returns:
        Loops whose fake actors answer at once: each size on-policy, then the largest size sampling ahead.
        Loops whose fake actors answer after random times: the largest size, on-policy and sampling ahead.
    """
    instant = partial(LoopSettings, steps=STEPS, timed=False, generators=GENERATORS, evaluators=EVALUATORS)
    timed = partial(LoopSettings, steps=TIMED_STEPS, timed=True, generators=GENERATORS, evaluators=EVALUATORS)
    on_policy = [instant(groups=groups, max_staleness=0) for groups in sizes]
    ahead = instant(groups=sizes[-1], max_staleness=1)
    return [*on_policy, ahead], [timed(groups=sizes[-1], max_staleness=staleness) for staleness in (0, 1)]


def main(
    quick: Annotated[bool, typer.Option(help="a quarter of the size, too small to speak for a large cluster")] = False,
) -> None:
    """Measure the driver on fake actors."""
    instant_settings, timed_settings = build_settings([size // 4 for size in SIZES] if quick else SIZES)
    instant = [run_loop(settings) for settings in instant_settings]
    timed = [run_loop(settings) for settings in timed_settings]
    ray_calls = measure_ray_calls(RAY_CALLS)
    print_report(instant, timed, ray_calls)
    print(json.dumps(compute_summary(instant, timed, ray_calls)))


if __name__ == "__main__":
    typer.run(main)
