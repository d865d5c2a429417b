"""Compare the evaluator of this checkout with that of another one: the same programs, pass by pass in turn.

    python -m benchmarks.evaluator_change CHECKOUT [--data DIR] [--passes N]

The programs are those of ``benchmarks.evaluator`` that take little time, so that the evaluator's own cost counts. An
evaluator of each checkout judges them once to warm up, then in each pass one after the other, in alternating order. So
both see the same moments of the machine, and the mean of the ratios of the passes, with its 95 % interval, is right on
a busy machine, too. Both run in this environment's interpreter. Compile the modules of both checkouts first (``python
-m compileall -q evaluator``): the sandbox reads compiled modules, but writes none.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.evaluator import (
    FULL_SIZE,
    MEMORY_MB,
    TIMEOUT_S,
    WORKERS,
    JudgingWorkload,
    load_workload,
    start_our_evaluator,
)
from benchmarks.tools.labelled_programs import DATA_DIRECTORY
from benchmarks.tools.processes import ROOT, WorkMeasurement
from evaluator import Evaluator, Limits

MAX_SECONDS = 0.2  # of judging a program that is compared


@dataclass(frozen=True, kw_only=True)
class ChangeMeasurement:
    """Cost of this checkout's evaluator, relative to the other one's.

    Attributes:
        kind: kind of the programs.
        programs: number of programs.
        cpu_s: median CPU seconds of a pass, of this checkout.
        cpu_ratio: mean over passes.
        cpu_interval: half the width of its 95 % interval.
        wall_ratio: mean over passes.
        wall_interval: half the width of its 95 % interval.
    """

    kind: str
    programs: int
    cpu_s: float
    cpu_ratio: float
    cpu_interval: float
    wall_ratio: float
    wall_interval: float


def select_short_programs(workload: JudgingWorkload) -> JudgingWorkload:
    """Judge all programs once with this checkout's evaluator and keep those that take little time."""
    limits = Limits(wall_s=TIMEOUT_S, cpu_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    items = [(workload.problems[program.question_id], program.code) for program in workload.programs]
    with Evaluator(limits, workers=WORKERS) as evaluator:
        verdicts = asyncio.run(evaluator.evaluate_many(items))
    pairs = zip(workload.programs, verdicts, strict=True)
    short = tuple(program for program, verdict in pairs if verdict.seconds < MAX_SECONDS)
    return JudgingWorkload(short, workload.problems, workload.problems_path)


def select_kind(workload: JudgingWorkload, is_function: bool) -> JudgingWorkload:
    """Keep the programs that define a function, or the others."""
    kept = tuple(
        program
        for program in workload.programs
        if (workload.problems[program.question_id].func_name is not None) == is_function
    )
    return JudgingWorkload(kept, workload.problems, workload.problems_path)


def measure_passes(
    workload: JudgingWorkload, roots: Sequence[Path], passes: int
) -> list[tuple[WorkMeasurement, WorkMeasurement]]:
    """Measure the evaluators of two checkouts. Raises ChildError if one of them fails."""
    measured = []
    with ExitStack() as stack:
        children = [stack.enter_context(start_our_evaluator(workload, root=root)) for root in roots]
        for child in children:
            child.run_work()
        for number in range(passes):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            costs = {index: children[index].run_work() for index in order}
            measured.append((costs[0], costs[1]))
    return measured


def estimate_ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean of second / first, and half the width of its 95 % interval by a normal distribution.

    >>> estimate_ratio([(1.0, 1.0), (2.0, 4.0)])
    (1.5, 0.98)
    """
    ratios = [second / first for first, second in pairs]
    return statistics.mean(ratios), round(1.96 * statistics.stdev(ratios) / len(ratios) ** 0.5, 4)


def compare(kind: str, workload: JudgingWorkload, other: Path, passes: int) -> ChangeMeasurement:
    """Measure programs of one kind with the evaluators of this and the other checkout."""
    measured = measure_passes(workload, (other, ROOT), passes)
    cpu_ratio, cpu_interval = estimate_ratio([(first.cpu_s, second.cpu_s) for first, second in measured])
    wall_ratio, wall_interval = estimate_ratio([(first.wall_s, second.wall_s) for first, second in measured])
    return ChangeMeasurement(
        kind=kind,
        programs=len(workload.programs),
        cpu_s=statistics.median(second.cpu_s for _, second in measured),
        cpu_ratio=round(cpu_ratio, 4),
        cpu_interval=cpu_interval,
        wall_ratio=round(wall_ratio, 4),
        wall_interval=wall_interval,
    )


def main(
    checkout: Annotated[Path, typer.Argument(help="other checkout of this project", exists=True, file_okay=False)],
    data: Annotated[Path, typer.Option(help="directory with the problems and the labelled programs")] = DATA_DIRECTORY,
    passes: Annotated[int, typer.Option(min=2, help="passes over the programs of each kind")] = 16,
) -> None:
    """Compare this checkout's evaluator with another checkout's."""
    if not (checkout / "benchmarks" / "tools" / "run_our_evaluator.py").exists():
        raise typer.BadParameter(f"{checkout} is not a checkout of this project", param_hint="CHECKOUT")
    short = select_short_programs(load_workload(data, FULL_SIZE).without_loops())
    kinds = {"standard input": select_kind(short, False), "functions": select_kind(short, True), "all": short}
    measured = [compare(kind, workload, checkout.absolute(), passes) for kind, workload in kinds.items()]
    table = Table("programs", "number", "CPU s", "CPU ratio", "wall ratio", title=f"this evaluator / {checkout}")
    for entry in measured:
        table.add_row(
            entry.kind,
            str(entry.programs),
            f"{entry.cpu_s:.2f}",
            f"{entry.cpu_ratio:.3f} ± {entry.cpu_interval:.3f}",
            f"{entry.wall_ratio:.3f} ± {entry.wall_interval:.3f}",
        )
    Console(width=100).print(table)
    print(json.dumps({"kinds": [asdict(entry) for entry in measured]}))


if __name__ == "__main__":
    typer.run(main)
