"""Resident memory of the calling process, and its peak while some code runs. Linux; standard library only."""

from __future__ import annotations

import ctypes
from pathlib import Path


def read_resident_bytes(field: str = "VmRSS") -> int:
    """Read resident memory in bytes: ``VmRSS`` is the current value, ``VmHWM`` the peak since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no field {field}")


def trim_heap() -> None:
    """Return free heap memory from the allocator to the system."""
    ctypes.CDLL(None).malloc_trim(0)


def trim_and_reset_peak() -> int:
    """Trim the heap, reset the peak to the current resident memory, and return that in bytes."""
    trim_heap()
    reset_peak()
    return read_resident_bytes()


def reset_peak() -> None:
    """Reset the peak to the current resident memory, including free memory that the allocator keeps."""
    Path("/proc/self/clear_refs").write_text("5")


def read_peak_bytes() -> int:
    """Return the peak resident memory in bytes since the last reset."""
    return read_resident_bytes("VmHWM")
