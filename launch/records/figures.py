"""Figures of training steps as short text: the line of a step, averages over steps, durations.

A value that is missing in a row is shown as ``MISSING``, never as 0. The width of every text is limited, whatever the
values are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MISSING = "—"
LINE_WIDTH = 100
"""Columns that the line of a step never exceeds."""
GAP = "  "
MAX_DAYS = 9999


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """Metric of a step, as it is shown.

    Attributes:
        key: name of the metric in a row.
        label: text before the value.
        unit: text after the value.
        digits: decimal places, fewer where the value would exceed ``width``.
        width: columns of the value.
    """

    key: str
    label: str = ""
    unit: str = ""
    digits: int
    width: int

    def format(self, row: Mapping[str, float], *, aligned: bool) -> str:
        """Return label, value and unit; ``aligned`` pads the value to its width, for lines below each other."""
        value = format_number(row.get(self.key), self.digits, self.width)
        words = (self.label, value.rjust(self.width) if aligned else value, self.unit)
        return " ".join(word for word in words if word)


STEP = Figure(key="step", label="step", digits=0, width=4)
REWARD = Figure(key="critic/rewards/mean", label="reward", digits=3, width=5)
DIVERSITY = Figure(key="diversity/distinct_4", label="D", digits=2, width=4)
LENGTH = Figure(key="response_length/mean", label="length", digits=1, width=5)
TRUNCATED = Figure(key="truncation/rate", label="trunc", digits=3, width=5)
SECONDS = Figure(key="timing_s/step", unit="s", digits=1, width=4)
SECONDS_PER_STEP = Figure(key="timing_s/step", unit="s/step", digits=1, width=4)
THROUGHPUT = Figure(key="perf/throughput", unit="tok/s", digits=0, width=5)
ENTROPY = Figure(key="actor/entropy", label="entropy", digits=3, width=5)
STEP_LINE = (STEP, REWARD, DIVERSITY, LENGTH, TRUNCATED, SECONDS, THROUGHPUT, ENTROPY)
"""Figures of the line of a step, the most important ones first; the first seven fit into 79 columns."""


def format_step(row: Mapping[str, float], width: int = LINE_WIDTH) -> str:
    """Return the line of a step, given its metrics: as many figures as fit."""
    return join_fitting((figure.format(row, aligned=True) for figure in STEP_LINE), min(width, LINE_WIDTH))


def join_fitting(texts: Iterable[str], width: int) -> str:
    """Join the first ``texts``, as many as fit into ``width`` columns; the first one is cut if it is too long."""
    line = ""
    for text in texts:
        longer = f"{line}{GAP}{text}" if line else text[:width]
        if len(longer) > width:
            break
        line = longer
    return line


def average_rows(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the rows that have it."""
    keys = {key for row in rows for key in row}
    values = {key: [row[key] for row in rows if key in row] for key in keys}
    # Not math.fsum, which raises OverflowError instead of returning inf.
    return {key: sum(column) / len(column) for key, column in values.items()}


def format_number(value: float | None, digits: int, width: int) -> str:
    """Format a number with as many of ``digits`` decimal places as fit into ``width`` columns.

    A number that does not fit without decimal places is written with an exponent, in seven columns at most.
    """
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return str(float(value))
    for places in range(digits, -1, -1):
        text = f"{value:z.{places}f}"
        if len(text) <= width:
            return text
    return f"{value:.0e}"


def format_duration(seconds: float | None) -> str:
    """Format seconds as "12 s", "12:03" (minutes), "2:12:03" (hours) or "3 d 04:12"."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    whole = round(max(0.0, seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes = rest // 60
    if days > MAX_DAYS:
        return f"over {MAX_DAYS} d"
    if days:
        return f"{days} d {hours:02}:{minutes:02}"
    if hours:
        return f"{hours}:{minutes:02}:{rest % 60:02}"
    return f"{minutes}:{rest % 60:02}" if minutes else f"{whole} s"
