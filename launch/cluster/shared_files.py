"""On a running cluster: does every node that needs them see the model's files and the run directory?

The rule is one: a path means the same on every node. Checked on the reserved nodes before an actor starts there.
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
"""For a worker process to start on every node."""


async def check_shared_paths(reservation: Reservation, model: Path, run_directory: Path | None) -> None:
    """Every reserved node must see ``model`` (an absolute path), and ranks' nodes must write ``run_directory``.

    Raises PlacementError that names each node and what it does not see.
    """
    where = reservation.nodes()
    writers = {node for actor, node in where.items() if actor.startswith(LEARNER_RANK)}
    task: Any = ray.remote(unseen)
    with _marked(run_directory) as mark:
        answers = {
            f"node {node}": task.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(model, mark if node in writers else None)
            for node in sorted(set(where.values()))
        }
        found = await gather(answers, "a look at each node's files", DEADLINE_S)
    if sentences := [sentence for one in found for sentence in one]:
        raise PlacementError("\n".join(sentences))


@contextlib.contextmanager
def _marked(directory: Path | None) -> Iterator[Path | None]:
    """A file in ``directory`` that holds its own name, which no other directory can have."""
    if directory is None:
        yield None
        return
    mark = directory.absolute() / f".seen-{uuid.uuid4().hex}"
    mark.write_text(mark.name)
    try:
        yield mark
    finally:
        mark.unlink()


def unseen(model: Path, mark: Path | None) -> list[str]:
    """On a node: what it does not see, of the model and of the run directory that holds ``mark``. Absolute paths."""
    name = socket.gethostname()
    found = []
    if not (model / "config.json").is_file():
        found.append(
            f"node {name} does not see the model at {model}: keep models (or the hub's cache, HF_HOME) on a file "
            "system that all nodes share, or put a copy at the same path on each"
        )
    if mark is not None and (reason := _unusable(mark)):
        found.append(
            f"node {name} cannot write the run directory {mark.parent} ({reason}): set run.root to a directory on "
            "a file system that all nodes share"
        )
    return found


def _unusable(mark: Path) -> str | None:
    try:
        if mark.read_text() != mark.name:
            return "another file is there"
        with tempfile.NamedTemporaryFile(dir=mark.parent, prefix=".written-"):
            return None
    except OSError as error:
        return str(error)
