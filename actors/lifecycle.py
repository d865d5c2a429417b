"""The life cycle of a pool's members: started, watched, replaced when they fail, stopped at the end.

    add ──► starting ──► serving: acquire, release ──► remove ──► stopped, killed
               │ did not start      │ died or hangs
               └────────────────────┴──► replace ──► killed; another one is added

Both pools use these words. ``PoolMembers`` has what is the same for both; ``GeneratorMembers`` and ``EvaluatorMembers``
decide when another member is added. Covered here: the death and the hanging of an actor. Not covered: a call that
fails for another reason, and what happens to the calls of a dead actor; the pools see to both.
"""

from __future__ import annotations

import abc
import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from actors.waiting import DeadlineExceeded, gather
from evaluator.errors import RunFailed

log = logging.getLogger(__name__)

STOP_DEADLINE_S = 20.0
MOST_EVENTS = 1000
MOST_ERROR_CHARACTERS = 400
ACTOR_ERRORS = (RayError, DeadlineExceeded)
"""What a call to an actor raises that died, hangs or does not start."""


class MemberLost(RuntimeError):
    """A member of a pool is dead or hangs, and the calls it had are lost."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)  # both, so that it survives pickling
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class NoMemberLeft(RunFailed, RuntimeError):
    """No member of a pool is alive, and none will be added."""


class Member(Protocol):
    """One actor of a pool."""

    @property
    def name(self) -> str: ...

    def start(self) -> Awaitable[Any]:
        """Make it ready for calls."""

    async def watch(self) -> None:
        """Raise MemberLost when the member dies or hangs; does not return before."""

    def kill(self) -> None:
        """End its process at once. No effect on a dead one."""


M = TypeVar("M", bound=Member)
Change = Literal["removed", "replaced", "replacement failed", "given up"]


@dataclass(frozen=True)
class MemberEvent:
    """A change of a pool's membership that was not asked for."""

    name: str
    what: Change
    reason: str


class BackgroundTasks:
    """Coroutines that run beside their owner: ``on_error`` gets what one of them raises, ``stop`` ends them all."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._on_error = on_error
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start ``work`` on the running loop."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._discard)
        return task

    def cancel(self) -> None:
        """Cancel all, without waiting for their end."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Cancel all, and wait until they have ended."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=STOP_DEADLINE_S)

    def _discard(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)


class PoolMembers(abc.ABC, Generic[M]):
    """Starts and watches the members of a pool. Use it inside one event loop.

    ``background`` runs the watching, and what else must be waited for; ``on_error`` gets what fails there, which is a
    bug of ours. ``events`` are the latest changes, oldest first.
    """

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self.background = BackgroundTasks(on_error)
        self.events: deque[MemberEvent] = deque(maxlen=MOST_EVENTS)

    @abc.abstractmethod
    def replace(self, member: M, reason: str) -> None:
        """Kill ``member``, which failed, and have another take its place. No effect on one that is gone already."""

    async def _start(self, members: Iterable[M], what: str, deadline_s: float) -> list[Any]:
        """Start ``members``, all at once; returns what each start returned.

        Raises DeadlineExceeded, or what the first start that fails raises.
        """
        return await gather({member.name: member.start() for member in members}, what, deadline_s)

    def _watch(self, member: M) -> None:
        """Replace ``member`` as soon as it dies or hangs."""
        self.background.spawn(self._replace_when_lost(member))

    async def _replace_when_lost(self, member: M) -> None:
        try:
            await member.watch()
        except MemberLost as error:
            self.replace(member, error.reason)

    def _note(self, name: str, what: Change, reason: str) -> None:
        self.events.append(MemberEvent(name, what, reason))
        log.warning("%s %s: %s", name, what, reason)


def stop_all(actors: Sequence[ActorHandle]) -> None:
    """Ask every actor to stop, and kill all of them after a deadline. Never raises for a dead actor."""
    references: list[ray.ObjectRef] = [actor.stop.remote() for actor in actors]
    ray.wait(references, num_returns=len(references), timeout=STOP_DEADLINE_S)
    for actor in actors:
        ray.kill(actor)


def one_line(error: BaseException) -> str:
    """Return an error's type and message in one line.

    Ray's errors of an actor begin with what happened and end with the reason, with its address between; those of a
    call hold a traceback, so their cause is taken.
    """
    if isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    lines = [line for line in str(error).splitlines() if line and not line[0].isspace()]
    text = " ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:MOST_ERROR_CHARACTERS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
