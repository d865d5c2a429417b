"""The driver's part of a checkpoint: the temperature and the work buffer, beside the learner's state."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, TypeAdapter, ValidationError

from launch.training.work_buffer import Claim
from learner.checkpoint import TRAINER, CheckpointError
from learner.rollout import Completion, Judgement, Rollout
from learner.temperature import TemperatureState

STATE = "driver.json"
READY = "ready.parquet"
TOKENS = pa.list_(pa.int32())
NUMBERS = pa.list_(pa.float32())
COMPLETION = pa.struct(
    [
        ("question_id", pa.string()),
        ("sample_index", pa.int32()),
        ("prompt_token_ids", TOKENS),
        ("response_token_ids", TOKENS),
        ("sampler_logprobs", NUMBERS),
        ("finish_reason", pa.string()),
        ("temperature", pa.float64()),
        ("policy_versions", TOKENS),
        ("text", pa.string()),
        ("generation_seconds", pa.float64()),
    ]
)
ARRAYS = {
    "prompt_token_ids": np.int32,
    "response_token_ids": np.int32,
    "sampler_logprobs": np.float32,
    "policy_versions": np.int32,
}
VERDICT = pa.struct(
    [
        ("status", pa.string()),
        ("tests_passed", pa.int64()),
        ("tests_run", pa.int64()),
        ("tests_total", pa.int64()),
        ("first_failed", pa.int64()),
        ("accepted_by", pa.string()),
        ("seconds", pa.float64()),
        ("detail", pa.string()),
    ]
)
JUDGEMENT = pa.struct(
    [("verdict", VERDICT), ("code", pa.string()), ("incomplete", pa.bool_()), ("seconds", pa.float64())]
)
SCHEMA = pa.schema([("claim", pa.int64()), ("completion", COMPLETION), ("judgement", JUDGEMENT)])


@dataclass(frozen=True, kw_only=True, slots=True)
class BufferState:
    """``next_step``: the first without claims; ``claimed``: claims of the run so far; ``claims``: those in the buffer.

    ``ready``: rollouts in sample order, by claim number. The other groups are sampled again.
    """

    next_step: int
    claimed: int
    claims: tuple[Claim, ...]
    ready: Mapping[int, Sequence[Rollout]]


@dataclass(frozen=True)
class DriverState:
    """The driver's state after a step, before the next one is decided on."""

    temperature: TemperatureState
    buffer: BufferState

    def to_files(self) -> dict[str, bytes]:
        """By file name; floats keep all their bits."""
        buffer = self.buffer
        file = _StateFile(
            temperature=self.temperature, next_step=buffer.next_step, claimed=buffer.claimed, claims=buffer.claims
        )
        return {STATE: json.dumps(asdict(file), indent=2).encode(), READY: ready_parquet(buffer.ready)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _StateFile:
    """``driver.json``."""

    # Read by pydantic: an unknown field is of a later version, and must not be lost silently.
    __pydantic_config__ = ConfigDict(extra="forbid")

    temperature: TemperatureState
    next_step: int
    claimed: int
    claims: tuple[Claim, ...]


def resumed_state(checkpoint: Path | None) -> DriverState | None:
    """State of the checkpoint that a run goes on from, None without one. Raises CheckpointError."""
    return None if checkpoint is None else read_driver_state(checkpoint)


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
    return DriverState(
        file.temperature, BufferState(next_step=file.next_step, claimed=file.claimed, claims=file.claims, ready=ready)
    )


def ready_parquet(ready: Mapping[int, Sequence[Rollout]]) -> bytes:
    """The READY groups as a Parquet file, one row a completion; numbers keep all their bits."""
    rows = [
        {"claim": claim, "completion": asdict(rollout.completion), "judgement": asdict(rollout.judgement)}
        for claim, rollouts in ready.items()
        for rollout in rollouts
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), file)
    return file.getvalue()


def read_ready(content: bytes) -> dict[int, list[Rollout]]:
    """What ``ready_parquet`` wrote. Raises pa.ArrowException or pydantic.ValidationError for anything else."""
    judgement = TypeAdapter(Judgement)
    found = dict[int, list[Rollout]]()
    for row in pq.read_table(io.BytesIO(content)).cast(SCHEMA).to_pylist():
        values = row["completion"]
        values |= {name: np.array(values[name], dtype) for name, dtype in ARRAYS.items()}
        rollout = Rollout(Completion(**values), judgement.validate_python(row["judgement"]))
        found.setdefault(row["claim"], []).append(rollout)
    return found
