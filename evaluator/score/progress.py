"""Progress bar of the scoring command."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from evaluator.score.terminal import write_stderr
from evaluator.verdict import Status, Verdict

REFRESH_S = 0.2
BAR_WIDTH = 24


class ProgressBar:
    """Bar on standard error, if that is a terminal: programs done, per second and failed so far, and the time left.

    ``count`` may be called by any thread. A thread of its own draws the bar, so that a terminal that has been stopped
    (Ctrl-S) stops no worker.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._start_time = clock()
        self._lock = threading.Lock()
        self._done = 0
        self._failed = 0
        self._unjudged = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ProgressBar:
        if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._thread = threading.Thread(target=self._draw_until_closed, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(2)

    def count(self, verdict: Verdict) -> None:
        """Count a program that has been judged."""
        with self._lock:
            self._done += 1
            self._unjudged += verdict.status is Status.SANDBOX_ERROR
            self._failed += not verdict.passed and verdict.status is not Status.SANDBOX_ERROR

    def format_bar(self, width: int) -> str:
        """Return the bar, at most ``width`` characters wide."""
        with self._lock:
            done = self._done
            failed = self._failed
            unjudged = self._unjudged
        elapsed = self._clock() - self._start_time
        rate = done / elapsed if elapsed > 0 else 0.0
        left = _format_duration((self._total - done) / rate) if rate else "-:--"
        filled = BAR_WIDTH * done // max(1, self._total)
        parts = [f"{done}/{self._total} programs", f"{rate:.1f}/s", f"{failed} failed", f"{left} left"]
        if unjudged:
            parts.insert(3, f"{unjudged} sandbox errors")
        text = ", ".join(parts)
        bar = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] "
        return (bar + text if len(bar + text) <= width else text)[:width]

    def _draw_until_closed(self) -> None:
        while not self._closing.wait(REFRESH_S):
            self._draw()
        self._draw()
        write_stderr("\r\x1b[K")

    def _draw(self) -> None:
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:
            columns = 0
        # A line as wide as the terminal would be wrapped, and then only its last part would be overwritten.
        write_stderr(f"\r{self.format_bar((columns or 80) - 1)}\x1b[K")


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
