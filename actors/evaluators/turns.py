"""The queue before a pool: whoever waits gets a member in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

M = TypeVar("M")


class Turns(Generic[M]):
    """Futures of members, in the order they are served; one that is cancelled loses its turn."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[M]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, first: bool) -> asyncio.Future[M]:
        """A turn at the end, or before all others."""
        turn: asyncio.Future[M] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        return turn

    def serve(self, take: Callable[[], M | None]) -> None:
        """Give those who wait what ``take`` says, until it says None."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
            elif (member := take()) is not None:
                self._waiting.popleft().set_result(member)
            else:
                return

    def fail(self, error: BaseException) -> None:
        """Nobody waits any more: all get ``error``."""
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(error)
        self._waiting.clear()
