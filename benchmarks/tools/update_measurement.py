"""Measure one optimizer update (time and memory) between two large matrix products. Runs under any interpreter.

The products measure the speed that the machine gives this process at that moment, since other processes use it too. The
first update is a warm-up: in training an update follows another one, and its memory has just been used. After a pause
the host of a virtual machine may have taken free memory away, and the first update pays for getting it back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.tools.memory import read_peak_bytes, trim_and_reset_peak, trim_heap

SIZE = 4096
"""Rows and columns of the square float32 matrices: 137 GFLOP per product."""


def measure_update(update: Callable[[], tuple[float, float]], gradient_bytes: int) -> dict[str, Any]:
    """Run ``update`` twice and measure the second run.

    Args:
        update: makes one optimizer update, leaves no gradients behind, and returns (loss, gradient norm).
        gradient_bytes: size of all gradients, subtracted from the peak.

    Returns:
        Fields of ``update_report.UpdateMeasurement``. ``peak`` is in bytes, above ``gradient_bytes`` and the memory
        that was resident before the update (weights, optimizer state, libraries).
    """
    update()
    product_before = time_matrix_product()
    resident = trim_and_reset_peak()
    wall = time.perf_counter()
    cpu = time.process_time()
    loss, norm = update()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = read_peak_bytes() - resident - gradient_bytes
    trim_heap()  # the other sides' processes are waiting on the same machine and need the memory
    product_after = time_matrix_product()
    flops = 2 * SIZE**3
    return {
        "loss": loss,
        "grad_norm": norm,
        "wall_s": wall,
        "cpu_s": cpu,
        "peak": peak,
        "gemm_per_s": 2 * flops / (product_before[0] + product_after[0]),
        "gemm_per_cpu_s": 2 * flops / (product_before[1] + product_after[1]),
        "torch": torch.__version__,
    }


def time_matrix_product() -> tuple[float, float]:
    """Return the wall and CPU seconds of one large matrix product."""
    # Both matrices are written before the clock starts, so that no page has to be allocated while it runs.
    ones = torch.ones(SIZE, SIZE)
    product = torch.zeros(SIZE, SIZE)
    wall = time.perf_counter()
    cpu = time.process_time()
    torch.mm(ones, ones, out=product)
    return time.perf_counter() - wall, time.process_time() - cpu
