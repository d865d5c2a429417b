"""Skipped mini-batches: a mini-batch whose gradient was not finite, saved as a Parquet file for inspection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from learner.rollout import TrainSequence

SCHEMA = pa.schema(
    [
        ("completion", pa.string()),  # question_id#sample_index
        ("token_ids", pa.list_(pa.int32())),
        ("prompt_length", pa.int32()),
        ("sampler_logprobs", pa.list_(pa.float32())),
        ("old_logprobs", pa.list_(pa.float32())),
        ("temperature", pa.float32()),
        ("advantage", pa.float32()),
    ]
)


def write_skipped_batch(path: Path, mini_batch: Sequence[TrainSequence], old_logprobs: Sequence[Tensor]) -> None:
    """Write the mini-batch to ``path``, one row per completion; the file is complete or absent.

    Args:
        path: Parquet file to write; its folder is created.
        mini_batch: sequences of the mini-batch.
        old_logprobs: log-probs [R_i] of each sequence under the old policy.

    Raises:
        OSError: if the file cannot be written.
    """
    rows = [
        {
            "completion": sequence.name,
            "token_ids": sequence.token_ids.tolist(),
            "prompt_length": sequence.prompt_length,
            "sampler_logprobs": sequence.sampler_logprobs.tolist(),
            "old_logprobs": logprobs.tolist(),
            "temperature": sequence.temperature,
            "advantage": sequence.advantage,
        }
        for sequence, logprobs in zip(mini_batch, old_logprobs, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), unfinished)
    os.replace(unfinished, path)


def format_names(mini_batch: Sequence[TrainSequence], limit: int = 8) -> str:
    """Format the names of the completions (``question_id#sample_index``), at most ``limit`` of them."""
    rest = f" and {len(mini_batch) - limit} more" if len(mini_batch) > limit else ""
    return ", ".join(sequence.name for sequence in mini_batch[:limit]) + rest
