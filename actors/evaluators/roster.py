"""Who is in an evaluator pool, and what each has to do: every question is answered without looking at all of them.

hired ──► started, takes calls ──► leaving, ends its calls ──► removed
  └───────────────┴── failed ───────────────────────────────────►
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from actors.evaluators.autoscaling import IN_HAND
from actors.generators.routing import LoadBuckets
from learner.rollout import Judgement


class Handle(Protocol):
    """What is asked of an actor; see ``EvaluatorHandle``."""

    @property
    def actor(self) -> Any: ...
    def start(self) -> Awaitable[tuple[str, ...]]: ...
    def judge(self, problem: Any, text: str) -> Awaitable[Judgement]: ...
    def ping(self) -> Awaitable[None]: ...
    def stop(self) -> Awaitable[None]: ...
    def kill(self) -> None: ...


@dataclass(eq=False)
class Member:
    """``busy``: calls it has; ``ready``: it has started; ``leaving``: it gets no further calls and is stopped after
    those it has; ``unanswered``: ticks since the ``ping``. The first three are the roster's to change."""

    name: str
    handle: Handle
    busy: int = 0
    ready: bool = False
    leaving: bool = False
    ping: asyncio.Future[None] | None = None
    unanswered: int = 0


class Roster:
    """Members of ``sandboxes`` each, of whom none gets more than IN_HAND calls a sandbox.

    ``staff``: how many run or are starting, and stay. ``busy``: calls with members; ``busy_sandboxes``: those of them
    that are in a sandbox. Members that were removed count nowhere, whatever calls they had.
    """

    def __init__(self, sandboxes: int) -> None:
        self._each = sandboxes
        self._members: dict[Member, None] = {}
        self._running: LoadBuckets[Member] = LoadBuckets(IN_HAND * sandboxes)
        self._started = 0
        self.staff = self.busy = self.busy_sandboxes = 0

    @property
    def members(self) -> Collection[Member]:
        """All, in the order they came."""
        return self._members.keys()

    @property
    def running(self) -> int:
        """How many take calls."""
        return len(self._running)

    @property
    def sandboxes(self) -> int:
        """Of all that have started."""
        return self._each * self._started

    def add(self, member: Member) -> None:
        """A new one, which is starting."""
        self._members[member] = None
        self.staff += 1

    def start(self, member: Member) -> None:
        """It has started. Without effect on one that was removed meanwhile."""
        if member not in self._members:
            return
        member.ready = True
        self._started += 1
        self._running.put(member, member.busy)

    def leave(self, member: Member) -> None:
        """It gets no further calls."""
        member.leaving = True
        self.staff -= 1
        if member.ready:
            self._running.drop(member)

    def remove(self, member: Member) -> None:
        """It is gone, in whatever state it was."""
        if not member.leaving:
            self.leave(member)
        del self._members[member]
        self._started -= member.ready
        self.busy -= member.busy
        self.busy_sandboxes -= min(member.busy, self._each)

    def take(self) -> Member | None:
        """Give a call to whoever has the fewest; None when all have their hands full."""
        member = self._running.least()
        if member is not None:
            self._add_call(member, 1)
        return member

    def release(self, member: Member) -> None:
        """One call less."""
        self._add_call(member, -1)

    def _add_call(self, member: Member, calls: int) -> None:
        before, member.busy = min(member.busy, self._each), member.busy + calls
        if member not in self._members:
            return
        self.busy += calls
        self.busy_sandboxes += min(member.busy, self._each) - before
        if not member.leaving:
            self._running.put(member, member.busy)
