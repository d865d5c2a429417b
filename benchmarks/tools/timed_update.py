"""One optimizer update, timed and its memory measured, between two products of large matrices. For any interpreter.

The products tell what this machine gives a process at that moment: others use it too. The update before it is not
timed: in a run an update follows another, and what it touches has just been in use. After a pause a virtual machine's
host may have taken free memory away, and the first update pays for its return.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.tools.memory import give_back, peak_bytes, reset_peak

SIZE = 4096
"""Of the square float32 matrices: 137 GFLOP a product."""


def timed_update(update: Callable[[], tuple[float, float]], gradient_bytes: int) -> dict[str, Any]:
    """Run ``update``, which returns (loss, gradient norm) and leaves no gradients, twice; figures are of the second.

    ``peak`` is bytes above what was resident before (weights, optimizer, libraries) and ``gradient_bytes``.
    """
    update()
    before = product_seconds()
    resident = reset_peak()
    wall = time.perf_counter()
    cpu = time.process_time()
    loss, norm = update()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = peak_bytes() - resident - gradient_bytes
    give_back()  # the other sides wait in processes of their own, on the same machine
    after = product_seconds()
    flops = 2 * SIZE**3
    return {
        "loss": loss,
        "grad_norm": norm,
        "wall_s": wall,
        "cpu_s": cpu,
        "peak": peak,
        "gemm_per_s": 2 * flops / (before[0] + after[0]),
        "gemm_per_cpu_s": 2 * flops / (before[1] + after[1]),
        "torch": torch.__version__,
    }


def product_seconds() -> tuple[float, float]:
    """Wall and CPU seconds of one product."""
    one, out = torch.ones(SIZE, SIZE), torch.zeros(SIZE, SIZE)  # written, so that no page is missing
    wall = time.perf_counter()
    cpu = time.process_time()
    torch.mm(one, one, out=out)
    return time.perf_counter() - wall, time.process_time() - cpu
