"""Measurements on a device, and the report of a part: one JSON line as soon as it is known."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Device of the check, on which ``quick`` asks for the smallest sizes."""

    torch_device: torch.device
    quick: bool

    @property
    def is_gpu(self) -> bool:
        """True on a GPU."""
        return self.torch_device.type == "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the computation: bfloat16 on a GPU, float32 on CPU."""
        return torch.bfloat16 if self.is_gpu else torch.float32

    @property
    def dtype_name(self) -> str:
        """Name of ``dtype``, as in the configuration."""
        return str(self.dtype).removeprefix("torch.")

    def synchronize(self) -> None:
        """Wait until the device has done all work."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any], rounds: int = 3) -> float:
        """Return the median wall seconds of ``work``, after one run to warm up."""
        work()
        times = []
        for _ in range(rounds):
            self.synchronize()
            started = time.perf_counter()
            work()
            self.synchronize()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def allocated_gib(self) -> float:
        """Return the memory of all tensors in GiB; 0 on CPU, where it is not counted."""
        return torch.cuda.memory_allocated() / 2**30 if self.is_gpu else 0.0

    def peak_gib(self, work: Callable[[], Any]) -> float:
        """Return the peak of memory during ``work`` above what was allocated before, in GiB; 0 on CPU."""
        if not self.is_gpu:
            work()
            return 0.0
        self.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**30

    def free_memory(self) -> None:
        """Give the memory of dead tensors back, so that the next part finds all of it."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()


class Report:
    """Findings of the check, a JSON line each, printed and written to ``path`` as they come.

    So a run that is interrupted has reported what it found until then.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines: list[str] = []
        self.failed = 0

    def add(self, part: str, **values: Any) -> None:
        """Report what ``part`` found."""
        self.lines.append(json.dumps({"part": part, **values}))
        print(self.lines[-1], flush=True)
        if self.path is not None:
            self.path.write_text("\n".join(self.lines) + "\n")

    def run(self, name: str, work: Callable[[], None], device: Device) -> None:
        """Run a part; report its time, or its error, which does not end the other parts."""
        started = time.perf_counter()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - out of memory, a missing kernel: all are findings of this part
            self.failed += 1
            self.add(name, error=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}")
        device.free_memory()
        self.add(name, part_seconds=round(time.perf_counter() - started, 1))
