"""When each member of a pool had something to do: the spans of the timeline."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

SHORTEST_GAP_S = 0.1
"""A shorter pause does not end a span: a timeline of every call would be as long as the run's list of completions."""
MOST_SPANS = 100_000


@dataclass(frozen=True, kw_only=True)
class Span:
    """``member`` was busy from ``started`` to ``ended`` (``time.monotonic``) with ``calls`` calls."""

    member: str
    started: float
    ended: float
    calls: int


@dataclass(kw_only=True)
class _Busy:
    started: float
    ended: float
    calls: int = 0
    under_way: int = 0


class Activity:
    """Told of every call's begin and end; ``take`` hands out the spans since the last time."""

    def __init__(self) -> None:
        self.busy: dict[str, _Busy] = {}
        self.spans: deque[Span] = deque(maxlen=MOST_SPANS)  # the oldest are lost where nobody takes them

    def begin(self, member: str) -> None:
        """A call to ``member`` goes out."""
        now = time.monotonic()
        busy = self.busy.get(member)
        if busy is not None and busy.under_way == 0 and now - busy.ended > SHORTEST_GAP_S:
            self._close(member)
            busy = None
        if busy is None:
            busy = self.busy[member] = _Busy(started=now, ended=now)
        busy.under_way += 1
        busy.calls += 1

    def end(self, member: str) -> None:
        """A call to ``member`` came back."""
        busy = self.busy[member]
        busy.under_way -= 1
        busy.ended = time.monotonic()

    def take(self) -> list[Span]:
        """The spans that have ended, and those that go on, up to now."""
        now = time.monotonic()
        for member, busy in list(self.busy.items()):
            if busy.under_way:
                self.spans.append(Span(member=member, started=busy.started, ended=now, calls=busy.calls))
                busy.started = now
                busy.ended = now
                busy.calls = 0
            else:
                self._close(member)
        taken = list(self.spans)
        self.spans.clear()
        return taken

    def _close(self, member: str) -> None:
        busy = self.busy.pop(member)
        self.spans.append(Span(member=member, started=busy.started, ended=busy.ended, calls=busy.calls))
