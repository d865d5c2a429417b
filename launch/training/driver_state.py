"""Driver state in a checkpoint, beside the learner's: the sampling temperature and the work buffer."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, TypeAdapter

from launch.training.work_buffer import Claim
from learner.checkpoint import TRAINER_FOLDER, CheckpointError
from learner.rollout import Completion, Judgement, Rollout
from learner.temperature_rules import Decision, TemperatureState

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
FAILED_TEST = pa.struct([("input", pa.string()), ("expected", pa.string()), ("actual", pa.string())])
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
        ("failed_test", FAILED_TEST),  # null in checkpoints of earlier versions, which lack it
    ]
)
JUDGEMENT = pa.struct(
    [("verdict", VERDICT), ("code", pa.string()), ("incomplete", pa.bool_()), ("seconds", pa.float64())]
)
SCHEMA = pa.schema(
    [("claim", pa.int64()), ("completion", COMPLETION), ("judgement", JUDGEMENT), ("reward", pa.float64())]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BufferState:
    """State of the rollouts.

    Attributes:
        next_step: first step without claims.
        claimed: number of claims of the run so far.
        claims: claims in the work buffer.
        ready: rollouts of the READY groups in sample order, by claim number; the other groups are sampled again.
    """

    next_step: int
    claimed: int
    claims: tuple[Claim, ...]
    ready: Mapping[int, Sequence[Rollout]]


@dataclass(frozen=True)
class DriverState:
    """Driver state after a step, before the temperature of the next step is decided."""

    temperature: TemperatureState
    buffer: BufferState
    decisions: tuple[Decision, ...] = ()
    """Decisions on the temperature so far, also those for steps that are sampled ahead."""

    def to_files(self) -> dict[str, bytes]:
        """Contents of the state files by name; floats keep all their bits."""
        buffer = self.buffer
        file = _StateFile(
            temperature=self.temperature,
            next_step=buffer.next_step,
            claimed=buffer.claimed,
            claims=buffer.claims,
            decisions=self.decisions,
        )
        return {STATE: json.dumps(asdict(file), indent=2).encode(), READY: ready_parquet(buffer.ready)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _StateFile:
    """Contents of ``driver.json``."""

    # Read by pydantic: an unknown field comes from a later version and must not be dropped silently.
    __pydantic_config__ = ConfigDict(extra="forbid")

    temperature: TemperatureState
    next_step: int
    claimed: int
    claims: tuple[Claim, ...]
    decisions: tuple[Decision, ...]


def resumed_state(checkpoint: Path | None) -> DriverState | None:
    """Read the driver state of the checkpoint that a run resumes from; None without one. Raises CheckpointError."""
    return None if checkpoint is None else read_driver_state(checkpoint)


def read_driver_state(checkpoint: Path) -> DriverState:
    """Read the driver state in ``checkpoint``. Raises CheckpointError if it is missing or of another version."""
    folder = checkpoint / TRAINER_FOLDER
    fresh = f"to start a new run with its weights, set model.path={checkpoint} and another run.name"
    try:
        file = TypeAdapter(_StateFile).validate_json((folder / STATE).read_bytes())
        ready = read_ready((folder / READY).read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{error.filename} is missing: a run cannot resume from this checkpoint; {fresh}"
        ) from None
    except (ValueError, pa.ArrowException) as error:
        raise CheckpointError(
            f"{folder / STATE} and {READY} were not written by this version of the driver: {error}; {fresh}"
        ) from error
    buffer = BufferState(next_step=file.next_step, claimed=file.claimed, claims=file.claims, ready=ready)
    return DriverState(file.temperature, buffer, file.decisions)


def ready_parquet(ready: Mapping[int, Sequence[Rollout]]) -> bytes:
    """Encode the READY groups as a Parquet file with one row per completion; numbers keep all their bits."""
    rows = [
        {
            "claim": claim,
            "completion": asdict(rollout.completion),
            "judgement": asdict(rollout.judgement),
            "reward": rollout.reward,
        }
        for claim, rollouts in ready.items()
        for rollout in rollouts
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), file)
    return file.getvalue()


def read_ready(content: bytes) -> dict[int, list[Rollout]]:
    """Decode the output of ``ready_parquet``. Raises pa.ArrowException or ValueError for anything else."""
    judgement = TypeAdapter(Judgement)
    ready = dict[int, list[Rollout]]()
    for row in pq.read_table(io.BytesIO(content)).cast(SCHEMA).to_pylist():
        values = row["completion"]
        values |= {name: np.array(values[name], dtype) for name, dtype in ARRAYS.items()}
        completion = Completion(claim=row["claim"], **values)
        rollout = Rollout(completion, judgement.validate_python(row["judgement"]), row["reward"])
        ready.setdefault(row["claim"], []).append(rollout)
    return ready
