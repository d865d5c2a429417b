"""Routing: each call goes to the generator with the least outstanding load, calls of one question to the same one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

M = TypeVar("M")


class StickyRoutes(Generic[M]):
    """Sends each call to the member with the least outstanding load, and calls of one key to the same member.

    A key keeps its member while any of its calls is outstanding there and the member lives. Holds nothing but what is
    outstanding. Members are told apart as dictionary keys are.
    """

    def __init__(self) -> None:
        self.load: Counter[M] = Counter()
        self.calls: Counter[tuple[str, M]] = Counter()
        self.places: dict[str, M] = {}

    @contextmanager
    def acquire(self, live: Collection[M], key: str, weight: int) -> Iterator[M]:
        """Yield one of ``live``, which must not be empty; ``weight`` counts as its load until the context ends."""
        member = self.places.get(key)
        if member is None or member not in live:
            member = min(live, key=lambda one: self.load[one])
        self.places[key] = member
        self.load[member] += weight
        self.calls[key, member] += 1
        try:
            yield member
        finally:
            self._release(key, member, weight)

    def _release(self, key: str, member: M, weight: int) -> None:
        self.load[member] -= weight
        self.calls[key, member] -= 1
        if self.load[member] == 0:
            del self.load[member]
        if self.calls[key, member] == 0:
            del self.calls[key, member]
            # The key may have moved on from a member that died under it.
            if self.places.get(key) is member:
                del self.places[key]
