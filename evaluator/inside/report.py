"""How a test ended, as the template tells the owner: the one message that is sent for every test."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_LAYOUT = struct.Struct("=B??iddd")
MARK = 0  # the first byte; all other messages are JSON
_UNKNOWN = 1 << 16  # no exit code


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """``exit_code`` is negative for a signal, None if unknown; ``dirty``: the test left files. Times are seconds."""

    exit_code: int | None
    timed_out: bool
    dirty: bool
    wall_s: float
    cpu_s: float
    memory_mb: float

    def pack(self) -> bytes:
        """One packet."""
        code = _UNKNOWN if self.exit_code is None else self.exit_code
        return _LAYOUT.pack(MARK, self.timed_out, self.dirty, code, self.wall_s, self.cpu_s, self.memory_mb)

    @staticmethod
    def unpack(packet: bytes) -> Report:
        """The inverse of ``pack``. Raises struct.error."""
        _, timed_out, dirty, code, wall_s, cpu_s, memory_mb = _LAYOUT.unpack(packet)
        return Report(
            exit_code=None if code == _UNKNOWN else code,
            timed_out=timed_out,
            dirty=dirty,
            wall_s=wall_s,
            cpu_s=cpu_s,
            memory_mb=memory_mb,
        )
