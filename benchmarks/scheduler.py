"""The driver alone, at a large cluster's size: the training loop on fake actors.

    python -m benchmarks.scheduler [--quick]

Real are ``launch.training.train.train`` with its rollouts, work buffer, crediting, train batches, metrics and rollout
files, and the pools of generators and evaluators with routing, queue, retries, repeated programs and activity, on an
event loop of one process. Generators, evaluators, learner and weight transfer are stand-ins on the same loop
(``tools/actor_stand_ins.py``): 64 and 1,024 of them, 8,192 completions a step (1,024 groups of 8), response lengths
log-normal. Ray is not in it; what a call to a Ray actor costs the driver is measured beside it.

``completions_per_s`` is claims, pools, buffer and event loop, from claim to TRAINED, without crediting, train batch,
metrics, diversity, rollout file (their cost is by tokens) and what the stand-ins do; ``..._all`` is the whole loop, by
its own clock. Other processes disturb wall seconds, and CPU seconds much less: every figure is given by both.
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

from benchmarks.tools.processes import child
from benchmarks.tools.scheduler_report import DriverRun, Result, RoundTrips, Setting, figures, print_report

PYTHON = Path(sys.executable)
GENERATORS = 64
EVALUATORS = 1024
SIZES = (256, 512, 1024)  # groups a step
STEPS = 6
TIMED_STEPS = 3
CALLS = 10_000
IN_FLIGHT = 2_000

progress = Console(stderr=True, highlight=False, soft_wrap=True)


def run(setting: Setting) -> Result:
    """One run of the loop, in a process of its own."""
    with child(PYTHON, "benchmarks.tools.run_scheduler", asdict(setting)) as loop:
        done = DriverRun(**loop.work().result)
    progress.print(f"  {setting}: {done.wall_s:.1f} s, {done.cpu_s:.1f} s CPU")
    return setting, done


def ray_calls(calls: int) -> list[RoundTrips]:
    """What Ray costs the driver."""
    with child(PYTHON, "benchmarks.tools.run_ray_calls", {"calls": calls, "in_flight": IN_FLIGHT}) as caller:
        return [RoundTrips(**one) for one in caller.work().result]


def settings(sizes: Sequence[int]) -> tuple[list[Setting], list[Setting]]:
    """With actors that answer at once: the sizes, and the largest sampling ahead. With drawn times: the largest."""
    instant = partial(Setting, steps=STEPS, timed=False, generators=GENERATORS, evaluators=EVALUATORS)
    drawn = partial(Setting, steps=TIMED_STEPS, timed=True, generators=GENERATORS, evaluators=EVALUATORS)
    on_policy = [instant(groups=groups, max_staleness=0) for groups in sizes]
    ahead = instant(groups=sizes[-1], max_staleness=1)
    return [*on_policy, ahead], [drawn(groups=sizes[-1], max_staleness=staleness) for staleness in (0, 1)]


def main(
    quick: Annotated[bool, typer.Option(help="a fourth of the size: no figures of a large cluster")] = False,
) -> None:
    """Measure the driver."""
    instant, timed = settings([size // 4 for size in SIZES] if quick else SIZES)
    at_once = [run(one) for one in instant]
    drawn = [run(one) for one in timed]
    trips = ray_calls(CALLS)
    print_report(at_once, drawn, trips)
    print(json.dumps(figures(at_once, drawn, trips)))


if __name__ == "__main__":
    typer.run(main)
