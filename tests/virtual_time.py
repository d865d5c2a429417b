"""Event loop whose clock jumps to the next timer, so that waits take no time and do not depend on machine load."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")
# Timers fire slightly late, as on a real clock, so that rounding never makes a sum of waits too short.
WAKE_DELAY_S = 1e-6


class VirtualClock(selectors.DefaultSelector):
    """A selector that advances its clock where an ordinary selector sleeps until the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Without a timer, only another thread can wake the loop: wait for it in real time.
        events = super().select(None if timeout is None else 0)
        if timeout is not None and not events:
            self.now += max(0.0, timeout) + WAKE_DELAY_S
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Event loop driven by a ``VirtualClock``."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` like ``asyncio.run``, with a virtual loop clock and a virtual ``time.monotonic``.

    Do not use it for work that waits for threads, sockets or processes: they run in real time, so virtual deadlines
    would expire at once.
    """
    loop = VirtualTimeLoop()
    with mock.patch("time.monotonic", loop.time), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)
