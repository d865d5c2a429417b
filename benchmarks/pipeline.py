"""The whole loop: sampling, judging and learning, side by side and against TRL's, in one run.

    python -m benchmarks.pipeline [--rounds N] [--steps N] [--quick]

Three comparisons, each of training runs in turn (``tools/trainer_run.py`` starts ours, the command that a person
types). (a) Sampling ahead: the quickstart with ``max_staleness`` 0 and 1, engines and learner on one core each in both.
(b) Streamed judging: the reward that a step waits for, against judging the same programs after generation. (c) TRL's
GRPOTrainer with its own ``generate``, judged by the same evaluator: the same policy, questions, lengths, groups and
steps; on the quickstart, and with a policy of uneven lengths, some of whose programs loop (``tools/uneven_policy.py``).
The learning rate is so small on all sides that the policy, and with it the work of a step, stays the same.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.tools.judged_afterwards import judged_afterwards
from benchmarks.tools.pipeline_report import (
    QUICKSTART,
    UNEVEN,
    Overlap,
    Pair,
    Streaming,
    check_same_work,
    figures,
    median,
    phase,
    print_report,
    seconds,
)
from benchmarks.tools.trainer_run import Step, TrainerRun, run_trainer
from benchmarks.tools.trl_side import request_like, run_peer
from benchmarks.tools.uneven_policy import MOST_TOKENS, uneven_policy
from evaluator import Problem, Status
from launch.models.starter_policy import build_starter
from launch.problems.starter import training_problems

RUN_S = 900.0  # for one training run
PEER = "TRL with transformers' generate"
SHARED = (
    "+experiment=quickstart",
    "evaluation.samples=0",
    "run.checkpoint_every=1000",
    "run.tensorboard=false",
    "learner.learning_rate=1e-6",
)
CORE_EACH = ("generator.threads=1", "learner.threads=1")
SAMPLING_AHEAD = "algorithm.max_staleness=1"

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Workload:
    """A policy and the settings under which it is trained."""

    name: str
    model: Path
    overrides: tuple[str, ...]


class Bench:
    """Runs in a scratch directory, each with ``steps`` steps and the one before that is not counted."""

    def __init__(self, scratch: Path, steps: int) -> None:
        self.scratch = scratch
        self.steps = steps
        self.problems: Mapping[str, Problem] = {
            starter.problem.question_id: starter.problem for starter in training_problems()
        }
        self.runs = 0

    def ours(self, workload: Workload, overrides: Sequence[str] = (), pinned: bool = False) -> TrainerRun:
        """One run of ours."""
        self.runs += 1
        chosen = [
            *SHARED,
            *workload.overrides,
            *overrides,
            f"model.path={workload.model}",
            f"run.steps={self.steps + 1}",
        ]
        run = run_trainer(self.scratch / f"run{self.runs}", chosen, RUN_S, pinned)
        self.tell(f"{workload.name}, ours {' '.join(overrides)}", run.steps)
        return run

    def against_trl(self, workload: Workload, rounds: int) -> tuple[Pair, Streaming]:
        """Runs in turn, and how long judging took or would have taken."""
        ours: list[Step] = []
        theirs: list[Step] = []
        afterwards: list[float] = []
        sampled: list[Mapping[str, Any]] = []
        for _ in range(rounds):
            run = self.ours(workload)
            ours += run.steps
            peer = run_peer(request_like(run, workload.model, self.problems))
            self.tell(f"{workload.name}, {PEER}", peer)
            theirs += peer
            afterwards += judged_afterwards(run, self.problems)
            sampled += [row for rows in run.rollouts for row in rows]
        lengths = [len(row["response_token_ids"]) for row in sampled]
        timed_out = sum(row["status"] == Status.TIME_LIMIT for row in sampled) / len(sampled)
        pair = Pair(workload=workload.name, peer=PEER, ours=ours, theirs=theirs)
        check_same_work(pair)
        return pair, Streaming(
            workload=workload.name, steps=ours, afterwards=afterwards, lengths=lengths, timed_out=timed_out
        )

    def overlap(self, workload: Workload, rounds: int) -> Overlap:
        """Runs in turn, with engines and learner on a core each."""
        on_policy: list[Step] = []
        ahead: list[Step] = []
        for _ in range(rounds):
            on_policy += self.ours(workload, CORE_EACH, pinned=True).steps
            ahead += self.ours(workload, (*CORE_EACH, SAMPLING_AHEAD), pinned=True).steps
        return Overlap(on_policy, ahead)

    def tell(self, side: str, steps: Sequence[Step]) -> None:
        tokens = median(steps, lambda step: step.tokens)
        progress.print(
            f"  {side}: {seconds(steps):.1f} s a step of {tokens:.0f} tokens, generation {phase(steps, 'gen'):.1f} s, "
            f"visible reward {phase(steps, 'reward'):.1f} s"
        )


def workloads() -> tuple[Workload, Workload]:
    """The quickstart; and half as many problems a step with the policy of uneven lengths."""
    starter = build_starter(progress)
    uneven = uneven_policy(starter, progress.print)
    small = ("algorithm.train_batch_size=12", "algorithm.mini_batch_size=6")
    return (
        Workload(QUICKSTART, starter, ()),
        Workload(UNEVEN, uneven, (f"generator.max_response_tokens={MOST_TOKENS}", *small)),
    )


def main(
    rounds: Annotated[int, typer.Option(min=1, help="runs of each side")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="counted steps of a run")] = 4,
    quick: Annotated[bool, typer.Option(help="one run of each side, of two counted steps")] = False,
) -> None:
    """Measure the loop against itself and against TRL's."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # for TRL's side as for ours: spinning threads take cores from sandboxes
    if quick:
        rounds = 1
        steps = 2
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        bench = Bench(Path(scratch), steps)
        (quickstart, uneven) = workloads()
        found = [bench.against_trl(workload, rounds) for workload in (quickstart, uneven)]
        overlap = bench.overlap(quickstart, rounds)
    pairs = [pair for pair, _ in found]
    streamings = [streaming for _, streaming in found]
    print_report(pairs, streamings, overlap)
    print(json.dumps({**figures(pairs, streamings, overlap), "rounds": rounds, "steps": steps, "peer": PEER}))


if __name__ == "__main__":
    typer.run(main)
