"""An iterator whose next item is made while the present one is worked on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Iterator[T], name: str) -> Iterator[T]:
    """The same items; at most one is made ahead of its use, in a thread called ``name``.

    An error comes in place of the item that it prevents. Who leaves early leaves the thread to finish its item.
    """
    executor = ThreadPoolExecutor(1, name)
    try:
        coming = executor.submit(_at_most_one, items)
        while found := coming.result():
            coming = executor.submit(_at_most_one, items)
            yield found.pop()
    finally:
        executor.shutdown(wait=False)


def _at_most_one(items: Iterator[T]) -> list[T]:
    """The next item, or nothing at the end."""
    return list(itertools.islice(items, 1))
