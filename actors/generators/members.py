"""The engines of a generator pool: which of them serve, and the restart of those that fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ray.exceptions import RayError

from actors.generators.handle import RemoteGenerator
from actors.lifecycle import NoMemberLeft, PoolMembers, one_line
from actors.waiting import gather

log = logging.getLogger(__name__)
MOST_RESTARTS = 5  # of one member in a run

Create = Callable[[str, int, int], RemoteGenerator]
"""Makes a member of (name, index in the pool, how often it was restarted), not yet started."""
Admit = Callable[[str, Any], Awaitable[None]]
"""Prepares a restarted actor of this name to serve. If it raises RayError, RuntimeError or TimeoutError, the restart
has failed."""


class GeneratorMembers(PoolMembers[RemoteGenerator]):
    """A fixed number of members, each with a name that its successors inherit.

    A member that fails is replaced at most MOST_RESTARTS times, then its name is given up. ``live``: the members that
    serve, by name; ``newest``: the last one made of each name, which may be starting or dead.
    """

    def __init__(self, count: int, create: Create) -> None:
        super().__init__(_log_bug)
        self.names = [f"generator {index}" for index in range(count)]
        self.create = create
        self.newest = {name: create(name, index, 0) for index, name in enumerate(self.names)}
        self.live: dict[str, RemoteGenerator] = {}
        self.restarts = dict.fromkeys(self.names, 0)
        self.given_up: dict[str, str] = {}
        self.restarting: dict[str, asyncio.Task[None]] = {}
        self.deadline_s = 0.0
        self.admit: Admit | None = None

    async def start(self, deadline_s: float, admit: Admit | None) -> None:
        """Start all at once; they are live when this returns.

        A later one has ``deadline_s`` to start and to be admitted. Raises DeadlineExceeded, or what the first that
        fails raises.
        """
        self.deadline_s = deadline_s
        self.admit = admit
        await self._start(self.newest.values(), "starting the engines", deadline_s)
        for member in self.newest.values():
            self._serve(member)

    def replace(self, member: RemoteGenerator, reason: str) -> None:
        """Kill ``member`` and start another of its name in the background. No effect if that has happened."""
        if self.live.get(member.name) is not member:
            return
        del self.live[member.name]
        self._note(member.name, "removed", reason)
        member.kill()
        self.restarting[member.name] = self.background.spawn(self._restart(member.name))

    async def wait_for_any(self) -> dict[str, RemoteGenerator]:
        """Return the live members; waits while there is none. Raises NoMemberLeft when none will come."""
        while not self.live:
            await self._wait_for_restart(list(self.restarting.values()))
        return self.live

    async def wait_for(self, name: str) -> RemoteGenerator:
        """Return the member of this name; waits while it restarts. Raises NoMemberLeft when it was given up."""
        while name not in self.live:
            await self._wait_for_restart([self.restarting[name]] if name in self.restarting else [])
        return self.live[name]

    def close(self) -> None:
        """Replace nothing from here on: members end because they are told to."""
        self.background.cancel()
        self.live.clear()

    async def _wait_for_restart(self, tasks: list[asyncio.Task[None]]) -> None:
        if not tasks:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.given_up.items())
            raise NoMemberLeft(reasons or "the pool has not been started, or is closed")
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _restart(self, name: str) -> None:
        while self.restarts[name] < MOST_RESTARTS:
            self.restarts[name] += 1
            member = self.newest[name] = self.create(name, self.names.index(name), self.restarts[name])
            try:
                await gather({name: self._start_and_admit(member)}, f"restarting {name}", self.deadline_s)
            except (RayError, RuntimeError, TimeoutError) as error:
                self._note(name, "replacement failed", one_line(error))
                member.kill()
            else:
                self._note(name, "replaced", f"restart {self.restarts[name]} of at most {MOST_RESTARTS}")
                self._serve(member)
                break
        else:
            self.given_up[name] = f"it was restarted {MOST_RESTARTS} times: look at the events before"
            self._note(name, "given up", self.given_up[name])
        del self.restarting[name]

    async def _start_and_admit(self, member: RemoteGenerator) -> None:
        await member.start()
        if self.admit is not None:
            await self.admit(member.name, member.actor)

    def _serve(self, member: RemoteGenerator) -> None:
        self.live[member.name] = member
        self._watch(member)


def _log_bug(error: BaseException) -> None:
    """Those who wait for a restart get its error; nobody waits for a watch."""
    log.error("a bug in the generator pool", exc_info=error)
