"""Summary of a training run, computed from the files in its directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.table import Table

from conf.schema import Config
from evaluator.pass_at_k import Estimate
from launch.records.gains import Gain, JudgedAnswer, format_change, measure_learning, read_answers

MECHANISMS = (
    ("the mask changed advantages", "truncation/changed_advantages"),
    ("the repeat test found a repetition", "truncation/repeat"),
    ("the upper clip acted", "actor/pg_clipfrac_higher"),
    ("the lower clip acted", "actor/pg_clipfrac_lower"),
)
"""Parts of the method, each with the metric that is positive in the steps in which it acts."""


def summarize_run(path: Path, config: Config) -> Group:
    """Build tables that show what changed on the held-out problems, how the method acted, and a verdict.

    Args:
        path: run directory.
        config: configuration of the run.
    """
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "timing_s/step" in row]  # the last row may contain only an evaluation
    rewards = [row["critic/rewards/mean"] for row in steps]
    table = Table(title=f"Run {path.name}", title_justify="left", show_header=False)
    if len(rewards) >= 4:
        first, last = compute_quarter_means(rewards)
        table.add_row("mean reward, first quarter of steps", f"{first:.3f}")
        table.add_row("mean reward, last quarter of steps", f"{last:.3f}  ({last - first:+.3f})")
    for name, metric in MECHANISMS:
        acted = sum(row.get(metric, 0) > 0 for row in steps)
        table.add_row(f"steps in which {name}", f"{acted} of {len(steps)}")
    before = _read_evaluations(path, config, 0)
    after = _read_evaluations(path, config, config.run.steps)
    learning = measure_learning(before, after)
    if learning is not None:
        best = learning.best
        label = f"trained at T {config.evaluation.temperature:g} - untrained at its best, T {best.temperature:g}"
        table.add_row(label, format_change(best.difference))
        main = learning.gains[0]
        parts = f"{main.from_style:+.3f}; {main.from_accuracy:+.3f}"
        table.add_row("of the gain, from style; from accuracy within a style", parts)
        table.add_row("verdict", learning.verdict)
    table.add_row("seconds per step, median", _format_median_times(steps))
    table.add_row("run directory", str(path))
    return Group(*([] if learning is None else [build_gain_table(learning.gains)]), table)


def compute_quarter_means(rewards: list[float]) -> tuple[float, float]:
    """Return the mean of the first and of the last quarter of ``rewards``."""
    size = max(1, len(rewards) // 4)
    return float(np.mean(rewards[:size])), float(np.mean(rewards[-size:]))


def _read_evaluations(path: Path, config: Config, step: int) -> dict[float, list[JudgedAnswer]]:
    """Read the answers of the policy after ``step`` steps, by temperature, the evaluation's own first."""
    name = f"step_{step:06d}.parquet"
    folder = path / "evaluation"
    files = {config.evaluation.temperature: folder / name} | {
        temperature: folder / f"T{temperature:g}" / name for temperature in config.evaluation.other_temperatures
    }
    return {temperature: read_answers(file) for temperature, file in files.items() if file.exists()}


def build_gain_table(gains: Sequence[Gain]) -> Table:
    """Build the table of pass@1 and pass@k before and after training, by part of the problems and temperature."""
    table = Table(
        title="Held-out problems, before → after training",
        title_justify="left",
        caption="gains with 95 % intervals: bootstrap over problems, by family if they are made from families",
        caption_justify="left",
    )
    for column in ("problems", "T", "pass@1", f"pass@{min(gain.k for gain in gains)}"):
        table.add_column(column)
    for gain in gains:
        families = f" of {gain.clusters} families" if gain.clusters < gain.problems else ""
        table.add_row(
            f"{gain.part}\n{gain.problems}{families}",
            f"{gain.temperature:g}",
            _format_scores(gain.pass_at_1),
            _format_scores(gain.pass_at_k),
        )
    return table


def _format_scores(scores: tuple[Estimate, Estimate, Estimate]) -> str:
    before, after, change = scores
    return f"{before.mean:.3f} → {after.mean:.3f}\n{format_change(change)}"


def _format_median_times(rows: list[dict[str, float]]) -> str:
    """Return the median seconds of a whole step and of its parts."""
    names = ("step", "gen", "reward", "old_log_prob", "update_actor", "update_weights")
    medians = {name: float(np.median([row[f"timing_s/{name}"] for row in rows])) for name in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
