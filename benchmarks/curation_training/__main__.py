"""Train on curated problems and on random ones of the same pool, and write the report.

    make bench NAME=curation_training [ARGS="--seeds 0,1,2 --steps 56 --report"]

Runs whose row exists are skipped, a run that was killed is continued. Rows of another environment (pool, curated
problems, starter policy, settings) are void: they are made again.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.ablation.rows import read_rows, write_row
from benchmarks.ablation.runs import RunError
from benchmarks.curation_training.pool import ARMS, CLEAN, PLANTED, prepare_sets
from benchmarks.curation_training.report import write_report
from benchmarks.curation_training.runs import RUNS, SEEDS, STEPS, hash_environment, train_arm

RESULTS = Path(__file__).parent / "results"


def main(
    seeds: Annotated[str, typer.Option(help="seeds separated by commas")] = ",".join(map(str, SEEDS)),
    steps: Annotated[int, typer.Option(help="training steps of a run")] = STEPS,
    results: Annotated[Path, typer.Option(help="directory of the rows and the report")] = RESULTS,
    report: Annotated[bool, typer.Option("--report", help="only make the report from the rows there are")] = False,
) -> None:
    """Run the missing runs seed by seed, so that a part of them already compares both arms."""
    console = Console(soft_wrap=True)
    try:
        sets = prepare_sets(RUNS, CLEAN, PLANTED)
        environment = hash_environment(sets, steps)
        console.print(f"environment {environment}: {len(sets.curated)} curated of {len(sets.pool)} problems")
        missing = [] if report else [(int(seed), arm) for seed in seeds.split(",") for arm in ARMS]
        for seed, arm in missing:
            if any((row.arm, row.seed) == (arm, seed) for row in read_rows(environment, results)):
                console.print(f"{arm}, seed {seed}: done before")
                continue
            began = time.monotonic()
            write_row(train_arm(arm, seed, sets, environment, steps), results)
            console.print(f"{arm}, seed {seed}: {time.monotonic() - began:.0f} s")
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    results.mkdir(parents=True, exist_ok=True)
    rows = read_rows(environment, results)
    write_report(rows, sets, environment, steps, results / "README.md")
    console.print(f"{results / 'README.md'}: {len(rows)} runs")


if __name__ == "__main__":
    typer.run(main)
