"""Run the ablation, and make its page from the rows.

    python -m benchmarks.ablation [--arms default|all|NAME,...] [--seeds 0,1,2] [--report]

Runs whose row exists are skipped, a run that was killed is continued. Rows of another environment (starter policy,
problems, shared settings) are void: they are made again.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console

from benchmarks.ablation.arms import METHOD, SEEDS, Arm, select_arms
from benchmarks.ablation.environment import hash_environment
from benchmarks.ablation.report import write_report
from benchmarks.ablation.rows import Row, read_rows, write_row
from benchmarks.ablation.runs import RunError, train_arm
from benchmarks.tools.processes import ROOT

PAGE = ROOT / "docs" / "ablation.md"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__.split("\n\n")[0])
    parser.add_argument("--arms", default="default", help="default, all, or names separated by commas")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="seeds separated by commas")
    parser.add_argument("--report", action="store_true", help="only make the page from the rows there are")
    return parser.parse_args(arguments)


def find_row(arm: Arm, seed: int, environment: str) -> Row | None:
    """Return the row of an arm and a seed; None if there is none of this environment."""
    return next((row for row in read_rows(environment) if (row.arm, row.seed) == (arm.name, seed)), None)


def find_method(arm: Arm, seed: int, environment: str) -> Row | None:
    """Return the method's row of the seed, whose calibration the arm uses; None for the method itself.

    Raises RunError if there is none.
    """
    if arm == METHOD:
        return None
    row = find_row(METHOD, seed, environment)
    if row is None:
        raise RunError(f"{arm.name}, seed {seed}: the method has no row of this seed; add it: --arms method,{arm.name}")
    return row


def main() -> int:
    """Run the missing runs seed by seed, so that a part of them already compares all arms; return the exit status."""
    options = parse_arguments()
    console = Console(soft_wrap=True)
    try:
        arms = select_arms(options.arms)
        seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    environment = hash_environment()
    console.print(f"environment {environment}")
    if not options.report:
        for number, (seed, arm) in enumerate([(seed, arm) for seed in seeds for arm in arms], 1):
            label = f"{number}/{len(seeds) * len(arms)}  {arm.name}, seed {seed}"
            if find_row(arm, seed, environment) is not None:
                console.print(f"{label}: done before")
                continue
            began = time.monotonic()
            try:
                write_row(train_arm(arm, seed, environment, find_method(arm, seed, environment)))
            except RunError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            console.print(f"{label}: {time.monotonic() - began:.0f} s")
    rows = read_rows(environment)
    write_report(rows, environment, PAGE)
    console.print(f"{PAGE.relative_to(ROOT)}: {len(rows)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
