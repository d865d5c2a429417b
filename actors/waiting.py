"""The one way to wait: with a deadline, the name of what is awaited, and who has not answered."""

from __future__ import annotations

import asyncio
import logging
import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from evaluator.errors import RunFailed

T = TypeVar("T")
log = logging.getLogger(__name__)

POLL_S = 1.0
REMIND_S = 60.0
LATE_S = 5.0
"""Nothing that has been awaited for less is called late."""


class DeadlineExceeded(RunFailed, TimeoutError):
    """Something did not happen in time; the message names it and what was still pending."""


async def gather(waits: Mapping[str, Awaitable[T]], what: str, deadline_s: float) -> list[T]:
    """Await all, in order. Raises DeadlineExceeded naming the pending ids, or the first error any of them raises.

    Whatever is still pending is cancelled on the way out. What is late is logged by name.
    """
    tasks = {asyncio.ensure_future(wait): name for name, wait in waits.items()}
    loop = asyncio.get_running_loop()
    reminder = Reminder(started=loop.time(), waits=len(tasks))
    ends = loop.time() + deadline_s
    for task in tasks:
        task.add_done_callback(lambda _: reminder.finished.append(loop.time()))
    pending = set(tasks)
    try:
        while pending:
            left = ends - loop.time()
            done, pending = await asyncio.wait(
                pending, timeout=max(0.0, min(left, POLL_S, REMIND_S)), return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            if pending and left <= 0:
                raise DeadlineExceeded(_message(what, deadline_s, [tasks[task] for task in pending]))
            if pending and reminder.due(loop.time()):
                log.warning("still waiting for %s: %s", what, _shorten([tasks[task] for task in pending]))
        return [task.result() for task in tasks]
    finally:
        for task in pending:
            task.cancel()


async def in_thread(work: Callable[[], T], what: str, deadline_s: float) -> T:
    """What ``work`` returns or raises; the loop goes on meanwhile. ``work`` may read only what nobody changes.

    Raises DeadlineExceeded. Nothing can end a thread: ``work`` then, or when the caller is cancelled, goes on unheard.
    """
    (result,) = await gather({what: asyncio.to_thread(work)}, what, deadline_s)
    return result


@dataclass(kw_only=True)
class Reminder:
    """When to name what is still pending: once past twice the median of the others, and after a minute of no progress.

    ``finished`` has the times at which others were done.
    """

    started: float
    waits: int
    finished: list[float] = field(default_factory=list)
    called_late: bool = False
    reminded: float = -math.inf

    def due(self, now: float) -> bool:
        """Is it time at ``now``?"""
        if now - max(self.finished[-1] if self.finished else self.started, self.reminded) >= REMIND_S:
            self.reminded = now
            return True
        if self.called_late or 2 * len(self.finished) < self.waits:
            return False
        median = statistics.median(self.finished) - self.started
        self.called_late = now - self.started > max(LATE_S, 2 * median)
        return self.called_late


def _message(what: str, deadline_s: float, names: Sequence[str]) -> str:
    return f"{what} did not finish within {deadline_s:g} s; pending: {_shorten(names)}"


def _shorten(names: Sequence[str], most: int = 8) -> str:
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
