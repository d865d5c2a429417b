"""What the driver itself needs to go on from a checkpoint, beside the learner's state."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import ConfigDict, TypeAdapter, ValidationError

from launch.training.buffer_state import BufferState, read_ready, ready_parquet
from launch.training.work_buffer import Claim
from learner.checkpoint import TRAINER, CheckpointError
from learner.temperature import TemperatureState

STATE = "driver.json"
READY = "ready.parquet"


@dataclass(frozen=True)
class DriverState:
    """The driver's state after a step, before the next one is decided on."""

    temperature: TemperatureState
    buffer: BufferState

    def to_files(self) -> dict[str, bytes]:
        """By file name; floats keep all their bits."""
        buffer = self.buffer
        file = _StateFile(self.temperature, buffer.next_step, buffer.claimed, buffer.claims)
        return {STATE: json.dumps(asdict(file), indent=2).encode(), READY: ready_parquet(buffer.ready)}


@dataclass(frozen=True)
class _StateFile:
    """``driver.json``."""

    # Read by pydantic: an unknown field is of a later version, and must not be lost silently.
    __pydantic_config__ = ConfigDict(extra="forbid")

    temperature: TemperatureState
    next_step: int
    claimed: int
    claims: tuple[Claim, ...]


def read_driver_state(checkpoint: Path) -> DriverState:
    """The driver's state in ``checkpoint``; raises CheckpointError where it is absent or not this version's."""
    folder = checkpoint / TRAINER
    fresh = f"to begin a new run with its weights, set model.path={checkpoint} and another run.name"
    try:
        file = TypeAdapter(_StateFile).validate_json((folder / STATE).read_bytes())
        ready = read_ready((folder / READY).read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename} is absent: the checkpoint cannot be resumed from; {fresh}") from None
    except (ValidationError, pa.ArrowException) as error:
        raise CheckpointError(
            f"{folder / STATE} and {READY} are not the state of this version's driver: {error}; {fresh}"
        ) from error
    return DriverState(file.temperature, BufferState(file.next_step, file.claimed, file.claims, ready))
