"""Execution of a stage's blocks as a Ray Data pipeline: one task per block, on any node with a free CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import ray.data

from launch.curation.blocks import BlockOutcome


def execute_with_ray_data(function: Callable[[int], BlockOutcome], blocks: Sequence[int]) -> Iterator[BlockOutcome]:
    """Yield the outcomes of ``function`` for the blocks as they end. Needs a connection to Ray.

    Only numbers of blocks and outcomes go through Ray's object store. Rows are in the files of the stage, so that
    memory depends on the number of CPUs and not on the number of rows.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it warns about disabled progress bars

    def run(row: dict[str, int]) -> dict[str, object]:
        outcome = function(row["block"])
        return {"block": outcome.block, "error": outcome.error}

    numbers = ray.data.from_items([{"block": block} for block in blocks], override_num_blocks=len(blocks))
    for row in numbers.map(run, num_cpus=1).iter_rows():
        yield BlockOutcome(row["block"], row["error"])
