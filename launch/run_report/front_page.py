"""The front page of a report: everything that it says in words and numbers, ready for the template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from launch.records.gains import Gain, format_change, format_score
from launch.run_report.charts import Chart
from launch.run_report.evaluations import EvaluationHistory, EvaluationPoint, LearningSoFar
from launch.run_report.health import Finding
from launch.run_report.run_files import MetricsRow, RunFiles
from launch.run_report.step_records import SHOWN_SLOWEST, GroupSummary, SlowCompletion, StepRecord
from launch.run_report.text_selection import count_levels

ABSENT = "—"
SHOWN_ROWS = 200
"""Rows of the tables of decisions and of events: the last ones."""
SHOWN_EVALUATIONS = 400
"""Rows of the table of evaluations: the newest."""
SHOWN_NOTES = 50
CELL_CHARACTERS = 2_000
"""Characters of a longer text that are shown in a cell, a finding or a note."""
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
class SlowProblemRow:
    """A row of the table of the problems whose programs took longest to judge, as text; ``link`` is its page."""

    question_id: str
    link: str
    programs: int
    total_seconds: str
    mean_seconds: str
    longest_seconds: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontPage:
    """Content of the front page.

    Attributes:
        quoted_path: absolute path of the run, quoted for a shell.
        progress: number of steps done, as text.
        verdict: verdict with its reasons; None before there are two evaluations.
        subject: policies that the verdict compares.
        findings: what looks wrong, the most severe first.
        decisions: last rows of temperature.jsonl, as text.
        events: last rows of events.jsonl, as text.
        texts: which texts the report contains.
    """

    name: str
    quoted_path: str
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
    slow_problems: tuple[SlowProblemRow, ...]
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
        quoted_path=shlex.quote(str(run.path.resolve())),
        state=run.state,
        progress=describe_progress(run),
        verdict=None if learning is None else learning.verdict,
        subject="" if learning is None else describe_comparison(learning),
        tiles=make_tiles(run.training_rows),
        findings=tuple(
            replace(finding, text=shorten_cell(finding.text), advice=shorten_cell(finding.advice))
            for finding in findings
        ),
        gains=tuple(make_gain_row(gain) for gain in gains),
        evaluations=tuple(make_evaluation_row(point) for point in _choose_newest(history)),
        charts=tuple(charts),
        slow_programs=_find_slowest(records, lambda item: item.evaluation_seconds),
        slow_problems=find_slow_problems(records),
        slow_generations=_find_slowest(records, lambda item: item.generation_seconds),
        decisions=_make_table(run.decisions, DECISION_KEYS),
        events=_make_table(run.events, EVENT_KEYS),
        config=_shorten_values(run.config.flatten()),
        environment=_shorten_values(run.environment.flatten()),
        texts=describe_texts(records),
        notes=_shorten_notes((*_note_evaluations(history), *run.notes, *history.notes, *notes)),
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


def shorten_cell(text: str) -> str:
    """Shorten a long text to its start.

    >>> shorten_cell("a" * 2007)[-24:]
    'aaa… 7 more characters'
    """
    left_out = len(text) - CELL_CHARACTERS
    return text if left_out <= 0 else f"{text[:CELL_CHARACTERS]}… {left_out} more characters"


def _shorten_values(values: Mapping[str, str]) -> Mapping[str, str]:
    return {shorten_cell(key): shorten_cell(value) for key, value in values.items()}


def _shorten_notes(notes: Sequence[str]) -> tuple[str, ...]:
    more = len(notes) - SHOWN_NOTES
    return (*map(shorten_cell, notes[:SHOWN_NOTES]), *([f"and {more} more"] if more > 0 else []))


def _choose_newest(history: EvaluationHistory) -> Sequence[EvaluationPoint]:
    """Return the points of the newest evaluations, in their order."""
    return history.points[-SHOWN_EVALUATIONS:]


def _note_evaluations(history: EvaluationHistory) -> list[str]:
    count = len(history.points)
    if count <= SHOWN_EVALUATIONS:
        return []
    return [f"the table of evaluations has the newest {SHOWN_EVALUATIONS} of its {count} rows"]


def format_number(value: float | None, decimals: int) -> str:
    """Return a number as text; a dash if it is unknown.

    >>> format_number(None, 2), format_number(0.5, 2), format_number(float("nan"), 2)
    ('—', '0.50', 'nan')
    """
    return ABSENT if value is None else f"{value:,.{decimals}f}"


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
        pass_at_1_change=format_change(change),
        k=gain.k,
        pass_at_k=f"{before_k.mean:.3f} → {after_k.mean:.3f}",
        pass_at_k_change=format_change(change_k),
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
    return tuple(
        {key: ABSENT if row.get(key) is None else shorten_cell(str(row[key])) for key in keys}
        for row in rows[-SHOWN_ROWS:]
    )


def find_slow_problems(records: Sequence[StepRecord]) -> tuple[SlowProblemRow, ...]:
    """Return the problems whose programs took longest to judge, all together, over the steps in the report."""
    problems: dict[str, list[GroupSummary]] = {}
    for record in records:
        for group in record.groups:
            if group.judging_seconds is not None:
                problems.setdefault(group.question_id, []).append(group)
    totals = {name: sum(group.judging_seconds or 0.0 for group in groups) for name, groups in problems.items()}
    slowest = sorted(totals, key=lambda name: -totals[name])[:SHOWN_SLOWEST]
    return tuple(_make_slow_problem(name, problems[name], totals[name]) for name in slowest)


def _make_slow_problem(question_id: str, groups: Sequence[GroupSummary], total: float) -> SlowProblemRow:
    programs = sum(group.timed for group in groups)
    return SlowProblemRow(
        question_id=question_id,
        link=f"#/problem/{quote(question_id, safe='', errors='replace')}",
        programs=programs,
        total_seconds=format_number(total, 1),
        mean_seconds=format_number(total / programs, 2),
        longest_seconds=format_number(max(group.longest_judging_seconds or 0.0 for group in groups), 2),
    )


def _find_slowest(records: Sequence[StepRecord], seconds: Any) -> tuple[SlowCompletion, ...]:
    slow = [completion for record in records for completion in record.slow if seconds(completion) is not None]
    return tuple(sorted(slow, key=seconds, reverse=True)[:SHOWN_SLOWEST])
