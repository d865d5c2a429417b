"""Summary of a training run, computed from the files in its directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.table import Table

from conf.schema import Config
from evaluator.pass_at_k import Attempts, Estimate, estimate, paired_difference
from evaluator.verdict import Status


def summarize_run(path: Path, config: Config) -> Table:
    """Build a table that shows whether the policy learned.

    It compares the mean reward of the first and the last quarter of the steps, and the held-out pass@1 before and after
    training.

    Args:
        path: run directory.
        config: configuration of the run.
    """
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "timing_s/step" in row]  # the last row may contain only an evaluation
    rewards = [row["critic/rewards/mean"] for row in steps]
    table = Table(title=f"Run {path.name}", title_justify="left", show_header=False)
    improvements = []
    if len(rewards) >= 4:
        first, last = compute_quarter_means(rewards)
        table.add_row("mean reward, first quarter of steps", f"{first:.3f}")
        table.add_row("mean reward, last quarter of steps", f"{last:.3f}  ({last - first:+.3f})")
        improvements.append(last > first)
    before, after = (path / "evaluation" / f"step_{step:06d}.parquet" for step in (0, config.run.steps))
    first_attempts, last_attempts = read_common_attempts(before, after)
    if first_attempts:
        gain = paired_difference(first_attempts, last_attempts, 1)
        table.add_row("held-out pass@1 before", format_estimate(estimate(first_attempts, 1)))
        table.add_row("held-out pass@1 after", format_estimate(estimate(last_attempts, 1)))
        table.add_row("held-out gain", format_estimate(gain))
        improvements.append(gain.low > 0)
    if improvements and not all(improvements):
        table.add_row("verdict", "[yellow]no clear improvement: look at rollouts/ and metrics.jsonl[/yellow]")
    elif improvements:
        table.add_row("verdict", "the policy learned")
    table.add_row("seconds per step, median", _format_median_times(steps))
    table.add_row("run directory", str(path))
    return table


def compute_quarter_means(rewards: list[float]) -> tuple[float, float]:
    """Return the mean of the first and of the last quarter of ``rewards``."""
    size = max(1, len(rewards) // 4)
    return float(np.mean(rewards[:size])), float(np.mean(rewards[-size:]))


def read_common_attempts(before: Path, after: Path) -> tuple[dict[str, Attempts], dict[str, Attempts]]:
    """Read the attempts of two evaluations at the problems that have attempts in both.

    Args:
        before: Parquet file of judged answers of the first evaluation.
        after: the same of the last evaluation.

    Returns:
        Attempts by question id, before and after; both empty if a file is missing.
    """
    if not (before.exists() and after.exists()):
        return {}, {}
    first = read_attempts(before)
    last = read_attempts(after)
    common = [question_id for question_id in first if question_id in last]
    return {question_id: first[question_id] for question_id in common}, {
        question_id: last[question_id] for question_id in common
    }


def read_attempts(path: Path) -> dict[str, Attempts]:
    """Read the attempts per problem from a Parquet file of judged answers; sandbox errors do not count."""
    outcomes: dict[str, list[bool]] = {}
    for row in pq.read_table(path, columns=["question_id", "passed", "status"]).to_pylist():
        if row["status"] != Status.SANDBOX_ERROR:
            outcomes.setdefault(row["question_id"], []).append(row["passed"])
    return {question_id: Attempts(len(passed), sum(passed)) for question_id, passed in outcomes.items()}


def format_estimate(value: Estimate) -> str:
    """Return a mean with its 95 % confidence interval."""
    return f"{value.mean:.3f}  [{value.low:.3f}, {value.high:.3f}]"


def _format_median_times(rows: list[dict[str, float]]) -> str:
    """Return the median seconds of a whole step and of its parts."""
    names = ("step", "gen", "reward", "old_log_prob", "update_actor", "update_weights")
    medians = {name: float(np.median([row[f"timing_s/{name}"] for row in rows])) for name in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
