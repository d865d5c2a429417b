"""Charts of a run as data: what is drawn, with which names and units. ``assets/charts.js`` draws them with Plotly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluator.pass_at_k import Estimate
from launch.run_report.evaluations import EvaluationHistory, EvaluationPoint
from launch.run_report.metric_bands import MAX_POINTS
from launch.run_report.run_files import MetricsRow, RunFiles, convert_to_number
from launch.run_report.step_pages import Json, round_figure

SHARE_LIMITS = (-0.02, 1.02)
"""Vertical range of shares and scores, with room for lines at both ends."""

MAXIMUM_ENDS = ("/max", "_max")
TEMPERATURE = "temperature/value"

Kind = Literal["line", "points", "area"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A series of a chart.

    Attributes:
        x: steps.
        y: values; None where unknown, which leaves a gap.
        low: lower ends of the band around the series; None without a band.
        high: upper ends of the band.
        kind: "area" series of a chart are stacked.
        second_axis: the values belong to the axis on the right.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    kind: Kind = "line"
    second_axis: bool = False
    dash: bool = False

    @property
    def is_empty(self) -> bool:
        """True if no value is known."""
        return all(value is None for value in self.y)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A vertical line with a label, for example a change of the temperature."""

    step: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        caption: what a reader looks for in it.
        unit: label of the vertical axis.
        metrics: names of the metrics in it, for links from findings.
        limits: fixed range of the vertical axis; None for that of the data.
        second_unit: label of the axis on the right.
    """

    id: str
    title: str
    caption: str
    unit: str
    series: tuple[Series, ...]
    metrics: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    limits: tuple[float, float] | None = None
    second_unit: str | None = None
    logarithmic: bool = False

    @property
    def is_empty(self) -> bool:
        """True if no series has a value."""
        return all(series.is_empty for series in self.series)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricLine:
    """A metric in a chart of metrics."""

    name: str
    metric: str
    second_axis: bool = False
    dash: bool = False


def chart_to_json(chart: Chart) -> Json:
    """Return a chart as the JSON value that ``assets/charts.js`` draws."""
    return {
        "id": chart.id,
        "title": chart.title,
        "unit": chart.unit,
        "second_unit": chart.second_unit,
        "limits": chart.limits,
        "logarithmic": chart.logarithmic,
        "marks": [{"step": mark.step, "label": mark.label} for mark in chart.marks],
        "series": [_series_to_json(series) for series in chart.series if not series.is_empty],
    }


def _series_to_json(series: Series) -> Json:
    return {
        "name": series.name,
        "kind": series.kind,
        "second_axis": series.second_axis,
        "dash": series.dash,
        "x": list(series.x),
        "y": [round_figure(value) for value in series.y],
        **({} if series.low is None else {"low": [round_figure(value) for value in series.low]}),
        **({} if series.high is None else {"high": [round_figure(value) for value in series.high]}),
    }


def thin_rows(rows: Sequence[MetricsRow], limit: int = MAX_POINTS) -> tuple[int, list[MetricsRow]]:
    """Combine rows of neighbouring steps so that at most ``limit`` are left.

    A metric is the mean of the rows, except for maxima (names that end in ``/max`` or ``_max``), of which it is the
    largest value, and the temperature, of which it is the last value: a mean over two stages is none of both.

    Returns:
        The number of steps in a row, and the rows, each with the step in the middle.
    """
    size = -(-len(rows) // limit)
    if size <= 1:
        return 1, list(rows)
    return size, [_combine(rows[start : start + size]) for start in range(0, len(rows), size)]


def _combine(rows: Sequence[MetricsRow]) -> MetricsRow:
    """Combine the finite values of each metric; one without any is left out."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if math.isfinite(value):
                values.setdefault(name, []).append(value)
    return {name: _combine_values(name, numbers) for name, numbers in values.items()}


def _combine_values(name: str, values: Sequence[float]) -> float:
    if name.endswith(MAXIMUM_ENDS):
        return max(values)
    if name == TEMPERATURE:
        return values[-1]
    with np.errstate(over="ignore"):
        return float(np.mean(values))


def make_metric_chart(
    rows: Sequence[MetricsRow],
    lines: Sequence[MetricLine],
    *,
    id: str,
    title: str,
    caption: str,
    unit: str,
    second_unit: str | None = None,
    limits: tuple[float, float] | None = None,
    marks: Sequence[Mark] = (),
    logarithmic: bool = False,
) -> Chart:
    """Return a chart of metrics over the steps; steps without a metric leave a gap."""
    series = [
        Series(
            name=line.name,
            x=[row["step"] for row in rows],
            y=[row.get(line.metric) for row in rows],
            second_axis=line.second_axis,
            dash=line.dash,
        )
        for line in lines
    ]
    return Chart(
        id=id,
        title=title,
        caption=caption,
        unit=unit,
        second_unit=second_unit,
        series=tuple(series),
        metrics=tuple(line.metric for line in lines),
        marks=tuple(marks),
        limits=limits,
        logarithmic=logarithmic,
    )


def make_score_chart(
    history: EvaluationHistory,
    part: str,
    get_score: Callable[[EvaluationPoint], Estimate],
    *,
    id: str,
    title: str,
    caption: str,
) -> Chart:
    """Return a chart of a score of the evaluations at every temperature, with its interval as a band."""
    series = []
    for temperature in history.answers:
        points = history.select(part, temperature)
        scores = [get_score(point) for point in points]
        series.append(
            Series(
                name=f"T {temperature:g}",
                x=[point.step for point in points],
                y=[score.mean for score in scores],
                low=[score.low for score in scores],
                high=[score.high for score in scores],
            )
        )
    return Chart(id=id, title=title, caption=caption, unit="", series=tuple(series), limits=SHARE_LIMITS)


def list_temperature_marks(run: RunFiles) -> list[Mark]:
    """Return the changes of the sampling temperature."""
    marks = []
    for decision in run.decisions:
        step = convert_to_number(decision.get("step"))
        old = convert_to_number(decision.get("old"))
        new = convert_to_number(decision.get("new"))
        if step is not None and math.isfinite(step) and old is not None and new is not None and new != old:
            marks.append(Mark(step=step, label=f"T {new:g}"))
    return marks
