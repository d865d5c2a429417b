"""Compare the whole training loop (sampling, judging, learning) with variants of itself and with TRL's, in one run.

    python -m benchmarks.pipeline [--rounds N] [--steps N] [--quick]

There are three comparisons, each between training runs in turn (``tools/trainer_run.py`` starts ours by the command
that a user types):

- Overlap: the quickstart with ``max_staleness`` 0 and 1, and with old log-probs that wait for the last completion;
  generators and learner on one core each in all of them.
- Streamed judging: the reward that a step waits for, against judging the same programs after generation.
- TRL's GRPOTrainer with its own ``generate``, judged by the same evaluator: the same policy, questions, lengths, groups
  and steps, on the quickstart and with a policy of uneven lengths, some of whose programs loop
  (``tools/uneven_policy.py``).

The learning rate is so small in all runs that the policy, and with it the work of a step, stays the same.
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

from benchmarks.tools.judging_afterwards import time_judging_afterwards
from benchmarks.tools.pipeline_report import (
    QUICKSTART,
    UNEVEN,
    OverlapComparison,
    StreamedJudging,
    TrainerComparison,
    check_same_work,
    compute_summary,
    median_over_steps,
    median_phase_seconds,
    median_seconds,
    print_report,
)
from benchmarks.tools.trainer_run import StepMeasurement, TrainerRun, run_trainer
from benchmarks.tools.trl_trainer import build_peer_request, run_trl
from benchmarks.tools.uneven_policy import MAX_RESPONSE_TOKENS, build_uneven_policy
from evaluator import Problem, Status
from launch.models.starter_policy import build_default_starter
from launch.problems.starter import build_training_problems

RUN_DEADLINE_S = 900.0
PEER = "TRL with transformers' generate"
SHARED_OVERRIDES = (
    "+experiment=quickstart",
    # Sizes that stay the same when the quickstart changes, so that figures of different commits compare.
    "algorithm.train_batch_size=24",
    "algorithm.mini_batch_size=12",
    "generator.max_response_tokens=80",
    "temperature.kind=fixed",
    "evaluation.samples=0",
    "run.checkpoint_every=1000",
    "run.tensorboard=false",
    "logging.report_every=0",
    "learner.learning_rate=1e-6",
)
CORE_EACH_OVERRIDES = ("generator.threads=1", "learner.threads=1")
SAMPLING_AHEAD_OVERRIDE = "algorithm.max_staleness=1"
IN_TURN_OVERRIDE = "learner.logprobs_while_sampling=false"

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class TrainingWorkload:
    """A policy and the configuration overrides under which it is trained."""

    name: str
    model: Path
    overrides: tuple[str, ...]


class PipelineBenchmark:
    """Training runs in a scratch directory, each of one warm-up step and ``steps`` measured steps."""

    def __init__(self, scratch: Path, steps: int) -> None:
        self.scratch = scratch
        self.steps = steps
        self.problems: Mapping[str, Problem] = {
            starter.problem.question_id: starter.problem for starter in build_training_problems()
        }
        self.runs = 0

    def run_ours(self, workload: TrainingWorkload, overrides: Sequence[str] = (), pinned: bool = False) -> TrainerRun:
        """Run our trainer once; ``pinned`` keeps generators and learner on a core each."""
        self.runs += 1
        all_overrides = [
            *SHARED_OVERRIDES,
            *workload.overrides,
            *overrides,
            f"model.path={workload.model}",
            f"run.steps={self.steps + 1}",
        ]
        run = run_trainer(self.scratch / f"run{self.runs}", all_overrides, RUN_DEADLINE_S, pinned)
        self.print_medians(f"{workload.name}, ours {' '.join(overrides)}", run.steps)
        return run

    def compare_with_trl(self, workload: TrainingWorkload, rounds: int) -> tuple[TrainerComparison, StreamedJudging]:
        """Run both trainers in turn, and judge our programs again after each of our runs."""
        ours: list[StepMeasurement] = []
        theirs: list[StepMeasurement] = []
        afterwards_s: list[float] = []
        rollout_rows: list[Mapping[str, Any]] = []
        for _ in range(rounds):
            run = self.run_ours(workload)
            ours += run.steps
            peer_steps = run_trl(build_peer_request(run, workload.model, self.problems))
            self.print_medians(f"{workload.name}, {PEER}", peer_steps)
            theirs += peer_steps
            afterwards_s += time_judging_afterwards(run, self.problems)
            rollout_rows += [row for rows in run.rollouts for row in rows]
        lengths = [len(row["response_token_ids"]) for row in rollout_rows]
        timed_out = sum(row["status"] == Status.TIME_LIMIT for row in rollout_rows) / len(rollout_rows)
        comparison = TrainerComparison(workload=workload.name, peer=PEER, ours=ours, theirs=theirs)
        check_same_work(comparison)
        return comparison, StreamedJudging(
            workload=workload.name, steps=ours, afterwards_s=afterwards_s, lengths=lengths, timed_out=timed_out
        )

    def compare_overlap(self, workload: TrainingWorkload, rounds: int) -> OverlapComparison:
        """Run our trainer on-policy, a step ahead, and in turn, with generators and learner on a core each."""
        on_policy: list[StepMeasurement] = []
        ahead: list[StepMeasurement] = []
        in_turn: list[StepMeasurement] = []
        for _ in range(rounds):
            on_policy += self.run_ours(workload, CORE_EACH_OVERRIDES, pinned=True).steps
            ahead += self.run_ours(workload, (*CORE_EACH_OVERRIDES, SAMPLING_AHEAD_OVERRIDE), pinned=True).steps
            in_turn += self.run_ours(workload, (*CORE_EACH_OVERRIDES, IN_TURN_OVERRIDE), pinned=True).steps
        return OverlapComparison(on_policy, ahead, in_turn)

    def print_medians(self, name: str, steps: Sequence[StepMeasurement]) -> None:
        """Print the median time and tokens of a run's steps."""
        tokens = median_over_steps(steps, lambda step: step.tokens)
        progress.print(
            f"  {name}: {median_seconds(steps):.1f} s per step of {tokens:.0f} tokens, "
            f"generation {median_phase_seconds(steps, 'gen'):.1f} s, "
            f"visible reward {median_phase_seconds(steps, 'reward'):.1f} s"
        )


def build_workloads() -> tuple[TrainingWorkload, TrainingWorkload]:
    """Build the quickstart workload, and one of the uneven policy with half as many problems per step."""
    starter = build_default_starter(progress)
    uneven = build_uneven_policy(starter, progress.print)
    half_batch = ("algorithm.train_batch_size=12", "algorithm.mini_batch_size=6")
    return (
        TrainingWorkload(QUICKSTART, starter, ()),
        TrainingWorkload(UNEVEN, uneven, (f"generator.max_response_tokens={MAX_RESPONSE_TOKENS}", *half_batch)),
    )


def main(
    rounds: Annotated[int, typer.Option(min=1, help="runs of each trainer")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="measured steps per run")] = 4,
    quick: Annotated[bool, typer.Option(help="one run of each trainer, with two measured steps")] = False,
) -> None:
    """Compare the training loop with variants of itself and with TRL's."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # for TRL as for ours: spinning threads take cores from sandboxes
    if quick:
        rounds = 1
        steps = 2
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        benchmark = PipelineBenchmark(Path(scratch), steps)
        (quickstart, uneven) = build_workloads()
        results = [benchmark.compare_with_trl(workload, rounds) for workload in (quickstart, uneven)]
        overlap = benchmark.compare_overlap(quickstart, rounds)
    trainer_comparisons = [comparison for comparison, _ in results]
    streamed = [judging for _, judging in results]
    print_report(trainer_comparisons, streamed, overlap)
    summary = compute_summary(trainer_comparisons, streamed, overlap)
    print(json.dumps({**summary, "rounds": rounds, "steps": steps, "peer": PEER}))


if __name__ == "__main__":
    typer.run(main)
