"""Pool membership and load, with O(1) queries; and the members' life cycle.

created ──► ready, takes calls ──► draining, ends its calls ──► removed
   └──────────────┴── failed ────────────────────────────────────►
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from actors.evaluators.autoscaling import IN_HAND
from actors.evaluators.load import LoadBuckets
from actors.lifecycle import ACTOR_ERRORS, STOP_DEADLINE_S, MemberLost, PoolMembers, one_line
from actors.waiting import gather
from learner.rollout import Judgement

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PoolTimeouts:
    """Deadlines of an evaluator pool, in seconds.

    ``call_s``: one judgement by one actor; ``start_s``: the start of an actor; ``ping_s``: the answer to a ping;
    ``alone_s``: how long calls wait while no actor runs. The pool checks its actors every ``tick_s``.
    """

    call_s: float
    start_s: float
    ping_s: float = 60.0
    alone_s: float = 120.0
    tick_s: float = 1.0


class Handle(Protocol):
    """An actor as its pool calls it; see ``EvaluatorHandle``."""

    @property
    def actor(self) -> Any: ...
    def start(self) -> Awaitable[tuple[str, ...]]: ...
    def judge(self, problem: Any, text: str) -> Awaitable[Judgement]: ...
    def ping(self) -> Awaitable[None]: ...
    def stop(self) -> Awaitable[None]: ...
    def kill(self) -> None: ...


@dataclass(eq=False, kw_only=True)
class EvaluatorMember:
    """An actor of the pool. Only the roster changes ``busy``, ``ready`` and ``draining``.

    ``busy``: calls it has; ``ready``: it has started; ``draining``: it gets no further calls.
    """

    name: str
    handle: Handle
    timeouts: PoolTimeouts
    busy: int = 0
    ready: bool = False
    draining: bool = False

    def start(self) -> Awaitable[tuple[str, ...]]:
        """Warm a sandbox; returns the names of the fences that its host lacks."""
        return self.handle.start()

    async def watch(self) -> None:
        """Ping the actor every other tick; raise MemberLost when it has died, or does not answer in time."""
        interval_s = 2 * self.timeouts.tick_s
        deadline_s = self.timeouts.ping_s
        while True:
            answer = asyncio.ensure_future(self.handle.ping())
            try:
                # Sleeps are counted, instead of read off the clock: none ends while something else blocks this process.
                for _ in range(math.ceil(deadline_s / interval_s)):
                    await asyncio.sleep(interval_s)
                    if answer.done():
                        break
                else:
                    raise MemberLost(self.name, f"no answer to a ping in {deadline_s:g} s")
                answer.result()
            except ACTOR_ERRORS as error:
                raise MemberLost(self.name, one_line(error)) from error
            finally:
                answer.cancel()  # no effect if it has come

    def kill(self) -> None:
        """End its process at once."""
        self.handle.kill()


class Roster:
    """Members of ``sandboxes`` each, none of which gets more than IN_HAND calls a sandbox.

    ``size``: members that are starting or ready, and not draining. ``busy``: calls that members have;
    ``busy_sandboxes``: those of them that are in a sandbox. A removed member counts nowhere, whatever calls it had.
    """

    def __init__(self, sandboxes: int) -> None:
        self._each = sandboxes
        self._members: dict[EvaluatorMember, None] = {}
        self._running: LoadBuckets[EvaluatorMember] = LoadBuckets(IN_HAND * sandboxes)
        self._ready = 0
        self.size = self.busy = self.busy_sandboxes = 0

    @property
    def members(self) -> Collection[EvaluatorMember]:
        """All members, in the order they were added."""
        return self._members.keys()

    @property
    def running(self) -> int:
        """Number of members that take calls."""
        return len(self._running)

    @property
    def sandboxes(self) -> int:
        """Sandboxes of all members that have started."""
        return self._each * self._ready

    def add(self, member: EvaluatorMember) -> None:
        """Add a member that is starting."""
        self._members[member] = None
        self.size += 1

    def mark_ready(self, member: EvaluatorMember) -> None:
        """Let ``member``, which has started, take calls. No effect on one that was removed meanwhile."""
        if member not in self._members:
            return
        member.ready = True
        self._ready += 1
        self._running.put(member, member.busy)

    def drain(self, member: EvaluatorMember) -> None:
        """Give ``member`` no further calls."""
        member.draining = True
        self.size -= 1
        if member.ready:
            self._running.drop(member)

    def remove(self, member: EvaluatorMember) -> None:
        """Remove ``member``, in whatever state it is."""
        if not member.draining:
            self.drain(member)
        del self._members[member]
        self._ready -= member.ready
        self.busy -= member.busy
        self.busy_sandboxes -= min(member.busy, self._each)

    def acquire(self) -> EvaluatorMember | None:
        """Give a call to the member with the fewest; None when all have their hands full."""
        member = self._running.least()
        if member is not None:
            self._add_calls(member, 1)
        return member

    def release(self, member: EvaluatorMember) -> None:
        """Take a call back from ``member``."""
        self._add_calls(member, -1)

    def _add_calls(self, member: EvaluatorMember, calls: int) -> None:
        before, member.busy = min(member.busy, self._each), member.busy + calls
        if member not in self._members:
            return
        self.busy += calls
        self.busy_sandboxes += min(member.busy, self._each) - before
        if not member.draining:
            self._running.put(member, member.busy)


class EvaluatorMembers(PoolMembers[EvaluatorMember]):
    """The actors of an evaluator pool, made by ``create``: interchangeable, as many as ``resize`` was told last.

    ``on_change`` is called when a member begins or ceases to take calls.
    """

    def __init__(
        self,
        create: Callable[[], Handle],
        sandboxes: int,
        timeouts: PoolTimeouts,
        *,
        on_change: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        super().__init__(on_error)
        self.roster = Roster(sandboxes)
        self._create = create
        self._timeouts = timeouts
        self._on_change = on_change
        self._numbers = itertools.count()
        self._missing_fences: set[str] = set()

    async def start(self, count: int, deadline_s: float) -> list[str]:
        """Add the first ``count``; returns the fences that one of their hosts lacks. Raises what a start raises."""
        members = [self._new_member() for _ in range(count)]
        for missing in await self._start(members, "starting the evaluators", deadline_s):
            self._missing_fences.update(missing)
        for member in members:
            self._serve(member)
        return sorted(self._missing_fences)

    def resize(self, size: int) -> None:
        """Add members, or remove those that are starting, then the least busy, until ``size`` stay."""
        staying = [member for member in self.roster.members if not member.draining]
        for _ in range(size - len(staying)):
            self.background.spawn(self._add(self._new_member()))
        surplus = max(0, len(staying) - size)
        for member in sorted(staying, key=lambda member: (member.ready, member.busy))[:surplus]:
            self.remove(member)

    def remove(self, member: EvaluatorMember) -> None:
        """Give ``member`` no further calls, and end it after those it has."""
        self.roster.drain(member)
        if not member.ready:
            self._kill(member)
        elif member.busy == 0:
            self.background.spawn(self._stop(member))

    def replace(self, member: EvaluatorMember, reason: str) -> None:
        """Kill ``member``, which failed, with the calls it has; the next ``resize`` adds another.

        No effect on one that was removed or replaced before.
        """
        if member in self.roster.members:
            self._note(member.name, "removed", reason)
            self._kill(member)

    def release(self, member: EvaluatorMember) -> None:
        """Take a call back from ``member``, which ends if it is draining and this was its last."""
        self.roster.release(member)
        if member.draining and member.busy == 0 and member in self.roster.members:
            self.background.spawn(self._stop(member))

    def _new_member(self) -> EvaluatorMember:
        member = EvaluatorMember(
            name=f"evaluator {next(self._numbers)}", handle=self._create(), timeouts=self._timeouts
        )
        self.roster.add(member)
        return member

    async def _add(self, member: EvaluatorMember) -> None:
        try:
            (missing,) = await self._start([member], "starting an evaluator", self._timeouts.start_s)
        except ACTOR_ERRORS as error:
            self.replace(member, one_line(error))
            return
        if not self._missing_fences.issuperset(missing):
            log.warning("%s: its host does not support %s", member.name, ", ".join(missing))
            self._missing_fences.update(missing)
        self._serve(member)

    def _serve(self, member: EvaluatorMember) -> None:
        self.roster.mark_ready(member)
        if member.ready:  # else it was removed while it started
            self._watch(member)
            self._on_change()

    async def _stop(self, member: EvaluatorMember) -> None:
        try:
            await gather({member.name: member.handle.stop()}, "stopping an evaluator", STOP_DEADLINE_S)
        except ACTOR_ERRORS as error:
            log.warning("%s did not stop, and is killed: %s", member.name, one_line(error))
        self._kill(member)

    def _kill(self, member: EvaluatorMember) -> None:
        if member in self.roster.members:
            self.roster.remove(member)
            member.kill()
            self._on_change()
