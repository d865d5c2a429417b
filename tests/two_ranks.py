"""Run a function on two gloo ranks, each in its own process."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.warm_processes import get_warm_context

COLLECTIVE_TIMEOUT = timedelta(seconds=600)
"""Timeout of a collective. Longer than the time limit of any test, so no test can pass by waiting for it."""


def run_on_two_ranks(
    function: Callable[..., Any],
    folder: Path,
    *arguments: Any,
    start_method: Literal["forkserver", "spawn"] = "forkserver",
) -> list[Any]:
    """Call ``function(rank, *arguments)`` on two ranks and return both results, by rank.

    Args:
        function: a function importable by name, with picklable arguments and result.
        folder: empty folder for the group's file store and the results.
        arguments: further arguments of ``function``.
        start_method: "spawn" starts independent interpreters, which takes seconds longer.
    """
    if start_method == "forkserver":
        get_warm_context()
    mp.start_processes(_run_rank, (function, str(folder), arguments), nprocs=2, start_method=start_method)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def _run_rank(rank: int, function: Callable[..., Any], folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=COLLECTIVE_TIMEOUT)
    torch.save(function(rank, *arguments), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
    # FSDP2 keeps the group's threads alive. If such a thread releases a tensor of the last collective while the
    # interpreter shuts down, its request for the GIL aborts the process. So exit without that shutdown.
    os._exit(0)
