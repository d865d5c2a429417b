"""Routing: each call goes to the member of a pool with the least outstanding load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

M = TypeVar("M")


class LoadBuckets(Generic[M]):
    """Members by their load, 0 to ``most``: each call costs O(``most``), however many members there are.

    Of equal loads, whoever has had its own for longest is first. Members are told apart as dictionary keys are.
    """

    def __init__(self, most: int) -> None:
        self.load: dict[M, int] = {}
        self.buckets: list[dict[M, None]] = [{} for _ in range(most + 1)]

    def __len__(self) -> int:
        return len(self.load)

    def put(self, member: M, load: int) -> None:
        """A new member, or a member's new load."""
        before = self.load.get(member)
        if before is not None:
            del self.buckets[before][member]
        self.buckets[load][member] = None
        self.load[member] = load

    def drop(self, member: M) -> None:
        """It is a member no longer. Raises KeyError when it was none."""
        del self.buckets[self.load.pop(member)][member]

    def least(self) -> M | None:
        """The member with the least load; None when all have ``most``, or there is none."""
        for bucket in self.buckets[:-1]:
            if bucket:
                return next(iter(bucket))
        return None


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
    def route(self, live: Collection[M], key: str, weight: int) -> Iterator[M]:
        """One of ``live``, which must not be empty; ``weight`` counts as its load until the context ends."""
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
