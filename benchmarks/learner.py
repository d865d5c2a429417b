"""Compare the learner's update with TRL's GRPOTrainer, for the same model, batch, micro-batch and threads.

    python -m benchmarks.learner [--rounds N] [--threads N] [--quick]

The work that is timed is one optimizer update with given old log-probs: forward, loss, backward, clipping, AdamW, all
in float32. Implementations take turns in one run; each makes two updates in a row, and the second one counts. Response
lengths are log-uniform over 1:8; only real tokens count. The whole batch is one micro-batch in every implementation.
TRL runs its own training step (``peers/run_trl.py``); "ours, padded" is our update with every sequence padded to the
longest. There is no result unless all implementations agree on loss and gradient norm.

Memory is the peak of resident memory during the update, minus what was resident before it (libraries, weights,
optimizer) and minus the size of the gradients. MFU is 6 x parameters x real tokens per second over the rate of a large
float32 matrix product in the same process, just before and after. Other processes disturb wall time, and CPU time much
less; so every time is given as both.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.tools.processes import ROOT, start_child
from benchmarks.tools.update_report import (
    OURS,
    PADDED,
    PEER,
    ScalingMeasurement,
    UpdateComparison,
    UpdateMeasurement,
    check_agreement,
    compute_summary,
    print_report,
)
from benchmarks.tools.update_workload import (
    SMOLLM2,
    STARTER,
    SavedModel,
    UpdateShape,
    count_tokens,
    make_batch,
    save_model,
)

PEER_PYTHON = ROOT / ".venv-peers/trl/bin/python"
UNLIMITED_TOKENS = 10**9  # a micro-batch of this budget holds any batch
BATCH_MULTIPLES = (1, 2, 4)

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Implementation:
    """An implementation of the update: its name, interpreter and child module."""

    name: str
    python: Path
    module: str


IMPLEMENTATIONS = (
    Implementation(OURS, Path(sys.executable), "benchmarks.tools.run_learner"),
    Implementation(PADDED, Path(sys.executable), "benchmarks.tools.run_learner"),
    Implementation(PEER, PEER_PYTHON, "benchmarks.peers.run_trl"),
)


def build_request(model: SavedModel, batch: list[dict[str, Any]], threads: int) -> dict[str, Any]:
    """Build the request that every implementation receives.

    The old log-prob is that of a uniform distribution, which a model of random weights is close to.
    """
    return {
        "model": str(model.path),
        "batch": batch,
        "threads": threads,
        "checkpointing": False,
        "padded": False,
        "micro_batch_tokens": UNLIMITED_TOKENS,
        "old_logprob": -math.log(model.vocabulary),
    }


def compare_implementations(
    shape: UpdateShape, model: SavedModel, threads: int, rounds: int, checkpointing: bool
) -> UpdateComparison:
    """Measure ``rounds`` updates of every implementation in turn; the one that starts changes every round.

    Args:
        shape: size of the batch.
        model: checkpoint to update.
        threads: torch threads.
        rounds: updates per implementation.
        checkpointing: turn on activation checkpointing, without the padded implementation.

    Raises:
        ValueError: the implementations disagree on loss or gradient norm.
    """
    batch = make_batch(shape, model.vocabulary)
    request = {**build_request(model, batch, threads), "checkpointing": checkpointing}
    implementations = [
        implementation for implementation in IMPLEMENTATIONS if not checkpointing or implementation.name != PADDED
    ]
    updates: dict[str, list[UpdateMeasurement]] = {implementation.name: [] for implementation in implementations}
    with ExitStack() as stack:
        children = {
            implementation.name: stack.enter_context(
                start_child(
                    implementation.python,
                    implementation.module,
                    {**request, "padded": implementation.name == PADDED},
                )
            )
            for implementation in implementations
        }
        for round_number in range(rounds):
            for turn in range(len(implementations)):
                name = implementations[(round_number + turn) % len(implementations)].name
                update = UpdateMeasurement(**children[name].run_work().result)
                updates[name].append(update)
                progress.print(f"  {shape.name}, {name}: {update.wall_s:.1f} s wall, {update.cpu_s:.1f} s CPU")
    comparison = UpdateComparison(
        shape=shape.name,
        checkpointing=checkpointing,
        parameters=model.parameters,
        tokens=count_tokens(batch),
        updates=updates,
    )
    check_agreement(comparison)
    return comparison


def measure_scaling(shape: UpdateShape, model: SavedModel, threads: int, rounds: int) -> list[ScalingMeasurement]:
    """Measure our update of 1, 2 and 4 times as many tokens, in micro-batches of the smallest batch's size."""
    batches = [make_batch(shape, model.vocabulary, times) for times in BATCH_MULTIPLES]
    micro_batch_tokens = count_tokens(batches[0])
    ours = IMPLEMENTATIONS[0]
    updates_by_batch: list[list[UpdateMeasurement]] = [[] for _ in batches]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                start_child(
                    ours.python,
                    ours.module,
                    {**build_request(model, batch, threads), "micro_batch_tokens": micro_batch_tokens},
                )
            )
            for batch in batches
        ]
        for _ in range(rounds):
            for updates, child in zip(updates_by_batch, children, strict=True):
                updates.append(UpdateMeasurement(**child.run_work().result))
    return [
        ScalingMeasurement(count_tokens(batch), updates)
        for batch, updates in zip(batches, updates_by_batch, strict=True)
    ]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="updates of each implementation")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="torch threads of each implementation")] = os.cpu_count() or 1,
    quick: Annotated[bool, typer.Option(help="measure the starter policy's shape only, not the 135M shape")] = False,
) -> None:
    """Measure the learner's update against TRL's."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # for the children: spinning threads would count as work
    with tempfile.TemporaryDirectory() as folder:
        starter = save_model(STARTER, Path(folder, "starter"))
        comparisons = [
            compare_implementations(STARTER, starter, threads, *options) for options in ((rounds, False), (1, True))
        ]
        scaling = measure_scaling(STARTER, starter, threads, rounds)
        if not quick:
            large = save_model(SMOLLM2, Path(folder, "smollm2"))
            comparisons += [
                compare_implementations(SMOLLM2, large, threads, *options) for options in ((rounds, False), (1, True))
            ]
    print_report(comparisons, scaling)
    print(json.dumps({**compute_summary(comparisons, scaling), "threads": threads, "rounds": rounds}))


if __name__ == "__main__":
    typer.run(main)
