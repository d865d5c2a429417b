"""Check that the nodes of a running cluster can access the model's files and the run directory.

A path must mean the same file on every node. It is checked on the reserved nodes before an actor starts there.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.waiting import gather
from launch.cluster.placement import LEARNER_RANK, PlacementError
from launch.cluster.reservation import Reservation

DEADLINE_S = 120.0
"""Seconds for a worker process to start on every node and check the paths."""


async def check_shared_paths(reservation: Reservation, model: Path, run_directory: Path | None) -> None:
    """Check that all reserved nodes can read ``model``, and that nodes of learner ranks can write ``run_directory``.

    Args:
        reservation: reservation whose nodes are checked.
        model: absolute path of the model directory.
        run_directory: run directory; None if there is none.

    Raises:
        PlacementError: one line per node and path that it cannot access.
    """
    nodes_by_actor = reservation.nodes_by_actor()
    writers = {node for actor, node in nodes_by_actor.items() if actor.startswith(LEARNER_RANK)}
    task: Any = ray.remote(find_path_errors)
    with create_probe_file(run_directory) as probe:
        checks = {
            f"node {node}": task.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(model, probe if node in writers else None)
            for node in sorted(set(nodes_by_actor.values()))
        }
        errors_by_node = await gather(checks, "checking the shared paths on each node", DEADLINE_S)
    if errors := [error for node_errors in errors_by_node for error in node_errors]:
        raise PlacementError("\n".join(errors))


@contextlib.contextmanager
def create_probe_file(directory: Path | None) -> Iterator[Path | None]:
    """Create a temporary file in ``directory`` with a unique name; its content is the name.

    Another node sees the same directory if and only if it can read the file.
    """
    if directory is None:
        yield None
        return
    probe = directory.absolute() / f".seen-{uuid.uuid4().hex}"
    probe.write_text(probe.name)
    try:
        yield probe
    finally:
        probe.unlink()


def find_path_errors(model: Path | None, probe: Path | None) -> list[str]:
    """Return the errors of this node's access to the model and to the run directory. Runs on the node, as a Ray task.

    Args:
        model: absolute path of the model directory; None if it is not to be checked.
        probe: absolute path of the probe file in the run directory; None if the node does not write there.
    """
    name = socket.gethostname()
    errors = []
    if model is not None and not (model / "config.json").is_file():
        errors.append(
            f"node {name} does not see the model at {model}: keep models (or the hub's cache, HF_HOME) on a file "
            "system that all nodes share, or put a copy at the same path on each node"
        )
    if probe is not None and (reason := _find_write_error(probe)):
        errors.append(
            f"node {name} cannot write the run directory {probe.parent} ({reason}): set run.root to a directory on "
            "a file system that all nodes share"
        )
    return errors


def _find_write_error(probe: Path) -> str | None:
    """Return the reason why this node cannot use the probe file's directory, or None if it can."""
    try:
        if probe.read_text() != probe.name:
            return "another file is there"
        with tempfile.NamedTemporaryFile(dir=probe.parent, prefix=".written-"):
            return None
    except OSError as error:
        return str(error)
