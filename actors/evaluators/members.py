"""Members of an evaluator pool: their life cycle, and an index of membership and load with O(1) queries.

    created ──► ready, accepts calls ──► draining, finishes its calls ──► removed
       └───────────────┴── failed ──────────────────────────────────────────►

``EvaluatorPool`` calls ``EvaluatorMembers``, which starts, watches and stops the actors and records all of it in a
``PoolMembership``; the pool reads the counts there.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from actors.evaluators.autoscaling import CALLS_PER_SANDBOX
from actors.evaluators.load import LoadBuckets
from actors.lifecycle import ACTOR_ERRORS, STOP_DEADLINE_S, MemberFailed, PoolMembers, summarize_error
from actors.waiting import gather
from learner.rollout import Judgement

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PoolTimeouts:
    """Deadlines of an evaluator pool, in seconds.

    Attributes:
        call_s: judgement of one completion by one actor.
        start_s: start of an actor.
        ping_s: answer to a ping.
        no_actor_s: time for which queued calls may wait while no actor accepts calls.
        tick_s: interval at which the pool checks its actors and its size.
    """

    call_s: float
    start_s: float
    ping_s: float = 60.0
    no_actor_s: float = 120.0
    tick_s: float = 1.0


class Handle(Protocol):
    """Handle to an actor, as the pool uses it; ``EvaluatorHandle`` implements it."""

    @property
    def actor(self) -> Any: ...
    def start(self) -> Awaitable[tuple[str, ...]]: ...
    def judge(self, problem: Any, text: str) -> Awaitable[Judgement]: ...
    def ping(self) -> Awaitable[None]: ...
    def stop(self) -> Awaitable[None]: ...
    def kill(self) -> None: ...


@dataclass(eq=False, kw_only=True)
class EvaluatorMember:
    """Actor of the pool. Only ``PoolMembership`` modifies ``busy``, ``ready`` and ``draining``.

    Attributes:
        name: name for logs and events, such as "evaluator 3".
        handle: handle to the actor.
        timeouts: deadlines of the pool.
        busy: calls assigned to the member.
        ready: the member has started.
        draining: the member gets no further calls.
    """

    name: str
    handle: Handle
    timeouts: PoolTimeouts
    busy: int = 0
    ready: bool = False
    draining: bool = False

    def start(self) -> Awaitable[tuple[str, ...]]:
        """Warm a sandbox; return the names of the isolation mechanisms that its host does not support."""
        return self.handle.start()

    async def watch(self) -> None:
        """Ping the actor every other tick; raise MemberFailed when it has died or does not answer in time."""
        interval_s = 2 * self.timeouts.tick_s
        deadline_s = self.timeouts.ping_s
        while True:
            answer = asyncio.ensure_future(self.handle.ping())
            try:
                # Counts sleeps instead of reading the clock: time in which something else blocks this process must not
                # count, because no answer can be received then.
                for _ in range(math.ceil(deadline_s / interval_s)):
                    await asyncio.sleep(interval_s)
                    if answer.done():
                        break
                else:
                    raise MemberFailed(self.name, f"no answer to a ping in {deadline_s:g} s")
                answer.result()
            except ACTOR_ERRORS as error:
                raise MemberFailed(self.name, summarize_error(error)) from error
            finally:
                answer.cancel()  # no effect if it has arrived

    def kill(self) -> None:
        """End the actor's process at once."""
        self.handle.kill()


class PoolMembership:
    """Index of a pool's members and their calls; each count is kept up to date, so that queries are O(1).

    A member has ``sandboxes`` sandboxes and gets at most CALLS_PER_SANDBOX calls for each. Removed members, and the
    calls they had, are not counted.

    Attributes:
        size: members that are starting or ready, and not draining.
        busy: calls assigned to members.
        busy_sandboxes: sandboxes that run a program.
    """

    def __init__(self, sandboxes: int) -> None:
        self._sandboxes_per_member = sandboxes
        self._members: dict[EvaluatorMember, None] = {}
        self._running: LoadBuckets[EvaluatorMember] = LoadBuckets(CALLS_PER_SANDBOX * sandboxes)
        self._ready = 0
        self.size = self.busy = self.busy_sandboxes = 0

    @property
    def members(self) -> Collection[EvaluatorMember]:
        """All members, in the order in which they were added."""
        return self._members.keys()

    @property
    def running(self) -> int:
        """Number of members that accept calls."""
        return len(self._running)

    @property
    def idle(self) -> int:
        """Number of members that accept calls and have none."""
        return self._running.count(0)

    @property
    def draining(self) -> int:
        """Number of members that finish their calls and get no further ones."""
        return len(self._members) - self.size

    @property
    def sandboxes(self) -> int:
        """Number of sandboxes of all members that have started."""
        return self._sandboxes_per_member * self._ready

    def add(self, member: EvaluatorMember) -> None:
        """Add ``member``, which is starting."""
        self._members[member] = None
        self.size += 1

    def mark_ready(self, member: EvaluatorMember) -> None:
        """Let ``member``, which has started, accept calls. No effect if it was removed while it started."""
        if member not in self._members:
            return
        member.ready = True
        self._ready += 1
        self._running.set_load(member, member.busy)

    def drain(self, member: EvaluatorMember) -> None:
        """Assign no further calls to ``member``."""
        member.draining = True
        self.size -= 1
        if member.ready:
            self._running.remove(member)

    def remove(self, member: EvaluatorMember) -> None:
        """Remove ``member``, in any state."""
        if not member.draining:
            self.drain(member)
        del self._members[member]
        self._ready -= member.ready
        self.busy -= member.busy
        self.busy_sandboxes -= min(member.busy, self._sandboxes_per_member)

    def acquire(self) -> EvaluatorMember | None:
        """Assign a call to the member that has the fewest, and return it; None if no member has room."""
        member = self._running.least_loaded()
        if member is not None:
            self._add_calls(member, 1)
        return member

    def release(self, member: EvaluatorMember) -> None:
        """Record that ``member`` has finished a call."""
        self._add_calls(member, -1)

    def _add_calls(self, member: EvaluatorMember, calls: int) -> None:
        sandboxes_before = min(member.busy, self._sandboxes_per_member)
        member.busy += calls
        if member not in self._members:
            return
        self.busy += calls
        self.busy_sandboxes += min(member.busy, self._sandboxes_per_member) - sandboxes_before
        if not member.draining:
            self._running.set_load(member, member.busy)


class EvaluatorMembers(PoolMembers[EvaluatorMember]):
    """Actors of an evaluator pool. They are interchangeable; ``resize`` sets their number.

    Args:
        create: creates an actor and returns its handle.
        sandboxes: number of sandboxes of each actor.
        timeouts: deadlines of the pool.
        on_change: called when a member begins or ceases to accept calls.
        on_error: called with an exception that a background task raised, which is a bug in this code base.

    Attributes:
        failures: members that were replaced so far.
        dead: those of them whose replacement does not accept calls yet.
    """

    def __init__(
        self,
        create: Callable[[str], Handle],
        sandboxes: int,
        timeouts: PoolTimeouts,
        *,
        on_change: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        super().__init__(on_error)
        self.membership = PoolMembership(sandboxes)
        self.failures = self.dead = 0
        self._create = create
        self._timeouts = timeouts
        self._on_change = on_change
        self._numbers = itertools.count()
        self._missing_isolation: set[str] = set()

    async def start(self, count: int, deadline_s: float) -> list[str]:
        """Add the first ``count`` members and wait until they are ready.

        Returns:
            Names of the isolation mechanisms that at least one of their hosts does not support.

        Raises:
            DeadlineExceeded: some were not ready after ``deadline_s`` seconds.
            RayError: a member failed to start.
        """
        members = [self._create_member() for _ in range(count)]
        for missing in await self._start(members, "starting the evaluators", deadline_s):
            self._missing_isolation.update(missing)
        for member in members:
            self._mark_ready(member)
        return sorted(self._missing_isolation)

    def resize(self, size: int) -> None:
        """Add or remove members until ``size`` stay; the first to go are those still starting, then the least busy."""
        staying = [member for member in self.membership.members if not member.draining]
        for _ in range(size - len(staying)):
            self.background.spawn(self._add(self._create_member()))
        surplus = max(0, len(staying) - size)
        self.dead = min(self.dead, max(0, size - self.membership.running))  # a smaller pool replaces fewer of them
        for member in sorted(staying, key=lambda member: (member.ready, member.busy))[:surplus]:
            self.remove_when_idle(member)

    def remove_when_idle(self, member: EvaluatorMember) -> None:
        """Send ``member`` no more calls; end it when its present ones finish."""
        self.membership.drain(member)
        if not member.ready:
            self._kill(member)
        elif member.busy == 0:
            self.background.spawn(self._stop(member))

    def replace(self, member: EvaluatorMember, reason: str) -> None:
        """Kill ``member``, which failed; its calls fail with it. The next ``resize`` adds another member.

        No effect if ``member`` was removed or replaced before.
        """
        if member in self.membership.members:
            self._record_event(member.name, "removed", reason)
            self.failures += 1
            self.dead += not member.draining
            self._kill(member)

    def release(self, member: EvaluatorMember) -> None:
        """Record that ``member`` has finished a call; stop it if it is draining and this was its last call."""
        self.membership.release(member)
        if member.draining and member.busy == 0 and member in self.membership.members:
            self.background.spawn(self._stop(member))

    def _create_member(self) -> EvaluatorMember:
        name = f"evaluator {next(self._numbers)}"
        member = EvaluatorMember(name=name, handle=self._create(name), timeouts=self._timeouts)
        self.membership.add(member)
        return member

    async def _add(self, member: EvaluatorMember) -> None:
        try:
            (missing,) = await self._start([member], "starting an evaluator", self._timeouts.start_s)
        except ACTOR_ERRORS as error:
            self.replace(member, summarize_error(error))
            return
        if not self._missing_isolation.issuperset(missing):
            log.warning(
                "%s: its host does not support %s: sandbox isolation is incomplete (docs/evaluator.md)",
                member.name,
                ", ".join(missing),
            )
            self._missing_isolation.update(missing)
        self._mark_ready(member)

    def _mark_ready(self, member: EvaluatorMember) -> None:
        self.membership.mark_ready(member)
        if member.ready:  # otherwise it was removed while it started
            self.dead = max(0, self.dead - 1)
            self._watch(member)
            self._on_change()

    async def _stop(self, member: EvaluatorMember) -> None:
        try:
            await gather({member.name: member.handle.stop()}, "stopping an evaluator", STOP_DEADLINE_S)
        except ACTOR_ERRORS as error:
            log.warning("%s did not stop and will be killed: %s", member.name, summarize_error(error))
        self._kill(member)

    def _kill(self, member: EvaluatorMember) -> None:
        if member in self.membership.members:
            self.membership.remove(member)

            member.kill()
            self._on_change()
