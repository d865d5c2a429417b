"""Waiting with a deadline: errors and logs name the operation and everything that is still pending."""

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
REMINDER_INTERVAL_S = 60.0
MIN_LATE_S = 5.0
"""Shortest wait that may be reported as late."""


class DeadlineExceeded(RunFailed, TimeoutError):
    """Missed deadline; the message names the operation and what was still pending."""


async def gather(awaitables: Mapping[str, Awaitable[T]], operation: str, deadline_s: float) -> list[T]:
    """Await all ``awaitables`` concurrently and return their results in the mapping's order.

    Whatever is still pending when this returns or raises is cancelled. Late awaitables are logged by name.

    Args:
        awaitables: what to await, by the name that logs and errors use for it.
        operation: what all of it is for, in logs and errors: "<operation> did not finish within 30 s".
        deadline_s: seconds for all of them together.

    Raises:
        DeadlineExceeded: some were still pending at the deadline; the message names them.
        Exception: the first exception that an awaitable raised.
    """
    tasks = {asyncio.ensure_future(awaitable): name for name, awaitable in awaitables.items()}
    loop = asyncio.get_running_loop()
    reminder = Reminder(started=loop.time(), total=len(tasks))
    deadline = loop.time() + deadline_s
    for task in tasks:
        task.add_done_callback(lambda _: reminder.finish_times.append(loop.time()))
    pending = set(tasks)
    try:
        while pending:
            remaining_s = deadline - loop.time()
            done, pending = await asyncio.wait(
                pending,
                timeout=max(0.0, min(remaining_s, POLL_S, REMINDER_INTERVAL_S)),
                return_when=asyncio.FIRST_EXCEPTION,
            )
            for task in done:
                task.result()
            if pending and remaining_s <= 0:
                names = _join_names([tasks[task] for task in pending])
                raise DeadlineExceeded(f"{operation} did not finish within {deadline_s:g} s; pending: {names}")
            if pending and reminder.check_due(loop.time()):
                log.warning("still waiting for %s: %s", operation, _join_names([tasks[task] for task in pending]))
        return [task.result() for task in tasks]
    finally:
        for task in pending:
            task.cancel()


async def run_in_thread(work: Callable[[], T], operation: str, deadline_s: float) -> T:
    """Run ``work`` in a thread and return its result, without blocking the event loop.

    ``work`` must only read data that no one modifies meanwhile. A thread cannot be stopped: after the deadline, or when
    the caller is cancelled, ``work`` runs on and its result is discarded. Raises DeadlineExceeded.
    """
    (result,) = await gather({operation: asyncio.to_thread(work)}, operation, deadline_s)
    return result


@dataclass(kw_only=True)
class Reminder:
    """Decides when to log what is still pending.

    A reminder is due after REMINDER_INTERVAL_S without progress, and once when at least half of the awaitables have
    finished and the wait has lasted twice their median time (and at least MIN_LATE_S).

    Attributes:
        started: start of the wait, in event-loop seconds like all times here.
        total: number of awaitables.
        finish_times: times at which awaitables finished.
        late_reported: the one reminder about late awaitables has been given.
        last_reminder: time of the last reminder about missing progress.
    """

    started: float
    total: int
    finish_times: list[float] = field(default_factory=list)
    late_reported: bool = False
    last_reminder: float = -math.inf

    def check_due(self, now: float) -> bool:
        """Return True if a reminder is due at ``now``, and record it as given."""
        last_progress = self.finish_times[-1] if self.finish_times else self.started
        if now - max(last_progress, self.last_reminder) >= REMINDER_INTERVAL_S:
            self.last_reminder = now
            return True
        if self.late_reported or 2 * len(self.finish_times) < self.total:
            return False
        median = statistics.median(self.finish_times) - self.started
        self.late_reported = now - self.started > max(MIN_LATE_S, 2 * median)
        return self.late_reported


def _join_names(names: Sequence[str], limit: int = 8) -> str:
    names = sorted(names)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
