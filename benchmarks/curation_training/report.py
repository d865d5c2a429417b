"""Report of the training proof: held-out pass@1 of both arms by part, difficulty and temperature, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.ablation.report import get_scored
from benchmarks.ablation.rows import Row
from benchmarks.curation_training.pool import ARMS, CLEAN, PLANTED, ArmName, TrainingSets
from benchmarks.curation_training.runs import LOW_TEMPERATURE, SEEDS, TEMPERATURE
from benchmarks.tools.planted_defects import Defect
from evaluator.pass_at_k import Estimate
from launch.problems.starter import FAMILIES
from launch.records.gains import estimate_mean_over_seeds

DIFFICULTIES = {family.name: family.difficulty for family in FAMILIES}
Select = Callable[[str, str], bool]
"""Predicate of a problem's part and family."""
GROUPS: tuple[tuple[str, Select], ...] = (
    ("trained families", lambda part, family: part == "trained"),
    ("trained families, easy", lambda part, family: part == "trained" and DIFFICULTIES[family] == "easy"),
    ("trained families, medium", lambda part, family: part == "trained" and DIFFICULTIES[family] == "medium"),
    ("other families", lambda part, family: part != "trained"),
)
"""Groups of held-out problems. The pool has contaminated copies of problems of the other families."""

HEAD = """# Training on curated problems

Made by `make bench NAME=curation_training` from the rows in this folder; do not edit. Environment `{environment}`,
{rows} of {runs} runs. The pool has {pool} problems: {clean} without a defect, and {planted} with each of the
{kinds} defects of `benchmarks/tools/planted_defects.py`. The arm `curated` trains on the {curated} problems that
`launch.curate` keeps and does not flag, the arm `random` on as many drawn from the pool, for each seed others. Settings
are those of `benchmarks/curation_training/runs.py: BASE`, {steps} steps.

Held-out pass@1, means over seeds with their 95 % intervals (bootstrap over seeds and families of problems; the
difference is paired by both). The hardest built-in families are "medium".

| T | held-out problems | number | before | curated | random | curated - random |
|---|---|---|---|---|---|---|
"""


def write_report(rows: Sequence[Row], sets: TrainingSets, environment: str, steps: int, path: Path) -> None:
    """Write the report."""
    head = HEAD.format(
        environment=environment,
        rows=len(rows),
        runs=len(ARMS) * len(SEEDS),
        pool=len(sets.pool),
        clean=CLEAN,
        planted=PLANTED,
        kinds=len(Defect),
        curated=len(sets.curated),
        steps=steps,
    )
    path.write_text(head + "".join(f"{line}\n" for line in make_lines(rows)))


def make_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table, of the seeds for which both arms have a row."""
    runs: dict[ArmName, dict[int, Row]] = {arm: {row.seed: row for row in rows if row.arm == arm} for arm in ARMS}
    seeds = sorted(runs["curated"].keys() & runs["random"].keys())
    if not seeds:
        return
    for temperature in (LOW_TEMPERATURE, TEMPERATURE):
        scores = [
            [score_problems(arm[seed], temperature, step) for seed in seeds]
            for arm, step in ((runs["curated"], 0), (runs["curated"], None), (runs["random"], None))
        ]
        scored = set.intersection(*(set(each) for column in scores for each in column))
        for name, select in GROUPS:
            problems = runs["curated"][seeds[0]].problems
            names = sorted(question_id for question_id in scored if select(*problems[question_id]))
            families = [problems[question_id][1] for question_id in names]
            before, curated, random = (
                np.array([[each[question_id] for question_id in names] for each in column]) for column in scores
            )
            estimates = [
                estimate_mean_over_seeds(values, families) for values in (before, curated, random, curated - random)
            ]
            cells = (f"{temperature:g}", name, str(len(names)), *map(format_estimate, estimates))
            yield f"| {' | '.join(cells)} |"


def score_problems(row: Row, temperature: float, step: int | None) -> dict[str, float]:
    """Return pass@1 of the problems that were judged, after ``step`` steps; None: after the last."""
    attempts = get_scored(row, temperature, step).attempts
    return {name: passed / tried for name, (tried, passed) in attempts.items() if tried}


def format_estimate(estimate: Estimate) -> str:
    """Return the mean with its interval."""
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
