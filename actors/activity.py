"""Activity of a pool's members: their number by state, and their busy time, recorded as spans for the timeline."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

MIN_GAP_S = 0.1
"""Shortest pause that ends a span. Without it the timeline would have one span per call."""
MAX_SPANS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolCounts:
    """Number of a pool's members by state, at one moment.

    Attributes:
        busy: members with calls in progress.
        idle: members that accept calls and have none.
        dead: members that failed and whose replacement does not accept calls yet.
        starting: further members that do not accept calls yet.
        restarts: members that were started, or are due to be started, in place of one that failed, since the start.
        queue: calls that wait for a member; 0 if the pool has no queue.
    """

    busy: int
    idle: int
    dead: int
    starting: int
    restarts: int
    queue: int = 0


@dataclass(frozen=True, kw_only=True)
class Span:
    """Stretch of time in which a pool member had calls in progress.

    Attributes:
        member: name of the member.
        started: start in ``time.monotonic`` seconds.
        ended: end in ``time.monotonic`` seconds.
        calls: calls that began within the span.
    """

    member: str
    started: float
    ended: float
    calls: int


@dataclass(kw_only=True)
class _OpenSpan:
    """Span that may still grow; it has ``in_progress`` unfinished calls."""

    started: float
    ended: float
    calls: int = 0
    in_progress: int = 0


class Activity:
    """Recorder of when each pool member is busy.

    The pool calls ``begin`` and ``end`` around every call; the timeline collects the spans with ``take``.
    """

    def __init__(self) -> None:
        self.open_spans: dict[str, _OpenSpan] = {}
        self.spans: deque[Span] = deque(maxlen=MAX_SPANS)  # if nobody calls `take`, the oldest spans are dropped

    def begin(self, member: str) -> None:
        """Record the start of a call to ``member``."""
        now = time.monotonic()
        span = self.open_spans.get(member)
        if span is not None and span.in_progress == 0 and now - span.ended > MIN_GAP_S:
            self._close(member)
            span = None
        if span is None:
            span = self.open_spans[member] = _OpenSpan(started=now, ended=now)
        span.in_progress += 1
        span.calls += 1

    def end(self, member: str) -> None:
        """Record the end of a call to ``member``."""
        span = self.open_spans[member]
        span.in_progress -= 1
        span.ended = time.monotonic()

    def busy_members(self) -> set[str]:
        """Return the names of the members with calls in progress. Other threads may call this."""
        return {name for name, span in self.open_spans.copy().items() if span.in_progress}

    def take(self) -> list[Span]:
        """Return all spans since the previous ``take``; a span with unfinished calls is split at the current time."""
        now = time.monotonic()
        for member, span in list(self.open_spans.items()):
            if span.in_progress:
                self.spans.append(Span(member=member, started=span.started, ended=now, calls=span.calls))
                span.started = now
                span.ended = now
                span.calls = 0
            else:
                self._close(member)
        taken = list(self.spans)
        self.spans.clear()
        return taken

    def _close(self, member: str) -> None:
        span = self.open_spans.pop(member)
        self.spans.append(Span(member=member, started=span.started, ended=span.ended, calls=span.calls))
