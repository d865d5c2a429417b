"""The actors of an evaluator pool: hired, watched, retired after their work, and given up when they fail."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ray.exceptions import RayError

from actors.autoscaling import IN_HAND
from actors.background import Background
from actors.shutdown import STOP_DEADLINE_S
from actors.waiting import DeadlineExceeded, gather
from learner.rollout import Judgement

log = logging.getLogger(__name__)

FAILED = (RayError, DeadlineExceeded)
"""What an actor that died, hangs or cannot start makes of a call."""


class Handle(Protocol):
    """What is asked of an actor; see ``EvaluatorHandle``."""

    @property
    def actor(self) -> Any: ...
    def start(self) -> Awaitable[tuple[str, ...]]: ...
    def judge(self, problem: Any, text: str) -> Awaitable[Judgement]: ...
    def ping(self) -> Awaitable[None]: ...
    def stop(self) -> Awaitable[None]: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class Patience:
    """Seconds: ``call_s`` for one judgement by one actor, ``start_s`` for a start, ``ping_s`` to answer a ping,
    ``alone_s`` that calls wait while no actor runs. The pool looks after its actors every ``tick_s``."""

    call_s: float
    start_s: float
    ping_s: float = 60.0
    alone_s: float = 120.0
    tick_s: float = 1.0


@dataclass(eq=False)
class Member:
    """``busy``: calls it has; ``ready``: it has started; ``leaving``: it gets no further calls and is stopped after
    those it has; ``unanswered``: ticks since the ``ping``."""

    name: str
    handle: Handle
    busy: int = 0
    ready: bool = False
    leaving: bool = False
    ping: asyncio.Future[None] | None = None
    unanswered: int = 0


class EvaluatorCrew:
    """Actors of ``sandboxes`` each, made by ``hire``. ``changed`` is called when one can take calls, or no longer can;
    what has to be waited for is done in the ``background``."""

    def __init__(
        self,
        hire: Callable[[], Handle],
        sandboxes: int,
        patience: Patience,
        background: Background,
        changed: Callable[[], None],
    ) -> None:
        self._hire, self._sandboxes, self._patience = hire, sandboxes, patience
        self._background, self._changed = background, changed
        self._numbers = itertools.count()
        self._missing: set[str] = set()
        self.members: list[Member] = []

    @property
    def staff(self) -> list[Member]:
        """Those that run or are starting, and stay."""
        return [member for member in self.members if not member.leaving]

    @property
    def running(self) -> list[Member]:
        """Those that take calls."""
        return [member for member in self.members if member.ready and not member.leaving]

    @property
    def busy(self) -> int:
        """Calls with actors."""
        return sum(member.busy for member in self.members)

    @property
    def sandboxes(self) -> int:
        """Of all actors that have started."""
        return self._sandboxes * sum(member.ready for member in self.members)

    @property
    def busy_sandboxes(self) -> int:
        """Those with a program."""
        return sum(min(member.busy, self._sandboxes) for member in self.members)

    def least_busy(self) -> Member | None:
        """Who gets the next call; None when all have their hands full."""
        free = [member for member in self.running if member.busy < IN_HAND * self._sandboxes]
        return min(free, key=lambda member: member.busy, default=None)

    async def start(self, count: int, deadline_s: float) -> list[str]:
        """Hire the first ``count``; returns the fences that one of their hosts lacks. Raises what a start raises."""
        members = [self._new_member() for _ in range(count)]
        starts = {member.name: member.handle.start() for member in members}
        for missing in await gather(starts, "starting the evaluators", deadline_s):
            self._missing.update(missing)
        for member in members:
            member.ready = True
        self._changed()
        return sorted(self._missing)

    def resize(self, wanted: int) -> None:
        """Hire, or retire those that are starting first, then the least busy, until ``wanted`` stay."""
        staff = self.staff
        for _ in range(wanted - len(staff)):
            self._background.spawn(self._enlist(self._new_member()))
        superfluous = max(0, len(staff) - wanted)
        for member in sorted(staff, key=lambda member: (member.ready, member.busy))[:superfluous]:
            self._retire(member)

    def check(self) -> None:
        """To be called every tick: give up who died, or has not answered a ping for too long."""
        for member in [member for member in self.members if member.ready]:
            if member.ping is None:
                member.ping, member.unanswered = asyncio.ensure_future(member.handle.ping()), 0
            elif not member.ping.done():
                # In ticks, not by the clock: none passes while something else blocks this process.
                member.unanswered += 1
                if member.unanswered * self._patience.tick_s >= self._patience.ping_s:
                    self.lose(member, DeadlineExceeded(f"no answer to a ping in {self._patience.ping_s:g} s"))
            elif (error := member.ping.exception()) is not None:
                self.lose(member, error)
            else:
                member.ping = None

    def release(self, member: Member) -> None:
        """One call less with ``member``, which ends if it was to leave after its last."""
        member.busy -= 1
        if member.leaving and member.busy == 0 and member in self.members:
            self._background.spawn(self._dismiss(member))

    def lose(self, member: Member, error: BaseException) -> None:
        """Part with an actor that failed, whatever it does; the next ``resize`` hires another."""
        if member in self.members:  # else somebody noticed before, or it was no longer wanted
            log.warning("%s is lost: %s", member.name, brief(error))
            self._remove(member)

    def forget_pings(self) -> None:
        """Wait for no answers any more."""
        for member in self.members:
            if member.ping is not None:
                member.ping.cancel()

    def _new_member(self) -> Member:
        member = Member(f"evaluator {next(self._numbers)}", self._hire())
        self.members.append(member)
        return member

    async def _enlist(self, member: Member) -> None:
        try:
            start = {member.name: member.handle.start()}
            (missing,) = await gather(start, "starting an evaluator", self._patience.start_s)
        except FAILED as error:
            self.lose(member, error)
            return
        if not self._missing.issuperset(missing):
            log.warning("%s: its host refuses %s", member.name, ", ".join(missing))
            self._missing.update(missing)
        member.ready = True
        self._changed()

    def _retire(self, member: Member) -> None:
        member.leaving = True
        if not member.ready:
            self._remove(member)
        elif member.busy == 0:
            self._background.spawn(self._dismiss(member))

    async def _dismiss(self, member: Member) -> None:
        try:
            await gather({member.name: member.handle.stop()}, "stopping an evaluator", STOP_DEADLINE_S)
        except FAILED as error:
            log.warning("%s did not stop, and is killed: %s", member.name, brief(error))
        self._remove(member)

    def _remove(self, member: Member) -> None:
        if member.ping is not None:
            member.ping.cancel()
        if member in self.members:
            self.members.remove(member)
            member.handle.kill()
        self._changed()


def brief(error: BaseException) -> str:
    """What and why, in a line: Ray's messages have pages between the two."""
    lines = [line for line in str(error).splitlines() if line and not line[0].isspace()]
    return f"{type(error).__name__}: {' '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:400]}"
