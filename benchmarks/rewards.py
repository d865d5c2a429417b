"""Run the training script of docs/rewards.md: two GRPO steps of TRL with ``evaluator.rewards`` as its reward.

    python -m benchmarks.rewards [--problems N]

The script is taken from the page as it stands. Its folder holds what it names: ``model``, the starter policy, and
``problems.jsonl``, built-in problems whose statement is the prompt that the policy was trained with. This shows that
the page's example runs with the pinned version of TRL. It compares no speed: ``benchmarks.pipeline`` does.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.tools.processes import ROOT, start_child
from evaluator import to_row
from launch.models.starter_policy import build_default_starter
from launch.problems.prompts import build_messages
from launch.problems.starter import build_training_problems

PEER_PYTHON = ROOT / ".venv-peers/trl/bin/python"
PAGE = ROOT / "docs/rewards.md"
SCRIPT = "train.py"
STEPS = 2
REWARD = "rewards/passed"

COLUMNS = {
    "reward": f"{REWARD}/mean",
    "std": f"{REWARD}/std",
    "equal groups": "frac_reward_zero_std",
    "tokens": "completions/mean_length",
    "loss": "loss",
    "gradient norm": "grad_norm",
}
"""Headings of the printed table: names in TRL's log."""

console = Console(highlight=False, soft_wrap=True)
progress = Console(stderr=True, highlight=False, soft_wrap=True)


class RewardBenchmarkError(RuntimeError):
    """The script ran, but not as the page says."""


@dataclass(frozen=True)
class ScriptRequest:
    """Request to ``benchmarks.peers.run_trl_rewards``: the script, and the folder in which it runs."""

    folder: str
    script: str


def extract_script(page: str, name: str) -> str:
    """Return a file shown on a page of the documentation: the Python block whose first line is its name."""
    blocks = [
        block for block in re.findall(r"```python\n(.*?\n)```", page, re.DOTALL) if block.startswith(f"# {name}\n")
    ]
    if len(blocks) != 1:
        raise RewardBenchmarkError(f"the page shows {len(blocks)} files {name}, not one")
    return blocks[0]


def write_inputs(folder: Path, count: int) -> None:
    """Write the script, and the model and the problems that it names."""
    (folder / SCRIPT).write_text(extract_script(PAGE.read_text(), SCRIPT))
    (folder / "model").symlink_to(build_default_starter(progress).absolute())
    problems = [starter.problem for starter in build_training_problems()[:count]]
    rows = [
        to_row(replace(problem, question_content=build_messages(problem, "training")[-1][1])) for problem in problems
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def select_steps(log: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of steps in TRL's log. Raises RewardBenchmarkError if they are not ``STEPS`` with a reward."""
    rows = [row for row in log if f"{REWARD}/mean" in row]
    if len(rows) != STEPS or not all(math.isfinite(row[f"{REWARD}/mean"]) for row in rows):
        raise RewardBenchmarkError(f"expected {STEPS} steps with a mean reward in TRL's log: {log}")
    return rows


def compute_summary(steps: Sequence[Mapping[str, Any]], wall_s: float) -> dict[str, float]:
    """Return the figures of the last line: mean rewards and seconds."""
    rewards = {f"reward_step_{number}": row[f"{REWARD}/mean"] for number, row in enumerate(steps, 1)}
    return {"steps": len(steps), **rewards, "seconds": round(wall_s, 1)}


def print_steps(steps: Sequence[Mapping[str, Any]]) -> None:
    """Print a row per step of TRL's log."""
    table = Table("step", *COLUMNS, title="TRL's GRPOTrainer with evaluator.rewards.passed")
    for number, row in enumerate(steps, 1):
        table.add_row(str(number), *(f"{float(row[name]):.3g}" for name in COLUMNS.values()))
    console.print(table)


def main(problems: Annotated[int, typer.Option(min=2, help="number of problems")] = 8) -> None:
    """Train two steps with TRL and this evaluator."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # spinning threads take cores from sandboxes
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        write_inputs(folder, problems)
        with start_child(
            PEER_PYTHON, "benchmarks.peers.run_trl_rewards", asdict(ScriptRequest(scratch, SCRIPT))
        ) as child:
            measurement = child.run_work()
    steps = select_steps(measurement.result)
    print_steps(steps)
    print(json.dumps(compute_summary(steps, measurement.wall_s)))


if __name__ == "__main__":
    typer.run(main)
