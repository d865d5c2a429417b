"""Runs a test's function on two gloo ranks, each a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.warm_processes import warm_context

DEADLINE = timedelta(seconds=600)
"""Of a collective. Longer than any test may take: one that passes has not waited for it."""


def on_two_ranks(
    function: Callable[..., Any],
    folder: Path,
    *arguments: Any,
    start_method: Literal["forkserver", "spawn"] = "forkserver",
) -> list[Any]:
    """Call ``function(rank, *arguments)`` on two ranks and return both results.

    Args:
        function: importable by name, as its arguments and result are picklable.
        folder: empty; for the store of the group and the results.
        start_method: "spawn" for interpreters that share nothing, seconds slower.
    """
    if start_method == "forkserver":
        warm_context()
    mp.start_processes(_run_rank, (function, str(folder), arguments), nprocs=2, start_method=start_method)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def _run_rank(rank: int, function: Callable[..., Any], folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=DEADLINE)
    torch.save(function(rank, *arguments), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
    # FSDP2 keeps the group's threads alive. One that is late to let go of a tensor of the last collective aborts the
    # process when it asks a Python that is shutting down for the GIL; so Python is not shut down.
    os._exit(0)
