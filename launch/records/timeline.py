"""``timeline.json``: what every actor did when, for Perfetto (ui.perfetto.dev) or chrome://tracing. One track an actor.

The file is a JSON array with one event a line, whole after every ``flush``. It is bounded: a full one becomes
``timeline.1.json``, which replaces the one before.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.activity import Span

FILE = "timeline.json"
MOST_BYTES = 128 * 2**20
END = b"\n]\n"
Event = dict[str, object]


class Timeline:
    """Collects spans in memory; ``flush`` appends them to the file. Times are those of ``time.monotonic``."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = folder / FILE
        self.most_bytes = most_bytes
        self.to_epoch = time.time() - time.monotonic()
        self.tracks: dict[str, int] = {}
        self.events: list[Event] = []
        if self.path.exists():
            whole = _whole_events(self.path.read_bytes())
            self.path.write_bytes(b"[\n" + b",\n".join(whole) + END) if whole else self.path.unlink()

    def span(self, track: str, name: str, started: float, ended: float, **about: object) -> None:
        """``name`` happened on ``track`` from ``started`` to ``ended``; ``about`` is shown with it."""
        event: Event = {"ph": "X", "name": name, "pid": os.getpid(), "tid": self._track(track)}
        times: Event = {"ts": self._microseconds(started), "dur": round((ended - started) * 1e6), "args": about}
        self.events.append(event | times)

    @contextlib.contextmanager
    def during(self, track: str, name: str, **about: object) -> Iterator[None]:
        """A span for as long as the block takes, also when it raises."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.span(track, name, started, time.monotonic(), **about)

    def members(self, spans: Sequence[Span], name: str, step: int) -> None:
        """The members of a pool did ``name``, each on its own track; driver's ``step`` meanwhile."""
        for span in spans:
            self.span(span.member, name, span.started, span.ended, calls=span.calls, step=step)

    def flush(self) -> None:
        """Append to the file what was collected since the last time."""
        if not self.events:
            return
        if self.path.exists() and self.path.stat().st_size > self.most_bytes:
            os.replace(self.path, self.path.with_name("timeline.1.json"))
            self.events = [event for track in self.tracks for event in self._names(track)] + self.events
        lines = b",\n".join(json.dumps(event).encode() for event in self.events)
        self.events.clear()
        if not self.path.exists():
            self.path.write_bytes(b"[\n" + lines + END)
            return
        with open(self.path, "r+b") as file:
            file.seek(-len(END), os.SEEK_END)
            file.write(b",\n" + lines + END)

    def _track(self, name: str) -> int:
        if name not in self.tracks:
            self.tracks[name] = len(self.tracks) + 1
            self.events.extend(self._names(name))
        return self.tracks[name]

    def _names(self, track: str) -> list[Event]:
        """Chrome's format names a track, and says which comes first, by events of their own."""
        number = self.tracks[track]
        of_track: Event = {"ph": "M", "pid": os.getpid(), "tid": number}
        name: Event = {"name": "thread_name", "args": {"name": track}}
        place: Event = {"name": "thread_sort_index", "args": {"sort_index": number}}
        return [of_track | name, of_track | place]

    def _microseconds(self, moment: float) -> int:
        return round((moment + self.to_epoch) * 1e6)


@dataclass(frozen=True)
class Lap:
    """From ``started`` to ``ended`` (``time.monotonic``)."""

    started: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class Laps:
    """Splits the driver's time in a step into laps, one after the other, and draws each on its track."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.started = self.last = time.monotonic()

    def done(self, name: str) -> Lap:
        """The lap ``name`` ends here."""
        lap = Lap(self.last, time.monotonic())
        self.timeline.span("driver", name, lap.started, lap.ended)
        self.last = lap.ended
        return lap

    @property
    def total(self) -> float:
        """Seconds of all laps."""
        return self.last - self.started


def _whole_events(content: bytes) -> list[bytes]:
    """The events of an array that a killed run may have left without its end, or with half an event there."""
    lines = [line.rstrip(b",") for line in content.split(b"\n")]
    return [line for line in lines if line.startswith(b"{") and _is_json(line)]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
