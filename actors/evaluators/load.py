"""The load of an evaluator pool: its members by load, for routing, and what it did lately, for the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")


class LoadBuckets(Generic[M]):
    """Members by their load, 0 to ``most``; every operation costs O(``most``), however many members there are.

    Of equal loads, the member that has had its own for longest is first. Members are compared as dictionary keys.
    """

    def __init__(self, most: int) -> None:
        self.load: dict[M, int] = {}
        self.buckets: list[dict[M, None]] = [{} for _ in range(most + 1)]

    def __len__(self) -> int:
        return len(self.load)

    def put(self, member: M, load: int) -> None:
        """Set the load of a new or present member."""
        before = self.load.get(member)
        if before is not None:
            del self.buckets[before][member]
        self.buckets[load][member] = None
        self.load[member] = load

    def drop(self, member: M) -> None:
        """Remove a member. Raises KeyError if it is not there."""
        del self.buckets[self.load.pop(member)][member]

    def least(self) -> M | None:
        """Return the member with the least load; None when all have ``most``, or there is none."""
        for bucket in self.buckets[:-1]:
            if bucket:
                return next(iter(bucket))
        return None


@dataclass(frozen=True, kw_only=True)
class EvaluatorLoad:
    """Of one stretch of time. ``queue_max``: most calls that waited at once; ``busy_share``: share of the sandboxes'
    time, 0 to 1, in which they had a program; ``actors``: those that run at its end; ``retried``: calls that were given
    to another actor; ``lost``: completions given up as ``sandbox_error`` because no actor lived to judge them;
    ``repeated``: completions that got the verdict of an equal one."""

    queue_max: int
    busy_share: float
    actors: int
    retried: int
    lost: int
    repeated: int


class LoadMeter:
    """Adds up a pool's load. ``clock`` tells seconds; call ``now_is`` after each change of the pool."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._queue = self._busy = self._sandboxes = self._actors = 0
        self._start_again()

    def _start_again(self) -> None:
        self._queue_max = self._queue
        self._retried = 0
        self._lost = 0
        self._repeated = 0
        self._busy_s = self._sandbox_s = 0.0

    def now_is(self, queue: int, busy: int, sandboxes: int, actors: int) -> None:
        """From here on: calls that wait, sandboxes with a program, sandboxes, actors."""
        self._add_up()
        self._queue = queue
        self._busy = busy
        self._sandboxes = sandboxes
        self._actors = actors
        self._queue_max = max(self._queue_max, queue)

    def _add_up(self) -> None:
        now = self._clock()
        self._busy_s += self._busy * (now - self._since)
        self._sandbox_s += self._sandboxes * (now - self._since)
        self._since = now

    def retried(self) -> None:
        """A call goes to another actor."""
        self._retried += 1

    def lost(self) -> None:
        """A completion is given up."""
        self._lost += 1

    def repeated(self) -> None:
        """A completion is equal to another."""
        self._repeated += 1

    def take(self) -> EvaluatorLoad:
        """The load since the last ``take``."""
        self._add_up()
        share = self._busy_s / self._sandbox_s if self._sandbox_s else 0.0
        load = EvaluatorLoad(
            queue_max=self._queue_max,
            busy_share=share,
            actors=self._actors,
            retried=self._retried,
            lost=self._lost,
            repeated=self._repeated,
        )
        self._start_again()
        return load
