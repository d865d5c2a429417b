"""Resident memory of the calling process, and its peak while something runs. Linux; standard library only."""

from __future__ import annotations

import ctypes
from pathlib import Path


def resident_bytes(field: str = "VmRSS") -> int:
    """``VmRSS``, or ``VmHWM`` for the largest since the last ``reset_peak``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no {field}")


def give_back() -> None:
    """Let the allocator return to the system what it keeps free."""
    ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> int:
    """Let the peak start from here; returns what is resident without what the allocator keeps free."""
    give_back()
    forget_peak()
    return resident_bytes()


def forget_peak() -> None:
    """Let the peak start from what is resident, with what the allocator keeps free."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The largest resident memory since ``reset_peak``."""
    return resident_bytes("VmHWM")
