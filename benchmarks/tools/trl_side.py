"""What TRL's side of ``benchmarks.pipeline`` is asked to do, so that it does what a run of ours did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.tools.processes import ROOT, child
from benchmarks.tools.trainer_run import Step, TrainerRun
from evaluator import Problem, to_row
from launch.problems.prompts import messages

PYTHON = ROOT / ".venv-peers/trl/bin/python"
MODULE = "benchmarks.peers.run_trl_grpo"


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerRequest:
    """``prompts``: rows ``{"prompt": chat, "question_id"}`` in the order of the steps; ``problems``: rows of a file."""

    model: str
    prompts: list[dict[str, Any]]
    problems: list[dict[str, Any]]
    steps: int
    train_batch_size: int
    mini_batch_size: int
    group_size: int
    max_response_tokens: int
    temperature: float
    learning_rate: float
    seed: int
    threads: int
    workers: int
    limits: dict[str, float]
    adaptive_timeout: bool


def request_like(run: TrainerRun, model: Path, problems: Mapping[str, Problem]) -> PeerRequest:
    """The questions of ``run``, step by step, under its settings. ``problems`` by question id."""
    config = run.config
    asked = [row["question_id"] for rows in run.rollouts for row in rows if row["sample_index"] == 0]
    algorithm = config["algorithm"]
    generator = config["generator"]
    return PeerRequest(
        model=str(model.absolute()),
        prompts=[{"prompt": chat(problems[name]), "question_id": name} for name in asked],
        problems=[to_row(problems[name]) for name in sorted(set(asked))],
        steps=len(run.rollouts),
        train_batch_size=algorithm["train_batch_size"],
        mini_batch_size=algorithm["mini_batch_size"],
        group_size=algorithm["group_size"],
        max_response_tokens=generator["max_response_tokens"],
        temperature=config["temperature"]["value"],
        learning_rate=config["learner"]["learning_rate"],
        seed=config["run"]["seed"],
        threads=max(generator["threads"], config["learner"]["threads"]),
        workers=run.workers,
        limits=run.limits,
        adaptive_timeout=config["evaluator"]["adaptive_timeout"],
    )


def chat(problem: Problem) -> list[dict[str, str]]:
    """The messages that our generators' prompts are made of; TRL applies the same chat template."""
    return [{"role": role, "content": content} for role, content in messages(problem, "training")]


def run_peer(request: PeerRequest) -> tuple[Step, ...]:
    """Its steps but the first, which is the warm-up. Raises ChildError."""
    with child(PYTHON, MODULE, asdict(request)) as peer:
        return peer_steps(peer.work().result)


def peer_steps(rows: Sequence[Mapping[str, float]]) -> tuple[Step, ...]:
    """Rows of ``run_trl_grpo``; what is neither generation nor reward is the update."""
    return tuple(
        Step(
            seconds=row["seconds"],
            cpu_s=row["cpu_s"],
            tokens=row["tokens"],
            phases={
                "gen": row["gen"],
                "reward": row["reward"],
                "update_actor": row["seconds"] - row["gen"] - row["reward"],
                "old_log_prob": 0.0,
            },
        )
        for row in rows[1:]
    )
