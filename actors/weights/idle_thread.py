"""Background threads of idle scheduling priority, and an iterator that prefetches items in such a thread.

They are for work that supports another, more urgent thread: they run where a core would otherwise be idle.
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


def make_idle_executor(name: str) -> ThreadPoolExecutor:
    """Return an executor with one thread of Linux's SCHED_IDLE policy, which yields its core to any normal thread.

    A higher niceness would not achieve this: Ray's workers run at 15 and engines at 19, which is the maximum.
    Drawback: if other processes keep all cores busy, the thread gets only 1/12 of a Ray worker's CPU time and 1/5 of an
    engine's. Use it only for work that is small compared to the urgent work.
    """
    return ThreadPoolExecutor(1, name, _set_idle_priority)


def read_ahead(items: Iterator[T], count: int, name: str) -> Iterator[T]:
    """Yield ``items``, prefetching up to ``count`` of them in an idle-priority thread called ``name``.

    An error that ``items`` raises is raised in place of the item. If the consumer stops early, the thread still
    finishes the item in progress.
    """
    executor = make_idle_executor(name)
    try:
        prefetched = deque(executor.submit(_take_at_most_one, items) for _ in range(count))
        while batch := prefetched.popleft().result():
            prefetched.append(executor.submit(_take_at_most_one, items))
            yield batch.pop()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _set_idle_priority() -> None:
    with contextlib.suppress(PermissionError):  # a container may forbid it; the thread then has normal priority
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # 0: the calling thread


def _take_at_most_one(items: Iterator[T]) -> list[T]:
    """Return a list of the next item, or an empty list at the end."""
    return list(itertools.islice(items, 1))
