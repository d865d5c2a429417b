"""Makes docs/ablation.md and its figures from the rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot

from benchmarks.ablation.arms import (
    ARMS,
    EVALUATION_EVERY,
    FURTHER_ARMS,
    LOW_TEMPERATURE,
    SEEDS,
    Arm,
    Prediction,
    get_reference,
)
from benchmarks.ablation.rows import Row, Scored
from evaluator.pass_at_k import Estimate, pass_at_k
from launch.records.gains import estimate_mean_over_seeds

MAIN_TEMPERATURE = 1.0
PART = "trained"
"""Problems of the comparison: other numbers of the trained families."""
FIGURES = (
    ("pass_at_1_low", f"held-out pass@1 at T {LOW_TEMPERATURE:g}"),
    ("pass_at_1", f"held-out pass@1 at T {MAIN_TEMPERATURE:g}"),
    ("pass_at_8_low", f"held-out pass@8 at T {LOW_TEMPERATURE:g}"),
    ("length", "response length, tokens"),
    ("truncation", "share of truncated responses"),
    ("diversity", "diversity D"),
)
CURVE_METRICS = {
    "length": "response_length/mean",
    "truncation": "truncation/rate",
    "diversity": "diversity/distinct_4",
}
SMOOTHING = 10  # steps of the moving average of curves

HEAD = """# Ablation

Made by `make ablation` from the rows in `benchmarks/ablation/results/`; do not edit. What each part of the method is
worth on the built-in problems: {arms} arms, {rows} runs, environment `{environment}`. All arms share the settings of
`benchmarks/ablation/arms.py: BASE`; an arm changes what its name says. Predictions, from the paper, were committed
before the first run.

## Differences from the method

Held-out problems of the trained families after the last step; pass@1 at T {low:g} and {main:g} and pass@8 are means
over seeds. The difference from the method is in pass@1 at T {low:g}, where a policy that only became sharper gains
nothing, with its 95 % interval (bootstrap over seeds and families of problems, paired by both). Result: "as the paper"
or "contrary" if the interval excludes 0, otherwise "unresolved"; "no claim" where the paper predicts nothing.

| arm | seeds | pass@1, T {low:g} | pass@1, T {main:g} | pass@8, T {low:g} | difference | predicted | result |
|---|---|---|---|---|---|---|---|
"""

CURVES_HEAD = f"""## Curves

Means over seeds. Training curves are moving averages over {SMOOTHING} steps; pass@1 and pass@8 are measured every
{EVALUATION_EVERY} steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """An arm's figures and its difference from the method.

    Attributes:
        seeds: seeds of the arm's rows.
        scores: mean pass@1 at the low and the main temperature, and pass@8 at the low one.
        difference: of pass@1 at the low temperature from the reference; None for the reference, or without its rows.
    """

    arm: Arm
    seeds: tuple[int, ...]
    scores: tuple[float, float, float]
    difference: Estimate | None


def get_scored(row: Row, temperature: float, step: int | None = None) -> Scored:
    """Return the evaluation at a temperature after ``step`` steps; None: after the last."""
    scored = [each for each in row.evaluations if each.temperature == temperature]
    last = max(each.step for each in scored)
    return next(each for each in scored if each.step == (last if step is None else step))


def score_problems(row: Row, scored: Scored, k: int) -> dict[str, float]:
    """Return pass@k of each problem of ``PART``."""
    return {
        name: pass_at_k(tried, passed, k)
        for name, (tried, passed) in scored.attempts.items()
        if row.problems[name][0] == PART and tried >= k
    }


def estimate_difference(arm: Mapping[int, Row], reference: Mapping[int, Row], temperature: float) -> Estimate | None:
    """Estimate by how much an arm's pass@1 exceeds the reference's, over their common seeds and problems."""
    seeds = sorted(arm.keys() & reference.keys())
    if not seeds:
        return None
    pairs = [
        tuple(score_problems(row, get_scored(row, temperature), 1) for row in (arm[seed], reference[seed]))
        for seed in seeds
    ]
    common = sorted(set.intersection(*(set(scores) for pair in pairs for scores in pair)))
    differences = np.array([[ours[name] - theirs[name] for name in common] for ours, theirs in pairs])
    problems = arm[seeds[0]].problems
    return estimate_mean_over_seeds(differences, [problems[name][1] for name in common])


def compare_arms(rows: Sequence[Row]) -> list[Comparison]:
    """Compare all arms that have rows with their reference, in the order of ``arms.py``."""
    by_arm: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, {})[row.seed] = row
    comparisons = []
    for arm in (*ARMS, *FURTHER_ARMS):
        runs = by_arm.get(arm.name, {})
        if not runs:
            continue
        is_reference = get_reference(arm) == arm.name
        reference = by_arm.get(get_reference(arm), {})
        comparisons.append(
            Comparison(
                arm=arm,
                seeds=tuple(sorted(runs)),
                scores=(
                    _mean_score(runs, LOW_TEMPERATURE, 1),
                    _mean_score(runs, MAIN_TEMPERATURE, 1),
                    _mean_score(runs, LOW_TEMPERATURE, 8),
                ),
                difference=None if is_reference else estimate_difference(runs, reference, LOW_TEMPERATURE),
            )
        )
    return comparisons


def _mean_score(runs: Mapping[int, Row], temperature: float, k: int) -> float:
    return statistics.mean(
        statistics.mean(score_problems(row, get_scored(row, temperature), k).values()) for row in runs.values()
    )


def judge_prediction(difference: Estimate | None, prediction: Prediction) -> str:
    """Compare a difference with its prediction: as the paper, contrary, unresolved, or no claim."""
    if difference is None:
        return "-"
    if difference.low <= 0 <= difference.high:
        return "unresolved" if prediction != "none" else "no claim, unresolved"
    direction = "higher" if difference.mean > 0 else "lower"
    if prediction == "none":
        return f"no claim, {direction}"
    return "as the paper" if direction == prediction else "contrary"


def format_comparison(comparison: Comparison) -> str:
    """Return the arm's line of the table."""
    value = comparison.difference
    scores = " | ".join(f"{score:.3f}" for score in comparison.scores)
    difference = "-" if value is None else f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"
    prediction = comparison.arm.prediction if value is not None else "-"
    seeds = ", ".join(map(str, comparison.seeds))
    result = judge_prediction(value, comparison.arm.prediction)
    return f"| {comparison.arm.name} | {seeds} | {scores} | {difference} | {prediction} | {result} |"


def write_report(rows: Sequence[Row], environment: str, page: Path) -> None:
    """Write the page and its figures, which are in a folder named like it."""
    comparisons = compare_arms(rows)
    head = HEAD.format(
        arms=len(comparisons), rows=len(rows), environment=environment, low=LOW_TEMPERATURE, main=MAIN_TEMPERATURE
    )
    lines = [format_comparison(comparison) for comparison in comparisons]
    reasons = [f"- `{each.arm.name}`: {each.arm.reason}." for each in comparisons if each.difference is not None]
    images = _draw_figures(rows, page.with_suffix("")) if rows else []
    missing = [f"{arm.name} (seed {seed})" for arm in ARMS for seed in SEEDS if (arm.name, seed) not in _keys(rows)]
    parts = [head + "\n".join(lines)]
    if reasons:
        parts += ["The paper's claims behind the predictions:", "\n".join(reasons)]
    if missing:
        parts.append(f"Runs that are missing: {', '.join(missing)}.")
    if rows:
        parts += [CURVES_HEAD, "\n\n".join(images)]
    page.write_text("\n\n".join(parts).rstrip() + "\n")


def _keys(rows: Sequence[Row]) -> set[tuple[str, int]]:
    return {(row.arm, row.seed) for row in rows}


def _draw_figures(rows: Sequence[Row], folder: Path) -> list[str]:
    """Draw all figures into ``folder``; return the page's references to them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, title in FIGURES:
        _draw_figure(rows, name, title, folder / f"{name}.svg")
    return [f"![{title}]({folder.name}/{name}.svg)" for name, title in FIGURES]


def _draw_figure(rows: Sequence[Row], name: str, title: str, path: Path) -> None:
    """Draw a quantity over the training steps, a line per arm, as an SVG without dates or random ids."""
    with matplotlib.rc_context({"svg.hashsalt": "ablation", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
        for arm in (*ARMS, *FURTHER_ARMS):
            runs = [row for row in rows if row.arm == arm.name]
            if runs:
                steps, values = _make_curve(runs, name)
                axes.plot(steps, values, label=arm.name, linewidth=2.5 if arm.name == "method" else 1.2)
        axes.set(xlabel="training step", title=title)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _make_curve(runs: Sequence[Row], name: str) -> tuple[list[int], list[float]]:
    """Return the steps and the mean values over runs of the same arm."""
    if name in CURVE_METRICS:
        metric = CURVE_METRICS[name]
        by_step = [
            [x for x in values if x is not None] for values in zip(*(row.curves[metric] for row in runs), strict=True)
        ]
        measured = [(step, statistics.mean(values)) for step, values in enumerate(by_step) if values]
        averages = np.convolve([value for _, value in measured], np.full(SMOOTHING, 1 / SMOOTHING), "valid")
        return [step for step, _ in measured[SMOOTHING - 1 :]], averages.tolist()
    temperature = LOW_TEMPERATURE if name.endswith("_low") else MAIN_TEMPERATURE
    k = 8 if name.startswith("pass_at_8") else 1
    steps = sorted({each.step for each in runs[0].evaluations})
    return steps, [
        statistics.mean(
            statistics.mean(score_problems(row, get_scored(row, temperature, step), k).values()) for row in runs
        )
        for step in steps
    ]
