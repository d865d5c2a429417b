"""Child process of ``benchmarks.learner``: one update by this project's learner.

The request is ``{"model", "batch", "threads", "checkpointing", "padded", "micro_batch_tokens", "old_logprob"}``, the
result that of ``update_measurement.measure_update``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

import learner.learner
from benchmarks.tools.processes import serve
from benchmarks.tools.update_measurement import measure_update
from learner.clipped_surrogate import Clip
from learner.learner import Learner, LearnerSettings
from learner.objective import Objective
from learner.packing import MicroBatch, pack
from learner.rollout import TrainSequence


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Start a learner of one rank and create its optimizer state by one update on the shortest sequence."""
    torch.set_num_threads(request["threads"])
    if request["padded"]:
        learner.learner.pack = pad
    sequences = [parse_sequence(row) for row in request["batch"]]
    old_logprobs = [torch.full((sequence.response_length,), request["old_logprob"]) for sequence in sequences]
    shortest = min(range(len(sequences)), key=lambda index: len(sequences[index].token_ids))
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 1), rank=0, world_size=1)
        our_learner = Learner(build_settings(request))
        gradient_bytes = sum(4 * parameter.numel() for parameter in our_learner.policy.parameters())

        def update(selection: slice) -> tuple[float, float]:
            sums, norm = our_learner._update_mini_batch(sequences[selection], old_logprobs[selection], None)
            return float(sums[1]), norm  # pg_loss, a mean over the response tokens

        update(slice(shortest, shortest + 1))
        yield lambda: measure_update(lambda: update(slice(None)), gradient_bytes)
        dist.destroy_process_group()


def parse_sequence(row: dict[str, Any]) -> TrainSequence:
    """Convert a row of the batch, at temperature 1; its sampler log-probs are zeros, since the loss ignores them."""
    return TrainSequence(
        token_ids=np.array([*row["prompt"], *row["response"]], dtype=np.int64),
        prompt_length=len(row["prompt"]),
        sampler_logprobs=np.zeros(len(row["response"]), dtype=np.float32),
        temperature=1.0,
        advantage=row["advantage"],
    )


def build_settings(request: dict[str, Any]) -> LearnerSettings:
    """Build settings for one float32 rank on CPU, with the hyperparameters of TRL's side (``peers/run_trl.py``)."""
    return LearnerSettings(
        model_path=request["model"],
        attention="auto",
        compute_dtype="float32",
        device="cpu",
        learning_rate=1e-6,
        warmup_updates=0,
        betas=(0.9, 0.95),
        weight_decay=0.0,
        grad_clip=1.0,
        micro_batch_tokens=request["micro_batch_tokens"],
        sync_every_micro_batch=True,
        activation_checkpointing=request["checkpointing"],
        compile_layers=False,
        decay="constant",
        total_updates=1_000,
        max_skipped_updates=1,
        skipped_folder=f"{request['model']}/skipped_updates",
        objective=Objective(
            aggregation="token_mean",
            clip=Clip(0.2, 0.28, None),
            kl_weight=0.0,
            mismatch_cap=0.0,
            max_response_tokens=max(len(row["response"]) for row in request["batch"]),
        ),
        seed=0,
    )


def pad(sequences: Sequence[TrainSequence], indices: Sequence[int], device: torch.device) -> MicroBatch:
    """Pack like ``learner.packing.pack``, but pad every sequence at its end to the length of the longest one."""
    micro = pack(sequences, indices, device)
    count = len(micro.lengths)
    width = max(micro.lengths)
    padding = torch.tensor([width - length for length in micro.lengths])
    padding_before = (padding.cumsum(0) - padding).repeat_interleave(torch.tensor(micro.lengths))

    def pad_values(values: Tensor) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(list(values.split(micro.lengths)), batch_first=True).flatten()

    return replace(
        micro,
        input_ids=pad_values(micro.input_ids),
        position_ids=torch.arange(width).repeat(count),
        lengths=(width,) * count,
        rows=micro.rows + padding_before[micro.rows],
    )


if __name__ == "__main__":
    serve(open_session)
