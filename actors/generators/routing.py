"""Routing of calls to the generator with the least outstanding load; calls with equal keys go to the same one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

M = TypeVar("M")


class StickyRouter(Generic[M]):
    """Router that picks the member with the least outstanding load, but keeps calls with equal keys on one member.

    A key stays with its member while any of its calls is outstanding there and the member is live. The router stores
    only outstanding calls. Members are used as dictionary keys.

    Attributes:
        load: total weight of the outstanding calls, by member.
        calls: number of outstanding calls, by key and member.
        assignments: current member of each key that has outstanding calls.
    """

    def __init__(self) -> None:
        self.load: Counter[M] = Counter()
        self.calls: Counter[tuple[str, M]] = Counter()
        self.assignments: dict[str, M] = {}

    @contextmanager
    def acquire(self, live: Collection[M], key: str, weight: int) -> Iterator[M]:
        """Yield the member that should serve a call; the call is outstanding until the context ends.

        Args:
            live: members to choose from; must not be empty.
            key: key of the call, such as its question id.
            weight: load that the call puts on its member, such as its ``max_tokens``.
        """
        member = self.assignments.get(key)
        if member is None or member not in live:
            member = min(live, key=lambda candidate: self.load[candidate])
        self.assignments[key] = member
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
            # If the member died in the meantime, the key may have moved to another one.
            if self.assignments.get(key) is member:
                del self.assignments[key]
