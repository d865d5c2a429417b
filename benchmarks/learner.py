"""The learner's update against TRL's GRPOTrainer: the same model, batch, micro-batch and threads, in turn in one run.

    python -m benchmarks.learner [--rounds N] [--threads N] [--quick]

One piece of work is one optimizer update with the old log-probs given: forward, loss, backward, clipping, AdamW, all in
float32; on every side the second of two in a row. The batch's responses have lengths log-uniform over 1:8; only real
tokens count. All its sequences are one micro-batch, on all sides. TRL runs its own training step
(``peers/run_trl.py``); "ours, padded" is ours with every sequence lengthened to the longest. The sides must agree on
loss and gradient norm, or there is no result.

Memory is the peak of resident memory during the update, above what was resident before it (libraries, weights,
optimizer) and the gradients' bytes. MFU is 6 x parameters x real tokens a second over the rate of a large float32
matrix product in the same process, just before and after. Other processes disturb wall seconds, and CPU seconds much
less; so every figure of time is given by both.
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

from benchmarks.tools.processes import ROOT, child
from benchmarks.tools.update_report import (
    OURS,
    PADDED,
    PEER,
    Comparison,
    Growth,
    Update,
    check_agreement,
    figures,
    print_report,
)
from benchmarks.tools.update_workload import (
    SMOLLM2,
    STARTER,
    SavedModel,
    Shape,
    count_tokens,
    make_batch,
    save_model,
)

PEER_PYTHON = ROOT / ".venv-peers/trl/bin/python"
WHOLE = 10**9  # tokens of a micro-batch that holds any batch
GROWTH = (1, 2, 4)

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Side:
    """Who makes the update, with which interpreter."""

    name: str
    python: Path
    module: str


SIDES = (
    Side(OURS, Path(sys.executable), "benchmarks.tools.run_learner"),
    Side(PADDED, Path(sys.executable), "benchmarks.tools.run_learner"),
    Side(PEER, PEER_PYTHON, "benchmarks.peers.run_trl"),
)


def request_of(model: SavedModel, batch: list[dict[str, Any]], threads: int) -> dict[str, Any]:
    """What every side is told; a model of random weights gives about the log-probs of a uniform distribution."""
    return {
        "model": str(model.path),
        "batch": batch,
        "threads": threads,
        "checkpointing": False,
        "padded": False,
        "micro_batch_tokens": WHOLE,
        "old_logprob": -math.log(model.vocabulary),
    }


def compare(shape: Shape, model: SavedModel, threads: int, rounds: int, checkpointing: bool) -> Comparison:
    """``rounds`` updates of every side in turn; who begins moves on from round to round."""
    batch = make_batch(shape, model.vocabulary)
    request = {**request_of(model, batch, threads), "checkpointing": checkpointing}
    sides = [side for side in SIDES if not checkpointing or side.name != PADDED]
    found: dict[str, list[Update]] = {side.name: [] for side in sides}
    with ExitStack() as stack:
        children = {
            side.name: stack.enter_context(child(side.python, side.module, {**request, "padded": side.name == PADDED}))
            for side in sides
        }
        for number in range(rounds):
            for place in range(len(sides)):
                name = sides[(number + place) % len(sides)].name
                update = Update(**children[name].work().result)
                found[name].append(update)
                progress.print(f"  {shape.name}, {name}: {update.wall_s:.1f} s, {update.cpu_s:.1f} s CPU")
    comparison = Comparison(
        shape=shape.name,
        checkpointing=checkpointing,
        parameters=model.parameters,
        tokens=count_tokens(batch),
        updates=found,
    )
    check_agreement(comparison)
    return comparison


def grow(shape: Shape, model: SavedModel, threads: int, rounds: int) -> list[Growth]:
    """Our update of 1, 2 and 4 times as many tokens, in micro-batches of the smallest one's."""
    batches = [make_batch(shape, model.vocabulary, times) for times in GROWTH]
    budget = count_tokens(batches[0])
    found: list[list[Update]] = [[] for _ in batches]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                child(
                    *(SIDES[0].python, SIDES[0].module),
                    {**request_of(model, batch, threads), "micro_batch_tokens": budget},
                )
            )
            for batch in batches
        ]
        for _ in range(rounds):
            for updates, one in zip(found, children, strict=True):
                updates.append(Update(**one.work().result))
    return [Growth(count_tokens(batch), updates) for batch, updates in zip(batches, found, strict=True)]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="updates of each side")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="torch threads of each side")] = os.cpu_count() or 1,
    quick: Annotated[bool, typer.Option(help="the starter policy's shape only; no figures of the 135M shape")] = False,
) -> None:
    """Measure the update against TRL's."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # for the children: spinning threads would count as work
    with tempfile.TemporaryDirectory() as folder:
        starter = save_model(STARTER, Path(folder, "starter"))
        comparisons = [compare(STARTER, starter, threads, *runs) for runs in ((rounds, False), (1, True))]
        growth = grow(STARTER, starter, threads, rounds)
        if not quick:
            large = save_model(SMOLLM2, Path(folder, "smollm2"))
            comparisons += [compare(SMOLLM2, large, threads, *runs) for runs in ((rounds, False), (1, True))]
    print_report(comparisons, growth)
    print(json.dumps({**figures(comparisons, growth), "threads": threads, "rounds": rounds}))


if __name__ == "__main__":
    typer.run(main)
