"""The actors of an evaluator pool: hired, watched, retired after their work, and given up when they fail."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ray.exceptions import RayError

from actors.background import Background
from actors.evaluators.roster import Handle, Member, Roster
from actors.shutdown import STOP_DEADLINE_S
from actors.waiting import DeadlineExceeded, gather

log = logging.getLogger(__name__)

FAILED = (RayError, DeadlineExceeded)
"""What an actor that died, hangs or cannot start makes of a call."""


@dataclass(frozen=True)
class Patience:
    """Seconds: ``call_s`` for one judgement by one actor, ``start_s`` for a start, ``ping_s`` to answer a ping,
    ``alone_s`` that calls wait while no actor runs. The pool looks after its actors every ``tick_s``."""

    call_s: float
    start_s: float
    ping_s: float = 60.0
    alone_s: float = 120.0
    tick_s: float = 1.0


class EvaluatorCrew:
    """The actors of ``roster``, made by ``hire``. ``changed`` is called when one can take calls, or no longer can;
    what has to be waited for is done in the ``background``."""

    def __init__(
        self,
        hire: Callable[[], Handle],
        roster: Roster,
        patience: Patience,
        background: Background,
        changed: Callable[[], None],
    ) -> None:
        self._hire, self._roster, self._patience = hire, roster, patience
        self._background, self._changed = background, changed
        self._numbers = itertools.count()
        self._missing: set[str] = set()

    async def start(self, count: int, deadline_s: float) -> list[str]:
        """Hire the first ``count``; returns the fences that one of their hosts lacks. Raises what a start raises."""
        members = [self._new_member() for _ in range(count)]
        starts = {member.name: member.handle.start() for member in members}
        for missing in await gather(starts, "starting the evaluators", deadline_s):
            self._missing.update(missing)
        for member in members:
            self._roster.start(member)
        self._changed()
        return sorted(self._missing)

    def resize(self, wanted: int) -> None:
        """Hire, or retire those that are starting first, then the least busy, until ``wanted`` stay."""
        staff = [member for member in self._roster.members if not member.leaving]
        for _ in range(wanted - len(staff)):
            self._background.spawn(self._enlist(self._new_member()))
        superfluous = max(0, len(staff) - wanted)
        for member in sorted(staff, key=lambda member: (member.ready, member.busy))[:superfluous]:
            self._retire(member)

    def check(self) -> None:
        """To be called every tick: give up who died, or has not answered a ping for too long."""
        for member in [member for member in self._roster.members if member.ready]:
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
        self._roster.release(member)
        if member.leaving and member.busy == 0 and member in self._roster.members:
            self._background.spawn(self._dismiss(member))

    def lose(self, member: Member, error: BaseException) -> None:
        """Part with an actor that failed, whatever it does; the next ``resize`` hires another."""
        if member in self._roster.members:  # else somebody noticed before, or it was no longer wanted
            log.warning("%s is lost: %s", member.name, brief(error))
            self._remove(member)

    def forget_pings(self) -> None:
        """Wait for no answers any more."""
        for member in self._roster.members:
            if member.ping is not None:
                member.ping.cancel()

    def _new_member(self) -> Member:
        member = Member(f"evaluator {next(self._numbers)}", self._hire())
        self._roster.add(member)
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
        self._roster.start(member)
        self._changed()

    def _retire(self, member: Member) -> None:
        self._roster.leave(member)
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
        if member in self._roster.members:
            self._roster.remove(member)
            member.handle.kill()
        self._changed()


def brief(error: BaseException) -> str:
    """What and why, in a line: Ray's messages have pages between the two."""
    lines = [line for line in str(error).splitlines() if line and not line[0].isspace()]
    return f"{type(error).__name__}: {' '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:400]}"
