"""Rates of the machine: matrix product, copies, and a reduction over a single rank."""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
import transformers

from benchmarks.gpu_check.measuring import Device, Report

HOST_BYTES = 2**30


def check_machine(device: Device, report: Report) -> None:
    """Report versions, and the rates that bound every other part."""
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "cuda": torch.version.cuda}
    name = torch.cuda.get_device_name() if device.is_gpu else "cpu"
    report.add("machine", device=name, **versions)
    size = 256 if device.quick else 8192
    left = torch.randn(size, size, device=device.torch_device, dtype=device.dtype)
    report.add("machine", matmul_tflops=2 * size**3 / device.seconds(lambda: left @ left, 10) / 1e12)
    if device.is_gpu:
        _check_copies(device, report)
        _check_collective(device, report)


def _check_copies(device: Device, report: Report) -> None:
    on_gpu = torch.empty(4 * HOST_BYTES, dtype=torch.uint8, device=device.torch_device)
    report.add("machine", copy_tb_per_s=2 * on_gpu.numel() / device.seconds(on_gpu.clone) / 1e12)
    part = on_gpu[:HOST_BYTES]
    for kind, is_pinned in (("pageable", False), ("pinned", True)):
        host = torch.zeros(HOST_BYTES, dtype=torch.uint8, pin_memory=is_pinned)
        to_host_s = device.seconds(partial(host.copy_, part))
        to_gpu_s = device.seconds(partial(part.copy_, host))
        report.add(
            "machine",
            host_memory=kind,
            to_host_gb_per_s=HOST_BYTES / to_host_s / 1e9,
            to_gpu_gb_per_s=HOST_BYTES / to_gpu_s / 1e9,
        )


def _check_collective(device: Device, report: Report) -> None:
    whole = torch.empty(2**28, device=device.torch_device)
    shard = whole.clone()
    took_s = device.seconds(lambda: dist.all_gather_into_tensor(whole, shard))
    report.add(
        "machine",
        nccl=list(torch.cuda.nccl.version()),
        single_rank_all_gather_gb_per_s=4 * whole.numel() / took_s / 1e9,
    )
