"""An iterator whose next items are made while the present one is worked on."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from actors.weights.spare_thread import spare_thread

T = TypeVar("T")


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


def _at_most_one(items: Iterator[T]) -> list[T]:
    """The next item, or nothing at the end."""
    return list(itertools.islice(items, 1))
