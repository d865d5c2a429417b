"""Members of a generator pool: which engines serve, and the restart of engines that fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ray.exceptions import RayError

from actors.generators.handle import RemoteGenerator
from actors.lifecycle import NoLiveMember, PoolMembers, summarize_error
from actors.waiting import gather

log = logging.getLogger(__name__)
MAX_RESTARTS = 5  # per member and run

CreateGenerator = Callable[[str, int, int], RemoteGenerator]
"""Creates a member that is not started yet, from (name, index in the pool, number of restarts so far)."""
AdmitGenerator = Callable[[str, Any], Awaitable[None]]
"""Prepares a restarted actor, given its name and actor handle, to serve requests: it loads the current weights.
RayError, RuntimeError and TimeoutError mean that the restart has failed."""


class GeneratorMembers(PoolMembers[RemoteGenerator]):
    """Fixed number of members; a replacement takes over the name of the member that failed.

    A name is given up when its member fails after MAX_RESTARTS restarts.

    Attributes:
        names: names of the members, in order of their index.
        live: members that serve requests, by name.
        newest: last member created under each name, which may be starting or dead.
        restarts: number of restarts so far, by name.
        given_up: reasons for names that were given up.
        restarting: tasks of the restarts in progress, by name.
    """

    def __init__(self, count: int, create: CreateGenerator) -> None:
        super().__init__(_log_bug)
        self.names = [f"generator {index}" for index in range(count)]
        self.create = create
        self.newest = {name: create(name, index, 0) for index, name in enumerate(self.names)}
        self.live: dict[str, RemoteGenerator] = {}
        self.restarts = dict.fromkeys(self.names, 0)
        self.given_up: dict[str, str] = {}
        self.restarting: dict[str, asyncio.Task[None]] = {}
        self.deadline_s = 0.0
        self.admit: AdmitGenerator | None = None

    async def start(self, deadline_s: float, admit: AdmitGenerator | None) -> None:
        """Start all members concurrently; they are live when this returns.

        Args:
            deadline_s: seconds for this start, and for each later restart including its admission.
            admit: prepares a restarted member to serve. It is not called for the members started here.

        Raises:
            DeadlineExceeded: a member did not start in time.
            RayError: a member failed to start.
        """
        self.deadline_s = deadline_s
        self.admit = admit
        await self._start(self.newest.values(), "starting the engines", deadline_s)
        for member in self.newest.values():
            self._mark_live(member)

    def replace(self, member: RemoteGenerator, reason: str) -> None:
        """Kill ``member`` and start a replacement in the background. No effect if ``member`` is no longer live."""
        if self.live.get(member.name) is not member:
            return
        del self.live[member.name]
        self._record_event(member.name, "removed", reason)
        member.kill()
        self.restarting[member.name] = self.background.spawn(self._restart(member.name))

    async def wait_for_any(self) -> dict[str, RemoteGenerator]:
        """Return the live members by name, waiting while there is none. Raises NoLiveMember if none is restarting."""
        while not self.live:
            await self._wait_for_restart(list(self.restarting.values()))
        return self.live

    async def wait_for(self, name: str) -> RemoteGenerator:
        """Return the member called ``name``, waiting while it restarts. Raises NoLiveMember if it was given up."""
        while name not in self.live:
            await self._wait_for_restart([self.restarting[name]] if name in self.restarting else [])
        return self.live[name]

    def close(self) -> None:
        """Stop watching and restarting members. Call it before ending the actors, which would count as failures."""
        self.background.cancel()
        self.live.clear()

    async def _wait_for_restart(self, tasks: list[asyncio.Task[None]]) -> None:
        if not tasks:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.given_up.items())
            raise NoLiveMember(reasons or "the pool has not been started or is closed")
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _restart(self, name: str) -> None:
        while self.restarts[name] < MAX_RESTARTS:
            self.restarts[name] += 1
            member = self.newest[name] = self.create(name, self.names.index(name), self.restarts[name])
            try:
                await gather({name: self._start_and_admit(member)}, f"restarting {name}", self.deadline_s)
            except (RayError, RuntimeError, TimeoutError) as error:
                self._record_event(name, "replacement failed", summarize_error(error))
                member.kill()
            else:
                self._record_event(name, "replaced", f"restart {self.restarts[name]} of at most {MAX_RESTARTS}")
                self._mark_live(member)
                break
        else:
            self.given_up[name] = f"it was restarted {MAX_RESTARTS} times: see the earlier warnings for the reasons"
            self._record_event(name, "given up", self.given_up[name])
        del self.restarting[name]

    async def _start_and_admit(self, member: RemoteGenerator) -> None:
        await member.start()
        if self.admit is not None:
            await self.admit(member.name, member.actor)

    def _mark_live(self, member: RemoteGenerator) -> None:
        self.live[member.name] = member
        self._watch(member)


def _log_bug(error: BaseException) -> None:
    """Log an unexpected error of a background task, since nobody awaits the tasks that watch members."""
    log.error("bug in the generator pool: a background task raised an error", exc_info=error)
