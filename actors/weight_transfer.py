"""Weights from the learner to every generator, through shared memory on one node.

Three verbs: ``connect`` (the constructor), ``publish(version)``, ``close``. The learner's first rank writes the whole
model once into a file in shared memory; every generator loads it in place and echoes the version it now serves.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ray.actor import ActorHandle

from actors.waiting import gather

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "microcoder-weights-"  # then the pid of the driver that owns the folder


class WeightTransferError(RuntimeError):
    """A generator did not take the weights it was given."""


@dataclass(frozen=True)
class Publication:
    """What one publication cost: bytes of weights, seconds to gather and write them, seconds to load them."""

    version: int
    bytes: int
    write_seconds: float
    load_seconds: float


class SharedMemoryTransfer:
    """Connects one learner group with generators that share its node's memory."""

    def __init__(
        self, ranks: Sequence[ActorHandle], generators: Sequence[ActorHandle], dtype: str, deadline_s: float
    ) -> None:
        self.ranks, self.generators = ranks, generators
        self.dtype, self.deadline_s = dtype, deadline_s
        free_shared_memory_of_the_dead()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=SHARED_MEMORY))

    async def publish(self, version: int) -> Publication:
        """Give all generators the learner's present weights as ``version``; returns when all serve them.

        Raises DeadlineExceeded naming who has not answered, WeightTransferError when one echoes another version.
        """
        started = time.monotonic()
        path = self.folder / f"version_{version}.safetensors"
        sizes: list[int] = await gather(
            {
                f"learner rank {index}": rank.write_weights.remote(str(path), version, self.dtype)
                for index, rank in enumerate(self.ranks)
            },
            f"writing weights version {version}",
            self.deadline_s,
        )
        written = time.monotonic()
        try:
            echoed: list[int] = await gather(
                {
                    f"generator {index}": generator.load_weights.remote(str(path), version)
                    for index, generator in enumerate(self.generators)
                },
                f"loading weights version {version}",
                self.deadline_s,
            )
        finally:
            path.unlink(missing_ok=True)
        if set(echoed) != {version}:
            raise WeightTransferError(f"weights version {version} published, generators serve versions {echoed}")
        return Publication(version, sizes[0], written - started, time.monotonic() - written)

    def close(self) -> None:
        """Free the shared memory."""
        shutil.rmtree(self.folder, ignore_errors=True)


def free_shared_memory_of_the_dead() -> None:
    """Delete what drivers left behind that were killed before they could ``close``."""
    for folder in SHARED_MEMORY.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).split("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
