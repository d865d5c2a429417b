"""An event loop whose clock jumps to the next timer: waiting takes no time, and a loaded machine changes nothing."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")
LATE_S = 1e-6  # as a real clock is: a sum of waits does not fall short of a whole one by rounding


class VirtualClock(selectors.DefaultSelector):
    """Advances its clock where an ordinary selector would sleep until the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Without any timer only another thread can go on with the work: wait for it as usual.
        events = super().select(None if timeout is None else 0)
        if timeout is not None and not events:
            self.now += max(0.0, timeout) + LATE_S
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on a ``VirtualClock``."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` as ``asyncio.run`` does, with the loop's clock and ``time.monotonic`` virtual.

    Not for work that waits for threads, sockets or processes: their time is real, and deadlines would come at once.
    """
    loop = VirtualTimeLoop()
    with mock.patch("time.monotonic", loop.time), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)
