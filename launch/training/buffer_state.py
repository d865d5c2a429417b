"""What a checkpoint holds of the work buffer: the claims, and the judged completions of groups that are READY."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from launch.training.work_buffer import Claim
from learner.rollout import Completion, Judgement, Rollout

TOKENS, NUMBERS = pa.list_(pa.int32()), pa.list_(pa.float32())
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


@dataclass(frozen=True)
class BufferState:
    """``next_step``: the first without claims; ``claimed``: claims of the run so far; ``claims``: those in the buffer.

    ``ready``: rollouts in sample order, by claim number. The other groups are sampled again.
    """

    next_step: int
    claimed: int
    claims: tuple[Claim, ...]
    ready: Mapping[int, Sequence[Rollout]]


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
    judgement, found = TypeAdapter(Judgement), dict[int, list[Rollout]]()
    for row in pq.read_table(io.BytesIO(content)).cast(SCHEMA).to_pylist():
        values = row["completion"]
        values |= {name: np.array(values[name], dtype) for name, dtype in ARRAYS.items()}
        rollout = Rollout(Completion(**values), judgement.validate_python(row["judgement"]))
        found.setdefault(row["claim"], []).append(rollout)
    return found
