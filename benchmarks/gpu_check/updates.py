"""Old log-probs and updates of the learner: tokens per second, share of the GPU's peak, memory."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.gpu_check.measuring import Device, Report
from benchmarks.gpu_check.workload import (
    LearnerOptions,
    Shape,
    build_learner,
    make_batch,
    make_sequence,
    read_old_logprobs,
)

NOMINAL_TFLOPS = {"H100": 989.0, "H200": 989.0, "H800": 989.0, "A100": 312.0, "B200": 2250.0}
"""Dense bfloat16 peak of a GPU by a part of its name (NVIDIA's data sheets), by which MFU is counted."""


def check_updates(
    device: Device, report: Report, name: str, shape: Shape, options: LearnerOptions, *, one_row: bool = False
) -> None:
    """Report the speed and the memory of a learner.

    Args:
        device: device of the learner.
        report: where to report.
        name: name of the shape.
        shape: shape of the model.
        options: what is varied.
        one_row: one sequence that fills a micro-batch, instead of four micro-batches of uneven sequences.
    """
    learner = build_learner(shape, device, options)
    budget = options.micro_batch_tokens
    if device.quick:
        batch = make_batch(shape, 256, 16)
    elif one_row:
        batch = [make_sequence(shape, np.random.default_rng(0), budget // 9, budget - budget // 9)]
    else:
        batch = make_batch(shape, 4 * budget, 500)
    old = read_old_logprobs(batch)
    tokens = sum(len(sequence.token_ids) for sequence in batch)
    resident_gib = device.allocated_gib()

    def update() -> None:
        learner._update_mini_batch(batch, old, None)

    def old_logprobs() -> None:
        learner.compute_logprobs(batch)

    old_s = device.seconds(old_logprobs, 2)
    update_s = device.seconds(update, 2)
    parameters = sum(parameter.numel() for parameter in learner.policy.parameters())
    attention = sum(
        2 * len(sequence.token_ids) ** 2 * shape.heads * shape.head_dim * shape.layers for sequence in batch
    )
    forward_flops = 2 * parameters * tokens + attention
    peak = _nominal_flops(device)
    report.add(
        "updates",
        shape=name,
        attention=learner.policy.model.config._attn_implementation,
        micro_batch_tokens=budget,
        checkpointing=options.activation_checkpointing,
        compiled=options.compile,
        sequences=len(batch),
        tokens=tokens,
        old_tokens_per_s=tokens / old_s,
        update_tokens_per_s=tokens / update_s,
        old_over_update=update_s / old_s,
        mfu_6nd=None if peak is None else 6 * parameters * tokens / update_s / peak,
        mfu_with_attention=None if peak is None else 3 * forward_flops / update_s / peak,
        resident_gib=resident_gib,
        old_peak_gib=device.peak_gib(old_logprobs),
        update_peak_gib=device.peak_gib(update),
    )


def _nominal_flops(device: Device) -> float | None:
    """Return the peak of the GPU in FLOP/s; None on CPU or if it is not in the table."""
    if not device.is_gpu:
        return None
    name = torch.cuda.get_device_name()
    return next((1e12 * tflops for part, tflops in NOMINAL_TFLOPS.items() if part in name), None)
