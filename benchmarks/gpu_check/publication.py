"""Publication: parameters read by another stream right after an update, and their packing into buckets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.gpu_check.measuring import Device, Report
from benchmarks.gpu_check.workload import LearnerOptions, Shape, build_learner, make_batch, read_old_logprobs
from learner.learner import Learner
from learner.policy import iterate_parameters
from learner.rollout import TrainSequence

BUCKETS_MB = (32, 256, 1024)


def check_publication(device: Device, report: Report, name: str, shape: Shape) -> None:
    """Report how many tensors a side stream reads stale, and the speed of packing by the size of a bucket."""
    options = LearnerOptions(dtype=device.dtype_name, micro_batch_tokens=8192, activation_checkpointing=False)
    learner = build_learner(shape, device, options)
    batch = make_batch(shape, 256 if device.quick else 4096, 16 if device.quick else 200)
    if device.is_gpu:
        for waits in (False, True):
            stale, tensors = _count_stale(learner, batch, waits)
            report.add("publication", shape=name, waits_for_the_update=waits, tensors=tensors, stale=stale)
    size = sum(parameter.numel() for parameter in learner.policy.parameters()) * device.dtype.itemsize
    for bucket_mb in BUCKETS_MB[:1] if device.quick else BUCKETS_MB:
        took_s = device.seconds(partial(_pack, learner, device.dtype, bucket_mb * 2**20))
        report.add("publication", shape=name, bucket_mb=bucket_mb, packed_gb_per_s=size / took_s / 1e9)


def _count_stale(learner: Learner, batch: Sequence[TrainSequence], waits: bool) -> tuple[int, int]:
    """Make an update and read all parameters on a side stream; return how many differ from a later reading, and all.

    ``waits``: the reading first waits for the stream of the update, as ``actors.weights.nccl.NcclSender`` does.
    """
    learner._update_mini_batch(batch, read_old_logprobs(batch), None)
    if waits:
        torch.cuda.current_stream().synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        early = _sum_parameters(learner)
    torch.cuda.synchronize()
    late = _sum_parameters(learner)
    torch.cuda.synchronize()
    return int((early != late).sum()), len(late)


def _sum_parameters(learner: Learner) -> torch.Tensor:
    """Return the sum of each parameter, [parameters] float64."""
    tensors = iterate_parameters(learner.policy, torch.float32)
    return torch.stack([value.sum(dtype=torch.float64) for _, value in tensors])


def _pack(learner: Learner, dtype: torch.dtype, capacity: int) -> None:
    """Concatenate all parameters into buckets of about ``capacity`` bytes, as the weight transfer does."""
    bucket: list[torch.Tensor] = []
    filled = 0
    for _, value in iterate_parameters(learner.policy, dtype):
        bucket.append(value.reshape(-1).view(torch.uint8))
        filled += bucket[-1].numel()
        if filled > capacity:
            torch.cat(bucket)
            bucket.clear()
            filled = 0
    if bucket:
        torch.cat(bucket)
