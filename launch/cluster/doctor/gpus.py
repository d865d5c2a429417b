"""GPUs of a node, as torch and the driver see them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from launch.cluster.memory_plan import GIB

SIZE = 1024
"""Side of the matrices that are multiplied on each GPU."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuFacts:
    """Facts about a GPU.

    Attributes:
        name: name of the model.
        total_gib: memory in GiB.
        free_gib: memory that no process uses, in GiB.
        error: why a product of two matrices failed on it; empty if it was right.
    """

    name: str
    total_gib: float
    free_gib: float
    error: str


class GpuInterface(Protocol):
    """GPUs of a node, as the examination sees them; ``TorchGpus`` implements it."""

    def cuda_version(self) -> str | None:
        """Return the version of CUDA that torch was built for; None for a build without CUDA."""

    def driver_version(self) -> str | None:
        """Return the version of the NVIDIA driver; None if there is none."""

    def find_gpus(self) -> list[GpuFacts]:
        """Use each GPU once and describe it; empty if torch sees none."""


class TorchGpus:
    """The GPUs of this node."""

    def __init__(self, driver_file: Path = DRIVER_FILE) -> None:
        self.driver_file = driver_file

    def cuda_version(self) -> str | None:
        return torch.version.cuda

    def driver_version(self) -> str | None:
        if not self.driver_file.is_file():
            return None
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", self.driver_file.read_text())
        return found.group(1) if found else "unknown"

    def find_gpus(self) -> list[GpuFacts]:
        return [_describe_gpu(index) for index in range(torch.cuda.device_count())]


def _describe_gpu(index: int) -> GpuFacts:
    device = torch.device("cuda", index)
    try:
        properties = torch.cuda.get_device_properties(device)
    except RuntimeError as failure:  # for example a driver that is too old
        return GpuFacts(name="unknown", total_gib=0.0, free_gib=0.0, error=str(failure).splitlines()[0])
    total_gib = properties.total_memory / GIB
    try:
        free, _ = torch.cuda.mem_get_info(device)
        error = find_product_error(device)
    except RuntimeError as failure:  # also torch.AcceleratorError, of a GPU that another process has for itself
        return GpuFacts(name=properties.name, total_gib=total_gib, free_gib=0.0, error=str(failure).splitlines()[0])
    return GpuFacts(name=properties.name, total_gib=total_gib, free_gib=free / GIB, error=error)


def find_product_error(device: torch.device) -> str:
    """Multiply two matrices on ``device``; return how the result is wrong, or an empty string.

    All entries of the product are ``SIZE``, which every dtype represents exactly.
    """
    ones = torch.ones(SIZE, SIZE, device=device, dtype=torch.bfloat16)
    wrong = int(((ones @ ones) != SIZE).sum())
    return f"{wrong} of {SIZE * SIZE} entries of a matrix product are wrong" if wrong else ""
