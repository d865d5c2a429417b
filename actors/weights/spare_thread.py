"""Background threads of the lowest priority, and an iterator that makes its next items in one.

They serve work beside a thread that somebody waits for: they compute where a core would be idle.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def spare_thread(name: str) -> ThreadPoolExecutor:
    """One thread of Linux's policy for background work: a thread of another policy that wakes takes its core at once.

    Niceness would not do: Ray's workers have 15, engines 19, and there is nothing above. The hazard is a machine whose
    cores are all busy with something else: such a thread then gets a twelfth of what a Ray worker gets, a fifth of what
    an engine gets. So use it for work that is small beside the work that is waited for.
    """
    return ThreadPoolExecutor(1, name, _give_way)


def read_ahead(items: Iterator[T], count: int, name: str) -> Iterator[T]:
    """The same items; at most ``count`` are made ahead of their use, in a spare thread called ``name``.

    An error comes in place of the item that it prevents. Who leaves early leaves the thread to finish the item
    under way.
    """
    executor = spare_thread(name)
    try:
        coming = deque(executor.submit(_at_most_one, items) for _ in range(count))
        while found := coming.popleft().result():
            coming.append(executor.submit(_at_most_one, items))
            yield found.pop()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    with contextlib.suppress(PermissionError):  # a container may forbid it; then the thread is one like others
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # 0: this thread


def _at_most_one(items: Iterator[T]) -> list[T]:
    """The next item, or nothing at the end."""
    return list(itertools.islice(items, 1))
