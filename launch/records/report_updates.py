"""Updates of a run's report while it trains, in a process of their own that can neither delay nor stop the run.

    driver ─► ReportUpdates.start_if_due ─► process: python -m launch.run_report.update RUN ─► RUN/report/
           ─► end of the context         ─► waits for the last one, until a deadline

Covered: a build that fails, hangs or takes longer than ``logging.report_every`` steps; a driver that is killed, since
the process ends itself at its deadline. Not covered: a full disk, which stops the run's own records first.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console

from launch.records.terminal_text import escape_control_characters

LOG = "logs/report.log"
LAST_DEADLINE_S = 180.0
"""Seconds that the end of a run waits for its last build, and for one that still runs before it, together."""


class ReportUpdates:
    """Builds of a run's report, one at a time. A context manager: the last build takes place at its end."""

    def __init__(self, run: Path, every: int, console: Console) -> None:
        """Args:
        run: run directory.
        every: steps between builds; 0: only at the end.
        console: where the path of the report, or why there is none, is printed.
        """
        self.run = run
        self.every = every
        self.console = console
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ReportUpdates:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Build the report of a run that ended or failed; on request (SIGINT, SIGTERM) only end a build."""
        try:
            if kind is None or issubclass(kind, Exception):
                self._build_last()
        finally:
            self._end_process()

    @property
    def index(self) -> Path:
        """Path of the report's front page."""
        return self.run / "report" / "index.html"

    def start_if_due(self, steps: int) -> None:
        """Start a build after ``steps`` steps if one is due and the one before has ended."""
        if self.every and steps % self.every == 0 and (self.process is None or self.process.poll() is not None):
            self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "launch.run_report.update", str(self.run.absolute())]
        try:
            (self.run / LOG).parent.mkdir(exist_ok=True)
            with open(self.run / LOG, "ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=Path(__file__).parents[2],  # where the package is found, whatever the driver's directory
                )
        except OSError as error:
            self.process = None
            self._warn(f"the report cannot be built: {error}")

    def _build_last(self) -> None:
        deadline = time.monotonic() + LAST_DEADLINE_S
        try:
            if self.process is not None:
                self.process.wait(LAST_DEADLINE_S)
            self._start()
            if self.process is None:
                return
            if self.process.wait(max(0.0, deadline - time.monotonic())) == 0:
                self._print(f"report: {self.index}")
            else:
                self._warn(f"the report could not be built: {self.run / LOG} says why")
        except subprocess.TimeoutExpired:
            self._warn(
                f"the report was not built within {LAST_DEADLINE_S:.0f} s: build it with "
                f"python -m launch.report run={self.run}"
            )

    def _warn(self, text: str) -> None:
        self._print(text, "yellow")

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(escape_control_characters(text), style=style, highlight=False, markup=False, emoji=False)

    def _end_process(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
