"""CUDA IPC: another process maps memory of this one, as an engine on the same GPU could take weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.multiprocessing as mp

from benchmarks.gpu_check.measuring import Device, Report

BYTES = 2**30
DEADLINE_S = 120.0


def check_ipc(device: Device, report: Report) -> None:
    """Report how fast another process copies a buffer of this one, and whether it sees the right bytes."""
    context = mp.get_context("spawn")
    asked = context.Queue()
    answered = context.Queue()
    child = context.Process(target=_copy_mapped, args=(asked, answered), daemon=True)
    child.start()
    try:
        buffer = torch.full((BYTES,), 7, dtype=torch.uint8, device=device.torch_device)
        device.synchronize()
        asked.put(buffer)
        gb_per_s, is_right = answered.get(timeout=DEADLINE_S)
        report.add("ipc", gb_per_s=gb_per_s, right=is_right)
        asked.put(None)
        child.join(DEADLINE_S)
    finally:
        child.kill()


def _copy_mapped(asked: Any, answered: Any) -> None:
    mapped = asked.get(timeout=DEADLINE_S)
    device = Device(torch_device=mapped.device, quick=False)
    took_s = device.seconds(mapped.clone, 5)
    answered.put((BYTES / took_s / 1e9, bool((mapped[::4096] == 7).all())))
    del mapped
    asked.get(timeout=DEADLINE_S)
