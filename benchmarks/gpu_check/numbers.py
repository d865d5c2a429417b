"""Numbers of the learner: bfloat16 against float32, and whether an update repeats bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.gpu_check.measuring import Device, Report
from benchmarks.gpu_check.workload import LearnerOptions, Shape, build_learner, make_batch, read_old_logprobs
from learner.learner import DTYPES
from learner.policy import gather_parameters
from learner.rollout import TrainSequence


def check_numbers(device: Device, report: Report, name: str, shape: Shape) -> None:
    """Report the differences of log-probs between dtypes, and of parameters between two equal updates."""
    batch = make_batch(shape, 256 if device.quick else 8192, 16 if device.quick else 200)
    logprobs = {}
    for dtype in DTYPES:
        options = LearnerOptions(dtype=dtype, micro_batch_tokens=8192, activation_checkpointing=False)
        learner = build_learner(shape, device, options)
        logprobs[dtype] = torch.cat(learner.compute_logprobs(batch).logprobs)
        del learner
        device.free_memory()
    gap = (logprobs["bfloat16"] - logprobs["float32"]).abs()
    report.add("numbers", shape=name, bfloat16_gap_mean=float(gap.mean()), bfloat16_gap_max=float(gap.max()))
    for strict in (False, True):
        torch.use_deterministic_algorithms(strict, warn_only=True)
        first = _update_once(device, shape, batch)
        second = _update_once(device, shape, batch)
        torch.use_deterministic_algorithms(False)
        report.add(
            "numbers",
            shape=name,
            use_deterministic_algorithms=strict,
            update_repeats_bit_for_bit=torch.equal(first, second),
        )


def _update_once(device: Device, shape: Shape, batch: Sequence[TrainSequence]) -> torch.Tensor:
    """Make one update from the same state; return all parameters on the CPU."""
    options = LearnerOptions(dtype=device.dtype_name, micro_batch_tokens=8192, activation_checkpointing=True)
    learner = build_learner(shape, device, options)
    learner._update_mini_batch(batch, read_old_logprobs(batch), None)
    parameters = torch.cat([value.flatten() for value in gather_parameters(learner.policy).values()])
    del learner
    device.free_memory()
    return parameters
