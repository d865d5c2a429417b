"""Display of a run: one line per step on any output, and on a terminal a live panel below the printed lines.

    event loop ──print_line, warn, show_step──► lines ─┐
               ──set_phase, ...──► attributes ─────────┴─► display thread: prints the lines, draws the panel
    other threads ──logging──► warn ──► lines                    (at most every REFRESH_S seconds)

Nobody waits for the display thread, so that a terminal that accepts no output, for example one stopped with Ctrl-S or a
pager, does not stop the run. If the output is closed, nothing more is printed, and the run continues.

Covered: everything that is printed through ``Display`` or logged. Its control characters are escaped, because messages
quote what programs and models wrote. Not covered: processes that write to the terminal themselves.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

import psutil
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from actors.activity import PoolCounts
from launch.records.figures import LINE_WIDTH, format_step
from launch.records.status_panel import LastWarning, Memory, RunStatus, build_panel
from launch.records.terminal_text import escape_control_characters

REFRESH_S = 0.25
CLOSE_DEADLINE_S = 5.0
"""Seconds for which the end of a run waits for a terminal that accepts no output."""
AVERAGED_STEPS = 10
OWN_LOGGERS = ("actors", "conf", "evaluator", "launch", "learner")
"""First parts of the names of this project's loggers, whose messages need no source."""
JUDGED_PHASES = ("generate", "reward")
"""Phases of a step in which its completions are judged."""


class Display:
    """Progress of a training run.

    A context manager: inside it a thread prints and draws; outside it lines are printed at once, without a panel.
    """

    def __init__(self, console: Console, steps: int, first_step: int) -> None:
        """Create the display.

        Args:
            console: where to print.
            steps: steps of the whole run.
            first_step: number of steps already done, in a resumed run.
        """
        self.console = console
        self.steps = steps
        self.completed = first_step
        self.phase = "starting"
        self.phase_started = time.monotonic()
        self.progress: tuple[int, int] | None = None
        self.judged: tuple[int, int] | None = None
        self.rows: tuple[Mapping[str, float], ...] = ()
        self.step_seconds: tuple[float, ...] = ()
        self.step_ended: float | None = None
        self.last_warning: LastWarning | None = None
        self._warning_numbers = itertools.count(1)
        self._count_members: tuple[Callable[[], PoolCounts], Callable[[], PoolCounts]] | None = None
        self._process = psutil.Process()
        self._lines: deque[RenderableType] = deque()
        self._added = threading.Event()
        self._closing = threading.Event()
        self._failed = False
        self._thread: threading.Thread | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Display:
        with self._silence_closed_output():
            _replace_unencodable_characters(self.console)
        if self.console.is_interactive:
            self._cleanup.enter_context(_send_terminal_logs_to(self))
        self._thread = threading.Thread(target=self._work, name="display", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._added.set()
        if self._thread is not None:
            self._thread.join(CLOSE_DEADLINE_S)
        self._cleanup.close()
        if self._failed:
            self.console.quiet = False  # what the command prints at its end fails with the reason

    def print_line(self, text: str) -> None:
        """Print one line above the panel; control characters and line breaks in it are escaped."""
        self._print(Text(escape_control_characters(text)))

    def print_table(self, table: RenderableType) -> None:
        """Print a table above the panel. Its texts must not be those of programs or models."""
        self._print(table)

    def warn(self, text: str) -> None:
        """Print a warning, and show it in the panel as the last one. Any thread may call this."""
        escaped = escape_control_characters(text)
        self.last_warning = LastWarning(escaped, self.completed, next(self._warning_numbers))
        self._print(Text(escaped, style="yellow"))

    def set_phase(self, name: str, done: int | None = None, total: int | None = None) -> None:
        """Show ``name`` as the current phase of the step, with ``done`` of ``total`` parts if they are given."""
        if name != self.phase:
            self.phase_started = time.monotonic()
        self.progress = None if done is None or total is None else (done, total)
        self.phase = name

    def show_generation_progress(self, done: int, total: int) -> None:
        """Show how many of the step's completions are judged."""
        self.judged = (done, total)

    def show_step(self, row: Mapping[str, float]) -> None:
        """Print the line of a completed step, given its metrics, and count it."""
        now = time.monotonic()
        # After the first step of a run the time of the step itself, later also that of evaluations and checkpoints.
        seconds = row.get("timing_s/step", 0.0) if self.step_ended is None else now - self.step_ended
        self.step_seconds = (*self.step_seconds, seconds)[-AVERAGED_STEPS:]
        self.step_ended = now
        self.rows = (*self.rows, row)[-AVERAGED_STEPS:]
        self.completed += 1
        self.judged = None
        width = self.console.width if self.console.is_terminal else LINE_WIDTH
        self._print(Text(format_step(row, width)))

    def watch_pools(
        self, count_generators: Callable[[], PoolCounts], count_evaluators: Callable[[], PoolCounts]
    ) -> None:
        """Show the members of the pools from now on. The display's thread calls both functions."""
        self._count_members = (count_generators, count_evaluators)

    def forget_pools(self) -> None:
        """Show the pools no more: their members are being stopped."""
        self._count_members = None

    def read_status(self) -> RunStatus:
        """Return what the panel shows now."""
        now = time.monotonic()
        counts = self._count_members
        memory = psutil.virtual_memory()
        return RunStatus(
            steps=self.steps,
            completed=self.completed,
            seconds_left=self._estimate_seconds_left(now),
            phase=self.phase,
            phase_seconds=now - self.phase_started,
            progress=self.judged if self.phase in JUDGED_PHASES else self.progress,
            rows=self.rows,
            generators=None if counts is None else counts[0](),
            evaluators=None if counts is None else counts[1](),
            memory=Memory(
                used=memory.total - memory.available, total=memory.total, driver=self._process.memory_info().rss
            ),
            warning=self.last_warning,
        )

    def _estimate_seconds_left(self, now: float) -> float | None:
        if self.step_ended is None:
            return None
        mean = sum(self.step_seconds) / len(self.step_seconds)
        return max(0.0, (self.steps - self.completed) * mean - (now - self.step_ended))

    def _print(self, line: RenderableType) -> None:
        """Have a line printed by the display's thread, or print it at once if none is running."""
        self._lines.append(line)
        self._added.set()
        if self._thread is None or not self._thread.is_alive():
            self._print_waiting()

    def _work(self) -> None:
        """Print waiting lines and draw the panel, until the display is closed."""
        with self._silence_closed_output(), self._make_live() as live:
            while not self._closing.is_set():
                if live is None:
                    self._added.wait()
                else:
                    self._closing.wait(REFRESH_S)
                self._added.clear()
                self._print_waiting()
                if live is not None:
                    live.refresh()
            self._print_waiting()

    def _make_live(self) -> contextlib.AbstractContextManager[Live | None]:
        if not self.console.is_interactive:
            return contextlib.nullcontext()
        return Live(
            console=self.console,
            auto_refresh=False,
            transient=True,
            get_renderable=lambda: build_panel(self.read_status(), self.console.width, self.console.height),
        )

    def _print_waiting(self) -> None:
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        if lines:
            with self._silence_closed_output():
                self.console.print(Group(*lines), soft_wrap=True)  # in one call: each one draws the panel again

    @contextlib.contextmanager
    def _silence_closed_output(self) -> Iterator[None]:
        """Print nothing more if the block cannot write, because a terminal or pipe was closed or a disk is full."""
        try:
            yield
        except OSError:
            self._failed = True
            self.console.quiet = True
        except SystemExit:  # rich raises it for a closed pipe, after it has made the console quiet
            pass


def _replace_unencodable_characters(console: Console) -> None:
    """Print "?" for each character that the output's encoding lacks, from now on, instead of raising an error."""
    if isinstance(console.file, io.TextIOWrapper):
        console.file.reconfigure(errors="replace")


class _DisplayHandler(logging.Handler):
    """Log handler that prints records above the panel; a warning or an error becomes the display's last warning."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self.display = display

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (KeyError, TypeError, ValueError):  # arguments that do not fit the format
            self.handleError(record)
            return
        if record.name.partition(".")[0] not in OWN_LOGGERS:
            message = f"{record.name}: {message}"
        if record.levelno >= logging.WARNING:
            self.display.warn(message)
        else:
            self.display.print_line(message)
        if record.exc_info:
            for line in logging.Formatter().formatException(record.exc_info).splitlines():
                self.display.print_line(f"  {line}")


@contextlib.contextmanager
def _send_terminal_logs_to(display: Display) -> Iterator[None]:
    """Print log records through ``display`` that would otherwise be written into the panel.

    Replaces the handlers that write to a terminal, of all loggers, until the context ends.
    """
    standard = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    terminals = [stream for stream in standard if stream is not None and not stream.closed and stream.isatty()]
    known = (item for item in logging.root.manager.loggerDict.values() if isinstance(item, logging.Logger))
    replaced = []
    for logger in [logging.root, *known]:
        for handler in [*logger.handlers]:
            if isinstance(handler, logging.StreamHandler) and handler.stream in terminals:
                replacement = _DisplayHandler(display)
                replacement.setLevel(handler.level)
                logger.removeHandler(handler)
                logger.addHandler(replacement)
                replaced.append((logger, handler, replacement))
    try:
        yield
    finally:
        for logger, handler, replacement in replaced:
            logger.removeHandler(replacement)
            logger.addHandler(handler)


@contextlib.contextmanager
def show_answer_progress(console: Console, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show how many answers are judged: a live bar on a terminal, a line per tenth of ``total`` on other outputs.

    Yields:
        A function (done, total) to call after each answer.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("answers judged"),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("answers", total=total)

        def report_progress(done: int, total: int) -> None:
            progress.update(task, completed=done)
            if not console.is_terminal and done * 10 // total > (done - 1) * 10 // total:
                console.print(f"{done} of {total} answers judged", highlight=False)

        yield report_progress
