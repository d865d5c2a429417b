"""Load of an evaluator pool: an index of members by load, for routing, and a meter of recent load, for metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")


class LoadBuckets(Generic[M]):
    """Index of members by load, from 0 to ``max_load``.

    Every operation costs O(``max_load``), independent of the number of members. Among members with equal load, the one
    whose load was set first comes first. Members are used as dictionary keys.
    """

    def __init__(self, max_load: int) -> None:
        self.load: dict[M, int] = {}
        self.buckets: list[dict[M, None]] = [{} for _ in range(max_load + 1)]

    def __len__(self) -> int:
        return len(self.load)

    def set_load(self, member: M, load: int) -> None:
        """Set the load of ``member``, and add it if it is new."""
        previous = self.load.get(member)
        if previous is not None:
            del self.buckets[previous][member]
        self.buckets[load][member] = None
        self.load[member] = load

    def remove(self, member: M) -> None:
        """Remove ``member``. Raises KeyError if it is not there."""
        del self.buckets[self.load.pop(member)][member]

    def count(self, load: int) -> int:
        """Return the number of members with this load."""
        return len(self.buckets[load])

    def least_loaded(self) -> M | None:
        """Return the member with the least load; None if there is none or all have ``max_load``."""
        for bucket in self.buckets[:-1]:
            if bucket:
                return next(iter(bucket))
        return None


@dataclass(frozen=True, kw_only=True)
class EvaluatorLoad:
    """Load of an evaluator pool over an interval.

    Attributes:
        queue_max: largest number of calls that waited in the queue at once.
        busy_share: share of the sandboxes' time, 0 to 1, in which they ran a program.
        actors: actors that accept calls at the end of the interval.
        retried: calls that were given to another actor, because the first one failed.
        unjudged: completions that got the status ``sandbox_error`` because no actor could judge them.
        repeated: completions that got the cached verdict of an equal completion.
    """

    queue_max: int
    busy_share: float
    actors: int
    retried: int
    unjudged: int
    repeated: int


class LoadMeter:
    """Accumulates a pool's load between two calls of ``take``.

    ``clock`` returns seconds. The pool calls ``record_state`` after each change of its queue, calls or actors.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._queue = self._busy = self._sandboxes = self._actors = 0
        self._reset()

    def _reset(self) -> None:
        self._queue_max = self._queue
        self._retried = 0
        self._unjudged = 0
        self._repeated = 0
        self._busy_s = self._sandbox_s = 0.0

    def record_state(self, queue: int, busy: int, sandboxes: int, actors: int) -> None:
        """Record that the pool is in this state until the next call.

        Args:
            queue: calls that wait in the queue.
            busy: sandboxes that run a program.
            sandboxes: all sandboxes.
            actors: actors that accept calls.
        """
        self._accumulate()
        self._queue = queue
        self._busy = busy
        self._sandboxes = sandboxes
        self._actors = actors
        self._queue_max = max(self._queue_max, queue)

    def _accumulate(self) -> None:
        now = self._clock()
        self._busy_s += self._busy * (now - self._since)
        self._sandbox_s += self._sandboxes * (now - self._since)
        self._since = now

    def count_retry(self) -> None:
        """Count a call that is given to another actor."""
        self._retried += 1

    def count_unjudged(self) -> None:
        """Count a completion that no actor could judge."""
        self._unjudged += 1

    def count_repeat(self) -> None:
        """Count a completion that got the cached verdict of an equal one."""
        self._repeated += 1

    def take(self) -> EvaluatorLoad:
        """Return the load since the previous ``take``, and start a new interval."""
        self._accumulate()
        share = self._busy_s / self._sandbox_s if self._sandbox_s else 0.0
        load = EvaluatorLoad(
            queue_max=self._queue_max,
            busy_share=share,
            actors=self._actors,
            retried=self._retried,
            unjudged=self._unjudged,
            repeated=self._repeated,
        )
        self._reset()
        return load
