"""Report of how a test ended, sent by the template to the owner: the one message sent for every test."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_LAYOUT = struct.Struct("=B???iddd")
MARK = 0  # the first byte, which tells a report from the other messages, which are JSON
_UNKNOWN = 1 << 16  # encodes an unknown exit code


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Report of a finished test.

    Attributes:
        exit_code: exit code; negative for a signal, None if unknown.
        timed_out: the test hit its limit on wall time or CPU time.
        is_stopped: the template ended the test, at a limit or when the owner asked for it.
        dirty: the test left files.
        wall_s: wall time in seconds.
        cpu_s: CPU time in seconds.
        memory_mb: peak resident memory in MiB.
    """

    exit_code: int | None
    timed_out: bool
    is_stopped: bool
    dirty: bool
    wall_s: float
    cpu_s: float
    memory_mb: float

    def pack(self) -> bytes:
        """Encode the report as one packet."""
        code = _UNKNOWN if self.exit_code is None else self.exit_code
        flags = self.timed_out, self.is_stopped, self.dirty
        return _LAYOUT.pack(MARK, *flags, code, self.wall_s, self.cpu_s, self.memory_mb)

    @staticmethod
    def unpack(packet: bytes) -> Report:
        """Decode a packet. Inverse of ``pack``. Raises struct.error."""
        _, timed_out, is_stopped, dirty, code, wall_s, cpu_s, memory_mb = _LAYOUT.unpack(packet)
        return Report(
            exit_code=None if code == _UNKNOWN else code,
            timed_out=timed_out,
            is_stopped=is_stopped,
            dirty=dirty,
            wall_s=wall_s,
            cpu_s=cpu_s,
            memory_mb=memory_mb,
        )
