"""Setup shared by the commands that use actors: dry run, local model, reservation on the cluster, SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import yaml
from rich.console import Console

from conf.schema import Config
from launch.cluster.doctor.examination import examine_nodes
from launch.cluster.doctor.report import print_checks
from launch.cluster.model_shape import ModelShape
from launch.cluster.placement import RolePlan, find_missing_resources, get_gpu_gib, resolve_devices
from launch.cluster.ray_cluster import find_resources, ray_session
from launch.cluster.reservation import Reservation, list_nodes, plan_bundles, reserve
from launch.cluster.shared_files import check_shared_paths
from launch.cluster.tables import build_nodes_table, build_placement_table, build_reservation_table
from launch.command import print_line
from launch.models.resolve import resolve_model
from launch.models.starter_policy import build_default_starter
from launch.preflight import read_model_shape


def resolve_local_model(config: Config, console: Console) -> Path:
    """Return the absolute directory of ``model.path``; build or download the model if necessary. Raises ModelError."""
    return resolve_model(config.model.path, lambda: build_default_starter(console)).absolute()


def print_plan(config: Config, plan: Callable[[Config, ModelShape, float], list[RolePlan]], console: Console) -> None:
    """Print the configuration, the placement plan, checks of the nodes, and the missing resources (``dry_run=true``).

    On a running cluster, also reserve the resources of the plan, print on which nodes they are, and release them.

    Args:
        config: configuration; its model may be missing on this machine.
        plan: function (configuration, shape of the model, GiB of a GPU) -> plan of each role.
        console: where to print.
    """
    with ray_session():
        resources = find_resources(config)
        resolved = resolve_devices(config, resources)
        shape = read_model_shape(config, Path(config.model.path))
        roles = plan(resolved, shape, get_gpu_gib(resolved, resources))
        print_line(console, yaml.safe_dump(asdict(config), sort_keys=False))
        console.print(build_placement_table(roles))
        for role in roles:
            if role.remark:
                print_line(console, role.remark)
        guess = ", not on this machine: its shape is estimated from its size" if shape.estimated else ""
        print_line(console, f"model: {config.model.path}, {shape.parameters / 1e6:.1f}M parameters{guess}")
        missing = find_missing_resources(roles, resolved, resources)
        for message in missing:
            print_line(console, f"missing: {message}", "yellow")
        if config.cluster.address is not None and not missing:
            asyncio.run(print_reservation(roles, config.cluster.placement_deadline_s, console))
        # Last, because it takes the nodes' free GPUs for a moment.
        print_checks(examine_nodes(resolved, roles, shape), console)


async def print_reservation(roles: list[RolePlan], deadline_s: float, console: Console) -> None:
    """Reserve the resources of ``roles`` on the running cluster, print on which nodes they are, and release them.

    Raises:
        PlacementError: the cluster has too few free resources.
    """
    console.print(build_nodes_table(list_nodes()))
    if plan_bundles(roles):
        reservation = await reserve(roles, deadline_s)
        try:
            console.print(build_reservation_table(reservation.nodes_by_actor(), list_nodes()))
        finally:
            reservation.release()


def cancel_on_sigterm() -> None:
    """Cancel the current task on SIGTERM, so that its actors are stopped."""
    task = asyncio.current_task()
    assert task is not None  # a running coroutine belongs to a task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def reserve_resources(
    config: Config, roles: list[RolePlan], model: Path, run_directory: Path | None
) -> Reservation:
    """Reserve resources for engines and learner ranks, and check that their nodes can access the files they need.

    Args:
        config: configuration of the run.
        roles: placement plan; evaluators in it are not reserved.
        model: directory that all reserved nodes must be able to read.
        run_directory: directory that the nodes of learner ranks must be able to write; None if there is none.

    Raises:
        PlacementError: the cluster has too few free resources, or a node cannot access a path.
    """
    reservation = await reserve(roles, config.cluster.placement_deadline_s)
    if config.cluster.address is not None:
        await check_shared_paths(reservation, model, run_directory)
    return reservation
