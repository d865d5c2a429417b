"""Choice of the completions whose texts a report contains, so that its size is bounded whatever the run.

In this order, as far as the bytes allow: all completions of the newest steps, the first, the best and of every k-th
step; groups with signal of the other steps, newest first; then all completions of these steps as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["all", "signal", "none"]

NEWEST_STEPS = 3
SPREAD_STEPS = 20
"""About this many steps, evenly spread over the run, are shown completely."""
GUESSED_BYTES_PER_ROW = 3000.0
"""Size of a completion's texts in a report before any was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSize:
    """Size of a step, and of its texts if they are in the report already.

    Attributes:
        rows: number of completions.
        signal_rows: completions of groups with different rewards.
        level: texts that are in the report.
        text_bytes: their size.
    """

    step: int
    rows: int
    signal_rows: int
    level: Level
    text_bytes: int

    def count_rows(self, level: Level) -> int:
        """Return the number of completions whose texts belong to ``level``."""
        return {"all": self.rows, "signal": self.signal_rows, "none": 0}[level]


def list_wishes(steps: Sequence[int], best: int | None) -> Iterator[tuple[int, Level]]:
    """Yield (step, level), most important first; a step comes again with a higher level.

    Args:
        steps: all steps with rollouts, ascending.
        best: step of the best checkpoint; None if there is none.
    """
    stride = max(1, round(len(steps) / SPREAD_STEPS))
    important = [*reversed(steps[-NEWEST_STEPS:]), *steps[:1], *([best] if best in steps else [])]
    important += [step for step in reversed(steps) if step % stride == 0]
    first = dict.fromkeys(step for step in important if step is not None)
    for step in first:
        yield step, "all"
    others = [step for step in reversed(steps) if step not in first]
    for step in others:
        yield step, "signal"
    for step in others:
        yield step, "all"


def choose_levels(sizes: Sequence[StepSize], best: int | None, budget: int) -> dict[int, Level]:
    """Choose the level of each step so that the estimated size of all texts is at most ``budget`` bytes.

    Args:
        sizes: sizes of all steps in step order.
        best: step of the best checkpoint; None if there is none.
        budget: bytes for texts.
    """
    by_step = {size.step: size for size in sizes}
    bytes_per_row = _estimate_bytes_per_row(sizes)
    levels: dict[int, Level] = dict.fromkeys(by_step, "none")
    used = 0.0
    for step, level in list_wishes(list(by_step), best):
        size = by_step[step]
        added = _estimate(size, level, bytes_per_row) - _estimate(size, levels[step], bytes_per_row)
        if used + added <= budget:
            levels[step] = level
            used += added
    return levels


def _estimate_bytes_per_row(sizes: Sequence[StepSize]) -> float:
    rows = sum(size.count_rows(size.level) for size in sizes)
    return sum(size.text_bytes for size in sizes) / rows if rows else GUESSED_BYTES_PER_ROW


def _estimate(size: StepSize, level: Level, bytes_per_row: float) -> float:
    return size.text_bytes if level == size.level else size.count_rows(level) * bytes_per_row


def count_levels(levels: Mapping[int, Level]) -> dict[Level, int]:
    """Return the number of steps at each level."""
    values = list(levels.values())
    return {"all": values.count("all"), "signal": values.count("signal"), "none": values.count("none")}
