"""TRL's side of ``benchmarks.pipeline``: a request for the same work as one of our runs, and its measured steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.tools.processes import ROOT, start_child
from benchmarks.tools.trainer_run import StepMeasurement, TrainerRun
from evaluator import Problem, to_row
from launch.problems.prompts import build_messages

PYTHON = ROOT / ".venv-peers/trl/bin/python"
MODULE = "benchmarks.peers.run_trl_grpo"


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerRequest:
    """Request to ``benchmarks.peers.run_trl_grpo``.

    Attributes:
        model: path of the checkpoint.
        prompts: rows of ``{"prompt": chat messages, "question_id"}`` in the order of the steps.
        problems: rows of a problem file.
        steps: training steps.
        train_batch_size: problems per step.
        mini_batch_size: problems per optimizer update.
        group_size: completions per problem.
        max_response_tokens: length limit of a completion.
        temperature: sampling temperature.
        learning_rate: learning rate.
        seed: seed of the trainer.
        threads: torch threads.
        workers: programs judged at a time.
        limits: keyword arguments of ``evaluator.Limits``.
        adaptive_timeout: whether time limits adapt to solved problems.
    """

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


def build_peer_request(run: TrainerRun, model: Path, problems: Mapping[str, Problem]) -> PeerRequest:
    """Build a request for the same questions as ``run``, step by step, with the same settings.

    Args:
        run: run of ours.
        model: checkpoint that the run started from.
        problems: problems by question id.
    """
    config = run.config
    question_ids = [row["question_id"] for rows in run.rollouts for row in rows if row["sample_index"] == 0]
    algorithm = config["algorithm"]
    generator = config["generator"]
    return PeerRequest(
        model=str(model.absolute()),
        prompts=[{"prompt": build_chat(problems[name]), "question_id": name} for name in question_ids],
        problems=[to_row(problems[name]) for name in sorted(set(question_ids))],
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


def build_chat(problem: Problem) -> list[dict[str, str]]:
    """Build the chat messages of our generators' prompts; TRL applies the same chat template to them."""
    return [{"role": role, "content": content} for role, content in build_messages(problem, "training")]


def run_trl(request: PeerRequest) -> tuple[StepMeasurement, ...]:
    """Run TRL's trainer and return its steps without the first, which is the warm-up. Raises ChildError if it fails."""
    with start_child(PYTHON, MODULE, asdict(request)) as peer:
        return parse_steps(peer.run_work().result)


def parse_steps(rows: Sequence[Mapping[str, float]]) -> tuple[StepMeasurement, ...]:
    """Convert the rows of ``run_trl_grpo``, without the first; time outside generation and reward is the update."""
    return tuple(
        StepMeasurement(
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
