"""Life cycle shared by the members of both pools: started, watched, replaced when they fail, stopped at the end.

    add ──► starting ──► serving: acquire, release ──► remove ──► stopped, killed
               │ start failed       │ died or hangs
               └────────────────────┴──► replace ──► killed; another member is added

Who calls whom: a pool calls ``start``, ``acquire``, ``release`` and ``replace`` of its members object; ``PoolMembers``
watches each serving member in a background task and calls ``replace`` itself when the member dies or hangs. Nobody
waits for these tasks. ``PoolMembers`` has what both pools share; ``GeneratorMembers`` and ``EvaluatorMembers`` decide
when another member is added.

Covered here: actors that die or hang. Not covered: calls that fail for another reason, and retrying the calls of a dead
actor; the pools do both.
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
MAX_EVENTS = 1000
MAX_ERROR_CHARACTERS = 400
ACTOR_ERRORS = (RayError, DeadlineExceeded)
"""Errors of a call to an actor that died, hangs or failed to start."""


class MemberFailed(RuntimeError):
    """A pool member died or hangs; its calls in progress have failed."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)  # both, so that it survives pickling
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class NoLiveMember(RunFailed, RuntimeError):
    """No member of the pool is alive, and none is being restarted."""


class PoolMember(Protocol):
    """Pool member: one Ray actor, as ``PoolMembers`` sees it."""

    @property
    def name(self) -> str: ...

    def start(self) -> Awaitable[Any]:
        """Make the member ready for calls."""

    async def watch(self) -> None:
        """Wait until the member dies or hangs, then raise MemberFailed; never returns."""

    def kill(self) -> None:
        """End the member's process at once. No effect if it is dead already."""


M = TypeVar("M", bound=PoolMember)
MemberChange = Literal["removed", "replaced", "replacement failed", "given up"]


@dataclass(frozen=True)
class MemberEvent:
    """Unplanned change of a pool's membership: ``name`` was removed, replaced or given up, for ``reason``."""

    name: str
    change: MemberChange
    reason: str


class BackgroundTasks:
    """Set of coroutines running in the background. ``on_error`` is called with any exception that one raises."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._on_error = on_error
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start ``work`` on the running event loop."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._discard)
        return task

    def cancel(self) -> None:
        """Cancel all tasks without waiting for them to end."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=STOP_DEADLINE_S)

    def _discard(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)


class PoolMembers(abc.ABC, Generic[M]):
    """Base class that starts and watches a pool's members. Use it inside one event loop.

    Attributes:
        background: runs the watch tasks and other background work. ``on_error`` gets what fails there, which is a bug
            in this code base.
        events: the latest changes of the membership, oldest first.
    """

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self.background = BackgroundTasks(on_error)
        self.events: deque[MemberEvent] = deque(maxlen=MAX_EVENTS)

    @abc.abstractmethod
    def replace(self, member: M, reason: str) -> None:
        """Kill ``member``, which failed, and arrange for a replacement. No effect if it was removed before."""

    async def _start(self, members: Iterable[M], operation: str, deadline_s: float) -> list[Any]:
        """Start ``members`` concurrently and return the result of each start, in order.

        Raises DeadlineExceeded, or the error of the first start that fails.
        """
        return await gather({member.name: member.start() for member in members}, operation, deadline_s)

    def _watch(self, member: M) -> None:
        """Watch ``member`` in the background; replace it as soon as it dies or hangs."""
        self.background.spawn(self._replace_on_failure(member))

    async def _replace_on_failure(self, member: M) -> None:
        try:
            await member.watch()
        except MemberFailed as error:
            self.replace(member, error.reason)

    def _record_event(self, name: str, change: MemberChange, reason: str) -> None:
        self.events.append(MemberEvent(name, change, reason))
        log.warning("%s %s: %s", name, change, reason)


def stop_all(actors: Sequence[ActorHandle]) -> None:
    """Ask every actor to stop, then kill them all after at most STOP_DEADLINE_S. Dead actors raise no error."""
    references: list[ray.ObjectRef] = [actor.stop.remote() for actor in actors]
    ray.wait(references, num_returns=len(references), timeout=STOP_DEADLINE_S)
    for actor in actors:
        ray.kill(actor)


def summarize_error(error: BaseException) -> str:
    """Return the error's type and message in one line.

    Ray's actor errors are multi-line: the first line says what happened, the last one why, and the actor's address is
    in between. Ray's task errors contain a traceback, so their cause is used instead.
    """
    if isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    lines = [line for line in str(error).splitlines() if line and not line[0].isspace()]
    text = " ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:MAX_ERROR_CHARACTERS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
