"""The members of a pool over a run: who serves, who died, who is being started in its place.

start -> live -> (dies, or is left out) -> killed -> a fresh one: start -> admit -> live
                                                                  (fails too often) -> given up
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from ray.exceptions import RayError, RayTaskError

from actors.waiting import gather

log = logging.getLogger(__name__)
MOST_RESTARTS = 5  # of one member in a run


class MemberLost(RuntimeError):
    """A member of a pool is dead, and with it what it was asked for."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class NoMemberLeft(RuntimeError):
    """No member of a pool is alive, or will be again."""


class Member(Protocol):
    """What ``Members`` looks after: one actor, which is replaced by another of its name when it dies."""

    name: str
    actor: Any

    async def start(self) -> None: ...

    async def watch(self) -> None:
        """Raises MemberLost when it dies; does not come back before."""

    def kill(self) -> None: ...


M = TypeVar("M", bound=Member)
Admit = Callable[[str, Any], Awaitable[None]]
"""Makes a fresh actor of this name fit to serve. What it raises (RayError, RuntimeError, TimeoutError) keeps it out."""


@dataclass(frozen=True)
class MemberEvent:
    """What became of a member, for the display and the metrics."""

    name: str
    what: Literal["left out", "restarted", "not restarted", "given up"]
    reason: str


class Members(Generic[M]):
    """Keeps the members of a pool alive. Use it inside one event loop.

    ``create(name, index, restarts)`` makes a member, not yet started. ``live``: those that serve, by name; ``newest``:
    of each name the last one made. ``events`` are at most three a restart.
    """

    def __init__(self, role: str, count: int, create: Callable[[str, int, int], M]) -> None:
        self.names = [f"{role} {index}" for index in range(count)]
        self.create = create
        self.newest = {name: create(name, index, 0) for index, name in enumerate(self.names)}
        self.live: dict[str, M] = {}
        self.restarts = dict.fromkeys(self.names, 0)
        self.events: list[MemberEvent] = []
        self.restarting: dict[str, asyncio.Task[None]] = {}
        self.watching: dict[str, asyncio.Task[None]] = {}
        self.deadline_s = 0.0
        self.admit: Admit | None = None

    async def start(self, what: str, deadline_s: float, admit: Admit | None) -> None:
        """Start all at once; they are live when this returns.

        A later one has ``deadline_s`` to start and to be let in by ``admit``. Raises DeadlineExceeded, or what the
        first that fails raises.
        """
        self.deadline_s, self.admit = deadline_s, admit
        await gather({name: member.start() for name, member in self.newest.items()}, what, deadline_s)
        for member in self.newest.values():
            self._serve(member)

    def leave_out(self, member: M, reason: str) -> None:
        """Kill ``member`` and start another in its place, in the background. Without effect when that has happened."""
        if self.live.get(member.name) is not member:
            return
        del self.live[member.name]
        self._note(member.name, "left out", reason)
        member.kill()
        self.restarting[member.name] = asyncio.create_task(self._restart(member.name))

    async def some(self) -> dict[str, M]:
        """The live members; waits while there is none. Raises NoMemberLeft when none will come."""
        while not self.live:
            await self._a_restart(list(self.restarting.values()))
        return self.live

    async def one(self, name: str) -> M:
        """The member of this name; waits while it is being restarted. Raises NoMemberLeft when it was given up."""
        while name not in self.live:
            await self._a_restart([self.restarting[name]] if name in self.restarting else [])
        return self.live[name]

    def close(self) -> None:
        """Restart nothing any more: from here on members end because they are told to."""
        for task in [*self.watching.values(), *self.restarting.values()]:
            task.cancel()
        self.live.clear()

    async def _a_restart(self, tasks: list[asyncio.Task[None]]) -> None:
        if not tasks:
            reasons = [f"{event.name}: {event.reason}" for event in self.events if event.what == "given up"]
            raise NoMemberLeft("; ".join(reasons) or "the pool has not been started, or is closed")
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _restart(self, name: str) -> None:
        while self.restarts[name] < MOST_RESTARTS:
            self.restarts[name] += 1
            member = self.newest[name] = self.create(name, self.names.index(name), self.restarts[name])
            try:
                await gather({name: self._bring_up(member)}, f"restarting {name}", self.deadline_s)
            except (RayError, RuntimeError, TimeoutError) as error:
                self._note(name, "not restarted", briefly(error))
                member.kill()
            else:
                self._note(name, "restarted", f"restart {self.restarts[name]} of at most {MOST_RESTARTS}")
                self._serve(member)
                break
        else:
            self._note(name, "given up", f"it was restarted {MOST_RESTARTS} times: look at the events before")
        del self.restarting[name]

    async def _bring_up(self, member: M) -> None:
        await member.start()
        if self.admit is not None:
            await self.admit(member.name, member.actor)

    def _serve(self, member: M) -> None:
        self.live[member.name] = member
        self.watching[member.name] = asyncio.create_task(self._watch(member))

    async def _watch(self, member: M) -> None:
        try:
            await member.watch()
        except MemberLost as error:
            self.leave_out(member, error.reason)

    def _note(
        self, name: str, what: Literal["left out", "restarted", "not restarted", "given up"], reason: str
    ) -> None:
        self.events.append(MemberEvent(name, what, reason))
        log.warning("%s %s: %s", name, what, reason)


def briefly(error: BaseException) -> str:
    """One line. Ray's errors of a task hold a whole traceback, those of an actor its address."""
    if isinstance(error, RayTaskError):
        return repr(error.cause)
    return str(error).strip().partition("\n")[0]
