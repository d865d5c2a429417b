"""Split of each step's wall time into parts that add up to it, for a stacked chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from launch.run_report.run_files import MetricsRow

STEP = "timing_s/step"
UNACCOUNTED = "timing_s/unaccounted"
EVALUATION = "timing_s/testing"
STEP_PARTS = (
    ("generation", "timing_s/gen"),
    ("waiting for rewards", "timing_s/reward"),
    ("old log-probs", "timing_s/old_log_prob"),
    ("update", "timing_s/update_actor"),
    ("waiting for completions in flight", "timing_s/wait/drain"),
    ("waiting for the learner", "timing_s/wait/learner"),
    ("weight transfer", "timing_s/update_weights"),
    ("bookkeeping", "timing_s/bookkeeping"),
)
"""Names and metrics of the parts of a step, in the order of the step (``launch.training.metrics.timing_metrics``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimePart:
    """Seconds of a part of the run, step by step.

    Attributes:
        name: name of the part.
        metric: its metric.
        in_step: True if the part counts towards ``timing_s/step``; evaluations take place between steps.
        seconds: seconds for each row; None where they are unknown.
    """

    name: str
    metric: str
    in_step: bool
    seconds: tuple[float | None, ...]


def split_step_time(rows: Sequence[MetricsRow]) -> tuple[TimePart, ...]:
    """Split the wall time of every row into parts; those with ``in_step`` add up to ``timing_s/step``.

    The unaccounted time is what the known parts leave of the step, so that the sum also holds for rows of versions that
    lacked a part. Like the wait for the learner it can be slightly negative, since clocks of two processes are
    compared. A part that no row has is omitted.
    """
    parts = [
        TimePart(name=name, metric=metric, in_step=True, seconds=_read_seconds(rows, metric))
        for name, metric in STEP_PARTS
    ]
    rest = TimePart(
        name="unaccounted",
        metric=UNACCOUNTED,
        in_step=True,
        seconds=tuple(
            None if whole is None else whole - sum(part.seconds[place] or 0.0 for part in parts)
            for place, whole in enumerate(_read_seconds(rows, STEP))
        ),
    )
    evaluation = TimePart(name="evaluation", metric=EVALUATION, in_step=False, seconds=_read_seconds(rows, EVALUATION))
    return tuple(part for part in (*parts, rest, evaluation) if any(value is not None for value in part.seconds))


def _read_seconds(rows: Sequence[MetricsRow], metric: str) -> tuple[float | None, ...]:
    return tuple(row[metric] if math.isfinite(row.get(metric, math.nan)) else None for row in rows)
