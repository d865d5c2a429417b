"""Timeline of a run in ``timeline.json``, for Perfetto (ui.perfetto.dev) or chrome://tracing, with a track per actor.

The file is a JSON array with one event per line, and valid JSON after every ``flush``. Its size is limited: a full file
is renamed to ``timeline.1.json``, which replaces an older one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.activity import Span

FILE = "timeline.json"
MAX_BYTES = 128 * 2**20
END = b"\n]\n"
Event = dict[str, object]


class Timeline:
    """Timeline of a run. Spans are collected in memory, and ``flush`` appends them to the file.

    All times are those of ``time.monotonic``.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """Open the timeline in ``folder``, and repair a file that a killed run has left incomplete.

        Args:
            folder: run directory.
            max_bytes: size of the file above which a new one is started.
        """
        self.path = folder / FILE
        self.max_bytes = max_bytes
        self.to_epoch = time.time() - time.monotonic()
        self.tracks: dict[str, int] = {}
        self.events: list[Event] = []
        if self.path.exists():
            complete = _find_complete_events(self.path.read_bytes())
            self.path.write_bytes(b"[\n" + b",\n".join(complete) + END) if complete else self.path.unlink()

    def add_span(self, track: str, name: str, started: float, ended: float, **details: object) -> None:
        """Add a span.

        Args:
            track: name of the track, for example "driver" or an actor's name.
            name: label of the span.
            started: time of its start.
            ended: time of its end.
            details: values to show with the span.
        """
        event: Event = {"ph": "X", "name": name, "pid": os.getpid(), "tid": self._get_track_number(track)}
        times: Event = {"ts": self._to_microseconds(started), "dur": round((ended - started) * 1e6), "args": details}
        self.events.append(event | times)

    @contextlib.contextmanager
    def record_span(self, track: str, name: str, **details: object) -> Iterator[None]:
        """Add a span for the duration of the block, also if the block raises; arguments as for ``add_span``."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add_span(track, name, started, time.monotonic(), **details)

    def add_actor_spans(self, spans: Sequence[Span], name: str, step: int) -> None:
        """Add the spans of a pool's actors, each on the actor's track.

        Args:
            spans: periods in which an actor was busy.
            name: label of the spans.
            step: step of the driver at that time.
        """
        for span in spans:
            self.add_span(span.member, name, span.started, span.ended, calls=span.calls, step=step)

    def flush(self) -> None:
        """Append the spans collected since the last flush to the file."""
        if not self.events:
            return
        if self.path.exists() and self.path.stat().st_size > self.max_bytes:
            os.replace(self.path, self.path.with_name("timeline.1.json"))
            self.events = [event for track in self.tracks for event in self._make_track_events(track)] + self.events
        lines = b",\n".join(json.dumps(event).encode() for event in self.events)
        self.events.clear()
        if not self.path.exists():
            self.path.write_bytes(b"[\n" + lines + END)
            return
        with open(self.path, "r+b") as file:
            file.seek(-len(END), os.SEEK_END)
            file.write(b",\n" + lines + END)

    def _get_track_number(self, name: str) -> int:
        if name not in self.tracks:
            self.tracks[name] = len(self.tracks) + 1
            self.events.extend(self._make_track_events(name))
        return self.tracks[name]

    def _make_track_events(self, track: str) -> list[Event]:
        """Return the metadata events by which Chrome's trace format sets a track's name and position."""
        number = self.tracks[track]
        metadata: Event = {"ph": "M", "pid": os.getpid(), "tid": number}
        name: Event = {"name": "thread_name", "args": {"name": track}}
        position: Event = {"name": "thread_sort_index", "args": {"sort_index": number}}
        return [metadata | name, metadata | position]

    def _to_microseconds(self, moment: float) -> int:
        """Convert a time of ``time.monotonic`` to microseconds since the epoch."""
        return round((moment + self.to_epoch) * 1e6)


@dataclass(frozen=True)
class Lap:
    """Start and end of a part of a step (``time.monotonic``)."""

    started: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class Laps:
    """Stopwatch for the parts (laps) of a step; each lap is drawn on the driver's track of the timeline.

    Example:
        laps = Laps(timeline, display.set_phase)
        with laps("generate"):
            ...
        laps.seconds("generate")
    """

    def __init__(self, timeline: Timeline, on_begin: Callable[[str], None]) -> None:
        """Start the stopwatch. ``on_begin`` is called with the name of each lap when the lap begins."""
        self.timeline = timeline
        self.on_begin = on_begin
        self.started = time.monotonic()
        self.ended = self.started
        self.by_name: dict[str, Lap] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the block as the lap ``name``. A block that raises has no lap."""
        self.on_begin(name)
        started = time.monotonic()
        yield
        self.ended = time.monotonic()
        self.by_name[name] = Lap(started, self.ended)
        self.timeline.add_span("driver", name, started, self.ended)

    def seconds(self, name: str) -> float:
        """Return the duration of the lap ``name``."""
        return self.by_name[name].seconds

    @property
    def total(self) -> float:
        """Seconds from the start of the stopwatch to the end of the last lap."""
        return self.ended - self.started


def _find_complete_events(content: bytes) -> list[bytes]:
    """Return the complete events of a file that a killed run may have left without its end."""
    lines = [line.rstrip(b",") for line in content.split(b"\n")]
    return [line for line in lines if line.startswith(b"{") and _is_json(line)]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
