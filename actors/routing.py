"""Routing: each call goes to the member of a pool with the least outstanding load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from ray.actor import ActorHandle

T = TypeVar("T")
M = TypeVar("M")


class LeastBusy:
    """Sends each call to the member with the least outstanding load."""

    def __init__(self, members: Sequence[ActorHandle]) -> None:
        self.members = members
        self.load = [0] * len(members)

    async def call(self, weight: int, submit: Callable[[ActorHandle], Awaitable[T]]) -> T:
        """Await ``submit(member)``; ``weight`` counts as the member's load meanwhile."""
        chosen = self.load.index(min(self.load))
        self.load[chosen] += weight
        try:
            return await submit(self.members[chosen])
        finally:
            self.load[chosen] -= weight


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
