"""A reduction over all engines and learner ranks of a run, by NCCL on GPUs and by gloo on CPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.exceptions import RayError

from actors.failure_causes import find_cause
from actors.free_address import find_free_address
from actors.lifecycle import summarize_error
from actors.waiting import DeadlineExceeded, gather
from launch.cluster.doctor.checks import Check
from launch.cluster.placement import PlacementError, RolePlan
from launch.cluster.reservation import Reservation, plan_bundles, reserve

ELEMENTS = 2**24
"""Numbers that are summed over all processes: 64 MiB in float32."""
DEADLINE_S = 180.0
"""Seconds for all processes to start, to find each other, and to reduce."""
SUBJECT = "collective"


class Reducer:
    """Process that takes part in the reduction, where an engine or a learner rank will be."""

    def find_address(self) -> str:
        """Return a free ``host:port`` on this node."""
        return find_free_address()

    def reduce(self, rank: int, processes: int, backend: str, address: str) -> tuple[float, float]:
        """Sum ``rank`` + 1 over all processes; return the sum and the seconds of a second reduction."""
        if backend == "nccl":
            os.environ.setdefault("NCCL_DEBUG", "WARN")
            torch.cuda.set_device(0)
        device = torch.device("cuda", 0) if backend == "nccl" else torch.device("cpu")
        timeout = timedelta(seconds=DEADLINE_S)
        method = f"tcp://{address}"
        dist.init_process_group(backend, init_method=method, rank=rank, world_size=processes, timeout=timeout)
        values = torch.full((ELEMENTS,), float(rank + 1), device=device)
        dist.all_reduce(values)
        result = values.max().item()
        started = time.monotonic()
        dist.all_reduce(values)
        values.max().item()  # waits for the GPU
        return result, time.monotonic() - started


async def check_collective(roles: Sequence[RolePlan], deadline_s: float) -> Check:
    """Reserve the resources of the run, reduce over one process for each GPU, and release them.

    Args:
        roles: placement plan. On CPU there is one process for each engine and learner rank.
        deadline_s: seconds to wait for the resources.
    """
    try:
        reservation = await reserve(roles, deadline_s)
    except PlacementError as error:
        return Check(node="all nodes", subject=SUBJECT, state="missing", detail=str(error), remedy="free the resources")
    try:
        return await _reduce_everywhere(roles, reservation)
    finally:
        reservation.release()


async def _reduce_everywhere(roles: Sequence[RolePlan], reservation: Reservation) -> Check:
    gpus = [int(bundle.resources.get("GPU", 0)) for bundle in plan_bundles(roles)]
    backend = "nccl" if all(gpus) else "gloo"
    strategies = [*reservation.generator_strategies, *reservation.rank_strategies]
    role: Any = ray.remote(Reducer)
    reducers = [
        role.options(num_cpus=0, num_gpus=1 if backend == "nccl" else 0, scheduling_strategy=strategy).remote()
        for strategy, count in zip(strategies, gpus, strict=True)
        for _ in range(count if backend == "nccl" else 1)
    ]
    what = f"{'GPUs' if backend == 'nccl' else 'processes'} by {backend}"
    try:
        finding: Awaitable[str] = reducers[0].find_address.remote()
        (address,) = await gather({"process 0": finding}, "finding an address", DEADLINE_S)
        results = await gather(
            {
                f"process {rank}": reducer.reduce.remote(rank, len(reducers), backend, address)
                for rank, reducer in enumerate(reducers)
            },
            "the reduction",
            DEADLINE_S,
        )
    except (RayError, DeadlineExceeded) as error:
        # The sentence for NCCL's errors advises to run this command.
        cause = find_cause(str(error))
        remedy = (
            cause
            if cause is not None and "launch.doctor" not in cause
            else (
                "check that the nodes reach each other on all ports; on GPUs set NCCL_DEBUG=INFO, and "
                "NCCL_SOCKET_IFNAME to the network between the nodes"
            )
        )
        detail = f"all-reduce over {len(reducers)} {what} failed: {summarize_error(error)}"
        return Check(node="all nodes", subject=SUBJECT, state="missing", detail=detail, remedy=remedy)
    finally:
        for reducer in reducers:
            ray.kill(reducer)
    return judge_results(results, what)


def judge_results(results: Sequence[tuple[float, float]], what: str) -> Check:
    """Check the sums of all processes: ``results`` are pairs of (sum, seconds)."""
    expected = sum(range(1, len(results) + 1))
    slowest_s = max(seconds for _, seconds in results)
    if any(total != expected for total, _ in results):
        totals = ", ".join(f"{total:g}" for total, _ in results)
        remedy = "run nvidia-smi -q on the nodes and look for errors; try NCCL_P2P_DISABLE=1"
        detail = f"the sum over {len(results)} {what} should be {expected}, but is {totals}"
        return Check(node="all nodes", subject=SUBJECT, state="missing", detail=detail, remedy=remedy)
    detail = f"64 MiB summed over {len(results)} {what} in {slowest_s * 1000:.0f} ms"
    return Check(node="all nodes", subject=SUBJECT, state="ok", detail=detail)
