"""Choice of the completions whose texts a report contains, so that its size is bounded whatever the run.

In this order, as far as the bytes allow: all completions of the newest steps, the first, the best and of evenly spread
steps; groups with signal of the other steps, newest first; then all completions of these steps as well.

Texts that were written once have a known size, others are estimated. So when all chosen texts are written, the choice
is final: a build without new rollouts makes it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["all", "signal", "none"]

NEWEST_STEPS = 3
SPREAD_STEPS = 20
"""At least this many steps, evenly spread over a long run, are shown completely; fewer than twice as many."""
GUESSED_BYTES_PER_ROW = 3000.0
"""Size of a completion's texts in a report before any was written."""
INDEX_BYTES = 70
"""Size of a step's list of the files of texts, also if there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSize:
    """Size of a step, and of its texts as far as it is known.

    Attributes:
        rows: number of completions.
        signal_rows: completions of groups with different rewards.
        all_bytes: size of the texts of all completions; None if they were never written.
        signal_bytes: size of the texts of the groups with signal; None if they were never written.
    """

    step: int
    rows: int
    signal_rows: int
    all_bytes: int | None = None
    signal_bytes: int | None = None

    def estimate(self, level: Level, bytes_per_row: float) -> float:
        """Return the size of the texts of ``level``, estimated if it is unknown."""
        if level == "none":
            return 0.0
        if level == "all":
            if self.all_bytes is not None:
                return self.all_bytes
            known = self.signal_bytes or self.signal_rows * bytes_per_row
            return known + (self.rows - self.signal_rows) * bytes_per_row
        if self.signal_bytes is not None:
            return self.signal_bytes
        if self.all_bytes is not None:
            return INDEX_BYTES + self.all_bytes * self.signal_rows / max(1, self.rows)
        return INDEX_BYTES + self.signal_rows * bytes_per_row


def list_wishes(steps: Sequence[int], best: int | None) -> Iterator[tuple[int, Level]]:
    """Yield (step, level), most important first; a step comes again with a higher level.

    Args:
        steps: all steps with rollouts, ascending.
        best: step of the best checkpoint; None if there is none.
    """
    if not steps:
        return
    # A power of two, so that the steps stay the same while the run goes on, until every second one is dropped.
    spread = (steps[-1] - steps[0] + 1) // SPREAD_STEPS
    stride = 1 << max(0, spread.bit_length() - 1)
    important = [*reversed(steps[-NEWEST_STEPS:]), steps[0], *(step for step in steps if step == best)]
    important += [step for step in reversed(steps) if step % stride == 0]
    first = dict.fromkeys(important)
    for step in first:
        yield step, "all"
    others = [step for step in reversed(steps) if step not in first]
    for step in others:
        yield step, "signal"
    for step in others:
        yield step, "all"


def choose_levels(sizes: Sequence[StepSize], best: int | None, budget: int) -> dict[int, Level]:
    """Choose the level of each step so that all texts together have at most ``budget`` bytes, as far as is known.

    Args:
        sizes: sizes of all steps in step order.
        best: step of the best checkpoint; None if there is none.
        budget: bytes for texts.

    Returns:
        Levels by step, the most important step first.
    """
    by_step = {size.step: size for size in sizes}
    bytes_per_row = _estimate_bytes_per_row(sizes)
    levels: dict[int, Level] = {}
    used = 0.0
    for step, level in list_wishes(list(by_step), best):
        size = by_step[step]
        added = size.estimate(level, bytes_per_row) - size.estimate(levels.setdefault(step, "none"), bytes_per_row)
        if used + added <= budget:
            levels[step] = level
            used += added
    return levels


def _estimate_bytes_per_row(sizes: Sequence[StepSize]) -> float:
    known = [(size.rows, size.all_bytes) for size in sizes if size.all_bytes is not None]
    known += [(size.signal_rows, size.signal_bytes) for size in sizes if size.signal_bytes is not None]
    rows = sum(count for count, _ in known)
    return sum(written for _, written in known) / rows if rows else GUESSED_BYTES_PER_ROW


def count_levels(levels: Mapping[int, Level]) -> dict[Level, int]:
    """Return the number of steps at each level."""
    values = list(levels.values())
    return {"all": values.count("all"), "signal": values.count("signal"), "none": values.count("none")}
