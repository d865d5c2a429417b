"""The learner's update against TRL's GRPOTrainer: the same model, batch, micro-batch and threads, in turn in one run.

    python -m benchmarks.learner [--rounds N] [--threads N] [--quick] [--peer-huge-pages]

One piece of work is one optimizer update with the old log-probs given: forward, loss, backward, clipping, AdamW, all in
float32. The batch's responses have lengths log-uniform over 1:8; only real tokens count. All its sequences are one
micro-batch, on all sides. TRL runs its own training step (``peers/run_trl.py``); "ours, padded" is ours with every
sequence lengthened to the longest. Ours runs with the allocator setting that learners start with
(``learner/huge_pages.py``), TRL as it comes or, with ``--peer-huge-pages``, with the same setting. The sides must agree
on loss and gradient norm, or there is no result.

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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
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
from learner.huge_pages import allocator_environment

PEER_PYTHON = ROOT / ".venv-peers/trl/bin/python"
WHOLE = 10**9  # tokens of a micro-batch that holds any batch
GROWTH = (1, 2, 4)

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Side:
    """Who makes the update, with which interpreter; ``tuned``: with the allocator setting that learners start with."""

    name: str
    python: Path
    module: str
    tuned: bool

    def environment(self, parameters: int) -> Mapping[str, str]:
        """For a model of so many parameters."""
        return allocator_environment(parameters) if self.tuned else {}


SIDES = (
    Side(OURS, Path(sys.executable), "benchmarks.tools.run_learner", True),
    Side(PADDED, Path(sys.executable), "benchmarks.tools.run_learner", True),
    Side(PEER, PEER_PYTHON, "benchmarks.peers.run_trl", False),
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


def compare(
    shape: Shape, model: SavedModel, threads: int, rounds: int, checkpointing: bool, all_sides: Sequence[Side]
) -> Comparison:
    """``rounds`` updates of every side in turn; who begins moves on from round to round."""
    batch = make_batch(shape, model.vocabulary)
    request = {**request_of(model, batch, threads), "checkpointing": checkpointing}
    sides = [side for side in all_sides if not checkpointing or side.name != PADDED]
    found: dict[str, list[Update]] = {side.name: [] for side in sides}
    with ExitStack() as stack:
        children = {
            side.name: stack.enter_context(
                child(
                    side.python,
                    side.module,
                    {**request, "padded": side.name == PADDED},
                    side.environment(model.parameters),
                )
            )
            for side in sides
        }
        for number in range(rounds):
            for place in range(len(sides)):
                name = sides[(number + place) % len(sides)].name
                update = Update(**children[name].work().result)
                found[name].append(update)
                progress.print(f"  {shape.name}, {name}: {update.wall_s:.1f} s, {update.cpu_s:.1f} s CPU")
    comparison = Comparison(shape.name, checkpointing, model.parameters, count_tokens(batch), found)
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
                    SIDES[0].environment(model.parameters),
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
    peer_huge_pages: Annotated[bool, typer.Option(help="TRL with our setting of the allocator")] = False,
) -> None:
    """Measure the update against TRL's."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # for the children: spinning threads would count as work
    peer = replace(SIDES[-1], tuned=peer_huge_pages)
    sides = (*SIDES[:-1], peer)
    with tempfile.TemporaryDirectory() as folder:
        starter = save_model(STARTER, Path(folder, "starter"))
        comparisons = [compare(STARTER, starter, threads, *runs, sides) for runs in ((rounds, False), (1, True))]
        growth = grow(STARTER, starter, threads, rounds)
        if not quick:
            large = save_model(SMOLLM2, Path(folder, "smollm2"))
            comparisons += [compare(SMOLLM2, large, threads, *runs, sides) for runs in ((rounds, False), (1, True))]
    print_report(comparisons, growth)
    print(
        json.dumps(
            {**figures(comparisons, growth), "threads": threads, "rounds": rounds, "peer_huge_pages": peer_huge_pages}
        )
    )


if __name__ == "__main__":
    typer.run(main)
