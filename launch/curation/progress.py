"""Display of a curation: a live bar per stage on a terminal, and a line per stage on any output."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from launch.command import print_line
from launch.curation.blocks import BlockRecord, SourceCounts


class CurationProgress:
    """Progress of the stages. A context manager, because the live bars must be stopped at the end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description:>12}"),
            MofNCompleteColumn(),
            TextColumn("blocks"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rows]} rows"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=0, visible=False, rows="0")
        self._rows = 0

    def __enter__(self) -> CurationProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start_stage(self, name: str, blocks: int) -> None:
        """Add a bar for a stage of ``blocks`` blocks."""
        self._rows = 0
        self._task = self._progress.add_task(name, total=blocks, rows="0")

    def show_done(self, block: int, record: BlockRecord) -> None:
        """Advance the bar by a block that is done."""
        self._rows += sum(count_rows(counts) for counts in record.counts.values())
        self._progress.update(self._task, advance=1, rows=f"{self._rows:,}")

    def end_stage(self, name: str, counts: Mapping[str, SourceCounts]) -> None:
        """Print the line of a stage that is done."""
        print_line(self.console, f"{name}: {format_counts(counts)}")


def count_rows(counts: SourceCounts) -> int:
    """Return the number of rows that went into a stage."""
    return counts.kept + sum(counts.dropped.values())


def format_counts(counts: Mapping[str, SourceCounts]) -> str:
    """Return the totals over all sources in words.

    >>> format_counts({"a": SourceCounts(7, {"bad_row": 2}, 1.0), "b": SourceCounts(1, {"bad_row": 1}, 1.0)})
    '11 rows, 8 kept, 3 dropped (bad_row 3)'
    """
    kept = sum(entry.kept for entry in counts.values())
    rows = sum(map(count_rows, counts.values()))
    reasons: dict[str, int] = {}
    for entry in counts.values():
        for reason, number in entry.dropped.items():
            reasons[reason] = reasons.get(reason, 0) + number
    listed = ", ".join(f"{reason} {reasons[reason]:,}" for reason in sorted(reasons))
    return f"{rows:,} rows, {kept:,} kept, {rows - kept:,} dropped" + (f" ({listed})" if listed else "")
