"""The one way to wait: with a deadline, the name of what is awaited, and who has not answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

REMIND_S = 60.0


class DeadlineExceeded(TimeoutError):
    """Something did not happen in time; the message names it and what was still pending."""


async def gather(waits: Mapping[str, Awaitable[T]], what: str, deadline_s: float) -> list[T]:
    """Await all, in order. Raises DeadlineExceeded naming the pending ids, or the first error any of them raises.

    Whatever is still pending is cancelled on the way out.
    """
    tasks = {asyncio.ensure_future(wait): name for name, wait in waits.items()}
    ends = asyncio.get_running_loop().time() + deadline_s
    pending = set(tasks)
    try:
        while pending:
            left = ends - asyncio.get_running_loop().time()
            done, pending = await asyncio.wait(
                pending, timeout=max(0.0, min(left, REMIND_S)), return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            if pending and left <= 0:
                raise DeadlineExceeded(_message(what, deadline_s, [tasks[task] for task in pending]))
            if pending and not done:
                log.warning("still waiting for %s: %s", what, _shorten([tasks[task] for task in pending]))
        return [task.result() for task in tasks]
    finally:
        for task in pending:
            task.cancel()


def _message(what: str, deadline_s: float, names: Sequence[str]) -> str:
    return f"{what} did not finish within {deadline_s:g} s; pending: {_shorten(names)}"


def _shorten(names: Sequence[str], most: int = 8) -> str:
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
