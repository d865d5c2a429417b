"""Call the functions of a program that runs in a sandbox: requests, replies, and the time limit of each call.

CallSession ──nonce, arguments──► evaluator.inside.functional ──nonce, kind, text──► read_reply ──► Reply
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Literal, Protocol

TICK_S = 0.25  # between checks of the time limit of a call
MIN_STALL_S = 0.1  # by which a check must be late to show that this process itself was stopped or got no processor

ReplyKind = Literal["value", "error", "type", "timeout", "exited", "too_long"]
_REPLY_KINDS: tuple[ReplyKind, ...] = ("value", "error", "type")  # the kinds that the harness itself sends


@dataclass(frozen=True)
class Reply:
    """Reply to one call. ``text`` is JSON for kind ``value``, otherwise an explanation."""

    kind: ReplyKind
    text: str


class CalledProgram(Protocol):
    """Loaded program as a session of calls needs it: ``evaluator.sandbox.SandboxedProgram``."""

    @property
    def alive(self) -> bool:
        """True unless its template process is gone."""

    def check_budget(self) -> None:
        """Raise BudgetExceeded if the program has used up its time budget."""

    def request_uncounted_time(self, start_time: float) -> float:
        """Return the seconds since the monotonic time ``start_time`` that do not count towards a wall limit."""

    def last_stderr_line(self) -> str:
        """Return the last line that the program wrote to standard error."""


class CallSession:
    """Calls into one loaded program. Created by ``SandboxedProgram.start_calls``.

    Args:
        channel: connection to the process that answers.
        program: the loaded program.
        wall_s: wall time of each call in seconds.
        max_reply_bytes: size of a reply.

    Attributes:
        has_ended: the process closed its end of the connection, which it does only by ending or by closing descriptors.
    """

    def __init__(self, channel: socket.socket, program: CalledProgram, wall_s: float, max_reply_bytes: int) -> None:
        self._channel = channel
        self._channel.settimeout(None)  # the kernel's own timeouts are used, with which recv can wait for all bytes
        self._program = program
        self._wall_s = wall_s
        self._max_reply_bytes = max_reply_bytes
        self._start_time = 0.0
        self._stalled_s = 0.0  # for which this process itself was stopped during the call
        self._wait_time = 0.0  # monotonic time at which the last sending or receiving began
        self._tick_us = 0
        self.has_ended = False

    def call(self, arguments: str, max_reply_bytes: int | None = None) -> Reply:
        """Call the function with the arguments in ``arguments``, one JSON value per line.

        After a reply of any kind other than ``value``, ``error`` and ``type`` the process cannot answer further calls.
        A reply of more than ``max_reply_bytes`` (and, in any case, of more than ``Limits.output_bytes``) is not read:
        its kind is ``too_long``. Raises BudgetExceeded.
        """
        nonce = os.urandom(8).hex()  # not secrets, which is slow to import
        request = json.dumps({"nonce": nonce, "input": arguments}).encode()
        self._program.check_budget()
        limit = self._max_reply_bytes if max_reply_bytes is None else min(max_reply_bytes, self._max_reply_bytes)
        self._start_time = time.monotonic()
        self._stalled_s = 0.0
        self._set_tick(min(TICK_S, self._wall_s))
        try:
            self._write(len(request).to_bytes(4, "big") + request)
            size = int.from_bytes(self._read(8), "big")
            if size > limit:
                return Reply("too_long", f"a result of {size} bytes exceeds the limit of {limit} bytes")
            return read_reply(self._read(size), nonce)
        except TimeoutError:
            return Reply("timeout", f"no result in {self._wall_s:g} s")
        except (ConnectionError, EOFError):
            self.has_ended = True
            return Reply("exited", self._program.last_stderr_line() or "exited without an answer")
        except ValueError as error:
            return Reply("exited", f"the program wrote to the private channel: {error}")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._wait_time = time.monotonic()
            try:
                view = view[self._channel.send(view) :]
            except BlockingIOError:
                self._check_deadline()

    def _read(self, size: int) -> bytes:
        chunks = []
        missing = size
        while missing:
            self._wait_time = time.monotonic()
            try:
                # Without MSG_WAITALL, a program that sends single bytes would keep this thread busy.
                chunk = self._channel.recv(min(missing, 1 << 20), socket.MSG_WAITALL)
            except BlockingIOError:
                self._check_deadline()
                continue
            if not chunk:
                raise EOFError
            chunks.append(chunk)
            missing -= len(chunk)
            if missing and len(chunk) < 1 << 20:  # the rest did not arrive within a tick
                self._check_deadline()
        return b"".join(chunks)

    def _check_deadline(self) -> None:
        """Raise TimeoutError if the call has used up its wall time. Called when nothing has arrived for a tick.

        So what lies in the socket when the time is up is still read.
        """
        now = time.monotonic()
        late_s = now - self._wait_time - self._tick_us / 1e6
        if late_s > MIN_STALL_S:
            self._stalled_s += late_s
        remaining_s = self._start_time + self._wall_s + self._stalled_s - now
        if remaining_s <= 0:
            remaining_s += self._program.request_uncounted_time(self._start_time)
            if remaining_s <= 0 or not self._program.alive:
                raise TimeoutError
        self._set_tick(min(TICK_S, remaining_s))

    def _set_tick(self, seconds: float) -> None:
        """Set the time for which sending and receiving waits."""
        tick_us = max(1000, int(seconds * 1e6))
        if tick_us == self._tick_us:
            return
        self._tick_us = tick_us
        value = struct.pack("@ll", tick_us // 1_000_000, tick_us % 1_000_000)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._channel.setsockopt(socket.SOL_SOCKET, option, value)


def read_reply(frame: bytes, nonce: str) -> Reply:
    """Parse a reply frame ``[nonce, kind, text]`` of ASCII JSON. Raises ValueError for anything else.

    A frame written before the request was sent cannot contain the nonce. Not parsed by json.loads, which would build
    whatever a forged frame describes: 60 MB of empty lists become a gigabyte and a half of objects.
    """
    prefixes = [f'["{nonce}", "{kind}", "'.encode() for kind in _REPLY_KINDS]
    prefix = next((prefix for prefix in prefixes if frame.startswith(prefix)), None)
    if prefix is None:
        raise ValueError("not a reply of the harness")
    text, end = scanstring(frame.decode("ascii"), len(prefix), True)
    if frame[end:] != b"]":
        raise ValueError("not exactly one reply")
    return Reply(_REPLY_KINDS[prefixes.index(prefix)], text)
