"""Routing: each call goes to the member of a pool with the least outstanding load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ray.actor import ActorHandle

T = TypeVar("T")


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
