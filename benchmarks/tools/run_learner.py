"""This project's learner on one update; a child of ``benchmarks.learner``.

The request is ``{"model", "batch", "threads", "checkpointing", "padded", "micro_batch_tokens", "old_logprob"}``, the
result that of ``timed_update``.
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
from benchmarks.tools.timed_update import timed_update
from learner.clipped_surrogate import Clip
from learner.learner import Learner, LearnerSettings
from learner.objective import Objective
from learner.packing import MicroBatch, pack
from learner.rollout import TrainSequence


@contextmanager
def session(request: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """A learner of one rank. It has made one update, on the shortest sequence: the optimizer's state exists."""
    torch.set_num_threads(request["threads"])
    if request["padded"]:
        learner.learner.pack = pad
    sequences = [read_sequence(one) for one in request["batch"]]
    old = [torch.full((one.response_length,), request["old_logprob"]) for one in sequences]
    first = min(range(len(sequences)), key=lambda index: len(sequences[index].token_ids))
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 1), rank=0, world_size=1)
        ours = Learner(settings_of(request))
        gradient_bytes = sum(4 * parameter.numel() for parameter in ours.policy.parameters())

        def update(chosen: slice) -> tuple[float, float]:
            sums, norm = ours._update_mini_batch(sequences[chosen], old[chosen], None)
            return float(sums[1]), norm  # pg_loss, a mean over the response tokens

        update(slice(first, first + 1))
        yield lambda: timed_update(lambda: update(slice(None)), gradient_bytes)
        dist.destroy_process_group()


def read_sequence(one: dict[str, Any]) -> TrainSequence:
    """Of a row of the batch, at temperature 1; the sampler's log-probs play no part."""
    return TrainSequence(
        token_ids=np.array([*one["prompt"], *one["response"]], dtype=np.int64),
        prompt_length=len(one["prompt"]),
        sampler_logprobs=np.zeros(len(one["response"]), dtype=np.float32),
        temperature=1.0,
        advantage=one["advantage"],
    )


def settings_of(request: dict[str, Any]) -> LearnerSettings:
    """One rank on CPU, in float32, with the peer's hyperparameters."""
    return LearnerSettings(
        model_path=request["model"],
        attention="auto",
        compute_dtype="float32",
        device="cpu",
        learning_rate=1e-6,
        warmup_steps=0,
        betas=(0.9, 0.95),
        weight_decay=0.0,
        grad_clip=1.0,
        micro_batch_tokens=request["micro_batch_tokens"],
        sync_every_micro_batch=True,
        activation_checkpointing=request["checkpointing"],
        decay="constant",
        total_updates=1_000,
        max_skipped_updates=1,
        skipped_folder=f"{request['model']}/skipped_updates",
        objective=Objective(
            aggregation="token_mean",
            clip=Clip(0.2, 0.28, None),
            kl_weight=0.0,
            mismatch_cap=0.0,
            max_response_tokens=max(len(one["response"]) for one in request["batch"]),
        ),
        seed=0,
    )


def pad(sequences: Sequence[TrainSequence], indices: Sequence[int], device: torch.device) -> MicroBatch:
    """What ``pack`` gives, with every sequence lengthened at its end to the longest one's length."""
    micro = pack(sequences, indices, device)
    count = len(micro.lengths)
    width = max(micro.lengths)
    lacking = torch.tensor([width - length for length in micro.lengths])
    moved = (lacking.cumsum(0) - lacking).repeat_interleave(torch.tensor(micro.lengths))

    def widen(values: Tensor) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(list(values.split(micro.lengths)), batch_first=True).flatten()

    return replace(
        micro,
        input_ids=widen(micro.input_ids),
        position_ids=torch.arange(width).repeat(count),
        lengths=(width,) * count,
        rows=micro.rows + moved[micro.rows],
    )


if __name__ == "__main__":
    serve(session)
