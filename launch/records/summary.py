"""What came out of a run, read back from its directory: did the policy learn?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.table import Table

from conf.schema import Config
from evaluator.pass_at_k import Attempts, Estimate, estimate, paired_difference
from evaluator.verdict import Status


def summary(path: Path, config: Config) -> Table:
    """A short table: reward of the first against the last quarter of the steps, held-out pass@1 before and after."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "timing_s/step" in row]  # the last row may be an evaluation only
    rewards = [row["critic/rewards/mean"] for row in steps]
    table = Table(title=f"Run {path.name}", title_justify="left", show_header=False)
    learned = []
    if len(rewards) >= 4:
        first, last = quarters(rewards)
        table.add_row("mean reward, first quarter of steps", f"{first:.3f}")
        table.add_row("mean reward, last quarter of steps", f"{last:.3f}  ({last - first:+.3f})")
        learned.append(last > first)
    before, after = (path / "evaluation" / f"step_{step:06d}.parquet" for step in (0, config.run.steps))
    first_attempts, last_attempts = compared(before, after)
    if first_attempts:
        gain = paired_difference(first_attempts, last_attempts, 1)
        table.add_row("held-out pass@1 before", interval(estimate(first_attempts, 1)))
        table.add_row("held-out pass@1 after", interval(estimate(last_attempts, 1)))
        table.add_row("held-out gain", interval(gain))
        learned.append(gain.low > 0)
    if learned and not all(learned):
        table.add_row("verdict", "[yellow]no clear learning: look at rollouts/ and metrics.jsonl[/yellow]")
    elif learned:
        table.add_row("verdict", "the policy learned")
    table.add_row("seconds a step, median", _split(steps))
    table.add_row("run directory", str(path))
    return table


def quarters(rewards: list[float]) -> tuple[float, float]:
    """Means of the first and of the last quarter."""
    size = max(1, len(rewards) // 4)
    return float(np.mean(rewards[:size])), float(np.mean(rewards[-size:]))


def compared(before: Path, after: Path) -> tuple[dict[str, Attempts], dict[str, Attempts]]:
    """Attempts of two evaluations at the problems judged in both; empty when there is none, or no evaluation."""
    if not (before.exists() and after.exists()):
        return {}, {}
    first = attempts(before)
    last = attempts(after)
    both = [question_id for question_id in first if question_id in last]
    return {name: first[name] for name in both}, {name: last[name] for name in both}


def attempts(path: Path) -> dict[str, Attempts]:
    """Attempts per problem in a Parquet file of judged answers; those that our own sandbox failed do not count."""
    counted: dict[str, list[bool]] = {}
    for row in pq.read_table(path, columns=["question_id", "passed", "status"]).to_pylist():
        if row["status"] != Status.SANDBOX_ERROR:
            counted.setdefault(row["question_id"], []).append(row["passed"])
    return {question_id: Attempts(len(found), sum(found)) for question_id, found in counted.items()}


def interval(value: Estimate) -> str:
    """A mean with its 95 % interval."""
    return f"{value.mean:.3f}  [{value.low:.3f}, {value.high:.3f}]"


def _split(rows: list[dict[str, float]]) -> str:
    names = ("step", "gen", "reward", "old_log_prob", "update_actor", "update_weights")
    medians = {name: float(np.median([row[f"timing_s/{name}"] for row in rows])) for name in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
