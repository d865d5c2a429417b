"""The front page of a report: everything that it says in words and numbers, ready for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluator.pass_at_k import Estimate
from launch.records.gains import Gain
from launch.run_report.charts import Chart
from launch.run_report.evaluations import EvaluationHistory, EvaluationPoint, LearningSoFar
from launch.run_report.health import Finding
from launch.run_report.run_files import MetricsRow, RunFiles
from launch.run_report.step_records import SlowCompletion, StepRecord
from launch.run_report.text_selection import count_levels

ABSENT = "—"
SHOWN_SLOWEST = 10
SHOWN_ROWS = 200
"""Rows of the tables of decisions and of events: the last ones."""
DECISION_KEYS = ("step", "old", "new", "rule", "explanation")
EVENT_KEYS = ("step", "kind", "actor", "cause", "lost", "detail")
TILES: tuple[tuple[str, str, int], ...] = (
    ("reward", "critic/rewards/mean", 3),
    ("diversity D", "diversity/distinct_4", 3),
    ("temperature", "temperature/value", 2),
    ("mean length", "response_length/mean", 1),
    ("truncated", "truncation/rate", 3),
    ("masked", "truncation/masked", 3),
    ("entropy", "actor/entropy", 3),
    ("gradient norm", "actor/grad_norm", 3),
    ("tokens/s", "perf/throughput", 0),
    ("seconds a step", "timing_s/step", 2),
)
"""Label, metric and decimals of the tiles, which show the last step."""


@dataclass(frozen=True)
class Tile:
    """A figure with its label, and a remark; empty if there is none."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GainRow:
    """A row of the table of gains, as text."""

    part: str
    temperature: str
    problems: str
    pass_at_1: str
    pass_at_1_change: str
    k: int
    pass_at_k: str
    pass_at_k_change: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRow:
    """A row of the table of evaluations, as text."""

    step: int
    part: str
    temperature: str
    problems: int
    pass_at_1: str
    k: int
    pass_at_k: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontPage:
    """Content of the front page.

    Attributes:
        progress: number of steps done, as text.
        verdict: verdict with its reasons; None before there are two evaluations.
        subject: policies that the verdict compares.
        findings: what looks wrong, the most severe first.
        decisions: last rows of temperature.jsonl, as text.
        events: last rows of events.jsonl, as text.
        texts: which texts the report contains.
    """

    name: str
    state: str
    progress: str
    verdict: str | None
    subject: str
    tiles: tuple[Tile, ...]
    findings: tuple[Finding, ...]
    gains: tuple[GainRow, ...]
    evaluations: tuple[EvaluationRow, ...]
    charts: tuple[Chart, ...]
    slow_programs: tuple[SlowCompletion, ...]
    slow_generations: tuple[SlowCompletion, ...]
    decisions: tuple[Mapping[str, str], ...]
    events: tuple[Mapping[str, str], ...]
    config: Mapping[str, str]
    environment: Mapping[str, str]
    texts: str
    notes: tuple[str, ...]


def make_front_page(
    run: RunFiles,
    history: EvaluationHistory,
    *,
    charts: Sequence[Chart],
    findings: Sequence[Finding],
    records: Sequence[StepRecord],
    notes: Sequence[str],
) -> FrontPage:
    """Collect the content of the front page."""
    learning = history.learning
    gains = () if learning is None else learning.gains
    return FrontPage(
        name=run.name,
        state=run.state,
        progress=describe_progress(run),
        verdict=None if learning is None else learning.verdict,
        subject="" if learning is None else describe_comparison(learning),
        tiles=make_tiles(run.training_rows),
        findings=tuple(findings),
        gains=tuple(make_gain_row(gain) for gain in gains),
        evaluations=tuple(make_evaluation_row(point) for point in history.points),
        charts=tuple(charts),
        slow_programs=_find_slowest(records, lambda item: item.evaluation_seconds),
        slow_generations=_find_slowest(records, lambda item: item.generation_seconds),
        decisions=_make_table(run.decisions, DECISION_KEYS),
        events=_make_table(run.events, EVENT_KEYS),
        config=run.config.flatten(),
        environment=run.environment.flatten(),
        texts=describe_texts(records),
        notes=(*run.notes, *history.notes, *notes),
    )


def describe_comparison(learning: LearningSoFar) -> str:
    """Return what the verdict compares."""
    part = learning.gains[0].part
    return f"held-out problems “{part}”: policy after {learning.last_step} steps against {learning.first_step}"


def describe_progress(run: RunFiles) -> str:
    """Return how many training steps are done of how many."""
    done = len(run.training_rows)
    steps = run.config.get_number("run.steps")
    return f"{done} of {steps:.0f} steps" if steps is not None else f"{done} steps"


def describe_texts(records: Sequence[StepRecord]) -> str:
    """Return which texts a report contains."""
    if not records:
        return "This run has no rollout files, so there are no texts."
    counts = count_levels({record.step: record.level for record in records})
    if counts["all"] == len(records):
        return f"All texts of all {len(records)} steps are in this report."
    return (
        f"Of {len(records)} steps: all texts of {counts['all']}, texts of the groups with signal of "
        f"{counts['signal']}, figures only of {counts['none']}."
    )


def format_number(value: float | None, decimals: int) -> str:
    """Return a number as text; a dash if it is unknown.

    >>> format_number(None, 2), format_number(0.5, 2), format_number(float("nan"), 2)
    ('—', '0.50', 'nan')
    """
    return ABSENT if value is None else f"{value:,.{decimals}f}"


def format_estimate(value: Estimate) -> str:
    """Return a change with its interval."""
    return f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def format_score(value: Estimate) -> str:
    """Return a score with its interval."""
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def make_tiles(rows: Sequence[MetricsRow]) -> tuple[Tile, ...]:
    """Return the figures of the last step, each with the one at the beginning."""
    last = rows[-1] if rows else {}
    first = rows[0] if rows else {}
    return tuple(
        Tile(
            label,
            format_number(last.get(metric), decimals),
            f"at first {format_number(first.get(metric), decimals)}" if len(rows) > 1 else "",
        )
        for label, metric, decimals in TILES
    )


def make_gain_row(gain: Gain) -> GainRow:
    """Format a gain."""
    families = f" in {gain.clusters} families" if gain.clusters < gain.problems else ""
    before, after, change = gain.pass_at_1
    before_k, after_k, change_k = gain.pass_at_k
    return GainRow(
        part=gain.part,
        temperature=f"{gain.temperature:g}",
        problems=f"{gain.problems}{families}",
        pass_at_1=f"{before.mean:.3f} → {after.mean:.3f}",
        pass_at_1_change=format_estimate(change),
        k=gain.k,
        pass_at_k=f"{before_k.mean:.3f} → {after_k.mean:.3f}",
        pass_at_k_change=format_estimate(change_k),
    )


def make_evaluation_row(point: EvaluationPoint) -> EvaluationRow:
    """Format the scores of an evaluation."""
    return EvaluationRow(
        step=point.step,
        part=point.part,
        temperature=f"{point.temperature:g}",
        problems=point.problems,
        pass_at_1=format_score(point.pass_at_1),
        k=point.k,
        pass_at_k=format_score(point.pass_at_k),
    )


def _make_table(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> tuple[Mapping[str, str], ...]:
    """Return the last rows of a file as text; a dash is a value that is missing, as in files of an older version."""
    return tuple({key: ABSENT if row.get(key) is None else str(row[key]) for key in keys} for row in rows[-SHOWN_ROWS:])


def _find_slowest(records: Sequence[StepRecord], seconds: Any) -> tuple[SlowCompletion, ...]:
    slow = [completion for record in records for completion in record.slow if seconds(completion) is not None]
    return tuple(sorted(slow, key=seconds, reverse=True)[:SHOWN_SLOWEST])
