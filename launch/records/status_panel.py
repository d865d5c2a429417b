"""Panel that a terminal shows below the printed lines while a run trains: ``build_panel`` draws a ``RunStatus``.

    run         ━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━  54/120  14:20 left      the whole run
    phase       generate ━━━━━━━╸━━━━━━━━━━━━━━━━━━━  123/512  3 s            what the driver waits for
    last 10     reward 0.671  D 0.15  length 40.3  trunc 0.012  6.3 s/step    averages over that many steps
    generators  2 busy  0 idle  0 dead  1 restarted                           engines
    evaluators  3 busy  5 idle  0 dead  0 restarted  queue 12                 actors with sandboxes
    system      1898 tok/s  memory 12.4/62.5 GiB  driver 1.2 GiB              throughput, memory of the driver's host
    warning     step 12: ...                                                  the last one

From ``TWO_COLUMNS`` columns on there are two blocks beside each other. In a low window the last rows of ``IMPORTANCE``
are left out, in a narrow one the bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from actors.activity import PoolCounts
from launch.records.figures import (
    DIVERSITY,
    ENTROPY,
    LENGTH,
    MISSING,
    REWARD,
    SECONDS_PER_STEP,
    THROUGHPUT,
    TRUNCATED,
    average_rows,
    format_duration,
    format_number,
    join_fitting,
)

LABEL_WIDTH = 10
GAP_WIDTH = 2
TWO_COLUMNS = 130
"""Columns from which two blocks are shown beside each other."""
MIN_BAR_COLUMNS = 36
"""Columns of a block below which it has no bars."""
LEFT = ("run", "phase", "averages")
RIGHT = ("generators", "evaluators", "system")
IMPORTANCE = ("run", "phase", "averages", "warning", "evaluators", "generators", "system")
"""Rows, the most important ones first."""
SPARE_LINES = 4
"""Lines of the window that the panel leaves to the printed lines, if there are so many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Memory in bytes: of the driver's host, and of the driver."""

    used: int
    total: int
    driver: int


@dataclass(frozen=True, slots=True)
class LastWarning:
    """Latest warning, the step in progress when it came, and the number of warnings so far."""

    text: str
    step: int
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """Everything that the panel shows at one moment; None where it is not known.

    Attributes:
        completed: completed steps, of ``steps``.
        seconds_left: expected time until the last step is completed.
        phase: what the driver is doing, for ``phase_seconds`` so far.
        progress: parts of the phase that are done, and all parts.
        rows: metrics of the latest steps.
        warning: latest warning; its text has no control characters.
    """

    steps: int
    completed: int
    seconds_left: float | None
    phase: str
    phase_seconds: float
    progress: tuple[int, int] | None
    rows: Sequence[Mapping[str, float]]
    generators: PoolCounts | None
    evaluators: PoolCounts | None
    memory: Memory | None
    warning: LastWarning | None


def build_panel(status: RunStatus, width: int, height: int) -> RenderableType:
    """Build the panel for a window of ``width`` columns and ``height`` lines; none of its lines is wider."""
    width = max(1, width)
    lines = max(1, height - SPARE_LINES)
    two_columns = width >= TWO_COLUMNS and lines > len(LEFT)
    all_lines = len(LEFT) + 1 if two_columns else len(IMPORTANCE)
    shown = IMPORTANCE if lines >= all_lines else IMPORTANCE[:lines]
    content = _content_width(width, 2 if two_columns else 1)
    rows = {name: row for name, row in _make_rows(status, content).items() if name in shown}
    table = Table.grid(padding=(0, GAP_WIDTH, 0, 0), pad_edge=False)
    for _ in range(2 if two_columns else 1):
        table.add_column(width=LABEL_WIDTH, no_wrap=True, style="bold")
        table.add_column(width=content, no_wrap=True, overflow="ellipsis")
    blocks = [(LEFT, RIGHT)] if two_columns else [(LEFT,), (RIGHT,)]
    for block in blocks:
        for names in zip(*block, strict=True):
            if cells := [cell for name in names for cell in rows.get(name, ())]:
                table.add_row(*cells)
    parts: list[RenderableType] = [Rule(style="dim")] if lines > all_lines else []
    parts.append(table)
    if "warning" in shown:
        parts.append(_format_warning(status.warning, width))
    return Group(*parts)


def _content_width(width: int, blocks: int) -> int:
    """Return the columns of a block's content, in a window of ``width`` columns with ``blocks`` beside each other."""
    return max(1, width // blocks - LABEL_WIDTH - GAP_WIDTH - (GAP_WIDTH if blocks > 1 else 0))


def _make_rows(status: RunStatus, width: int) -> dict[str, tuple[RenderableType, RenderableType]]:
    """Return label and content of each row but the warning, by name; the content has ``width`` columns."""
    average = average_rows(status.rows)
    averages = (REWARD, DIVERSITY, LENGTH, TRUNCATED, SECONDS_PER_STEP, ENTROPY)
    left = f"{status.completed}/{status.steps}  {format_duration(status.seconds_left)} left"
    seconds = format_duration(status.phase_seconds)
    phase = seconds if status.progress is None else f"{status.progress[0]}/{status.progress[1]}  {seconds}"
    queue = None if status.evaluators is None else status.evaluators.queue
    memory = ("memory", *_format_memory(status.memory))
    system = [THROUGHPUT.format(average, aligned=False), " ".join(memory[:2]), " ".join(memory[2:])]
    return {
        "run": (Text("run"), _make_bar_row("", (status.completed, status.steps), left, width)),
        "phase": (Text("phase"), _make_bar_row(status.phase, status.progress, phase, width)),
        "averages": (
            Text(f"last {len(status.rows)}" if status.rows else "averages"),
            Text(join_fitting((figure.format(average, aligned=False) for figure in averages), width)),
        ),
        "generators": (Text("generators"), _format_pool(status.generators, [], width)),
        "evaluators": (Text("evaluators"), _format_pool(status.evaluators, [f"queue {queue}"], width)),
        "system": (Text("system"), Text(join_fitting(system, width))),
    }


def _make_bar_row(name: str, progress: tuple[int, int] | None, note: str, width: int) -> RenderableType:
    """Build a row with a name, a bar if there is progress and room for it, and a note."""
    name_width = min(len(name), max(1, width - len(note) - GAP_WIDTH))
    text = Text(name)
    text.truncate(name_width, overflow="ellipsis")
    if progress is None or width < MIN_BAR_COLUMNS:
        return Text(f"{text.plain}  {note}" if name else note)
    row = Table.grid(padding=(0, GAP_WIDTH, 0, 0), pad_edge=False)
    cells: list[RenderableType] = []
    if name:
        row.add_column(width=name_width, no_wrap=True)
        cells.append(text)
    bar_width = width - len(note) - GAP_WIDTH - (name_width + GAP_WIDTH if name else 0)
    if bar_width >= 4:
        row.add_column(width=bar_width)
        cells.append(ProgressBar(total=max(1, progress[1]), completed=progress[0], width=bar_width))
    row.add_column(no_wrap=True)
    row.add_row(*cells, Text(note))
    return row


def _format_pool(counts: PoolCounts | None, extra: Sequence[str], width: int) -> Text:
    """Format the members of a pool by state; dead ones are red."""
    if counts is None:
        return Text(MISSING)
    states = [f"{counts.busy} busy", f"{counts.idle} idle", f"{counts.dead} dead", f"{counts.restarts} restarted"]
    starting = [f"{counts.starting} starting"] if counts.starting else []
    line = Text(join_fitting([*states, *extra, *starting], width))
    if counts.dead:
        line.highlight_words([states[2]], style="bold red")
    return line


def _format_memory(memory: Memory | None) -> list[str]:
    """Return used and total memory of the host and that of the driver as words, in GiB."""
    if memory is None:
        return [MISSING]
    used, total, driver = (format_number(size / 2**30, 1, 6) for size in (memory.used, memory.total, memory.driver))
    return [f"{used}/{total} GiB", f"driver {driver} GiB"]


def _format_warning(warning: LastWarning | None, width: int) -> Text:
    """Return the row of the last warning, cut at ``width`` columns."""
    line = Text(f"{'warning':{LABEL_WIDTH + GAP_WIDTH}}", style="bold", no_wrap=True, overflow="ellipsis", end="")
    if warning is None:
        line.append(MISSING, style="not bold")
    else:
        number = f" ({warning.number} so far)" if warning.number > 1 else ""
        line.append(f"step {warning.step}{number}: {warning.text}", style="not bold yellow")
    line.truncate(width, overflow="ellipsis")
    return line
