"""Start and end of a command that uses actors: the plan that ``dry_run`` prints, the model, room on the cluster."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import yaml
from rich.console import Console

from conf.schema import Config
from launch.cluster.placement import Part, decide_devices, missing_resources
from launch.cluster.ray_cluster import find_resources, ray_session
from launch.cluster.reservation import Reservation, bundles, cluster_nodes, reserve
from launch.cluster.shared_files import check_shared_paths
from launch.cluster.tables import nodes_table, placement_table, reservation_table
from launch.command import tell
from launch.models.resolve import resolve_model
from launch.models.starter_policy import build_starter
from launch.preflight import model_parameters


def local_model(config: Config, console: Console) -> Path:
    """The directory of ``model.path``, absolute, built or fetched if need be. Raises ModelError."""
    return resolve_model(config.model.path, lambda: build_starter(console)).absolute()


def show_plan(config: Config, roles: Callable[[Config, int], list[Part]], console: Console) -> None:
    """``dry_run=true``: the resolved configuration, the placement plan of ``roles``, and what is missing.

    On a running cluster the plan's room is reserved, shown and given back.
    """
    with ray_session():
        resources = find_resources(config)
        decided = decide_devices(config, resources)
        parameters = model_parameters(config, Path(config.model.path))
        parts = roles(decided, parameters)
        tell(console, yaml.safe_dump(asdict(config), sort_keys=False))
        console.print(placement_table(parts))
        tell(console, f"model: {config.model.path}, {parameters / 1e6:.1f}M parameters")
        missing = missing_resources(parts, decided, resources)
        for sentence in missing:
            tell(console, f"missing: {sentence}", "yellow")
        if config.cluster.address is not None and not missing:
            asyncio.run(show_room(parts, config.cluster.placement_deadline_s, console))


async def show_room(parts: list[Part], deadline_s: float, console: Console) -> None:
    """Reserve what ``parts`` take on the running cluster, say where it was, give it back. Raises PlacementError."""
    console.print(nodes_table(cluster_nodes()))
    if bundles(parts):
        reservation = await reserve(parts, deadline_s)
        try:
            console.print(reservation_table(reservation.nodes(), cluster_nodes()))
        finally:
            reservation.release()


def cancel_on_sigterm() -> None:
    """Let SIGTERM cancel the running task, so that its actors are stopped."""
    task = asyncio.current_task()
    assert task is not None  # a coroutine that runs has a task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def reserve_room(config: Config, parts: list[Part], model: Path, run_directory: Path | None) -> Reservation:
    """Reserve room for engines and ranks, on nodes that see ``model`` and, if given, can write ``run_directory``.

    Raises PlacementError.
    """
    reservation = await reserve(parts, config.cluster.placement_deadline_s)
    if config.cluster.address is not None:
        await check_shared_paths(reservation, model, run_directory)
    return reservation
