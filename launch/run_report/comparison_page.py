"""Pages that compare runs: the same charts for all, seeds of a setting as mean and band, differences with intervals."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluator.pass_at_k import Estimate
from launch.records.gains import format_change, format_score
from launch.run_report.build import STYLES, load_templates
from launch.run_report.charts import SHARE_LIMITS, Chart, Series, chart_to_json
from launch.run_report.comparison import (
    ComparisonTable,
    EvaluationComparison,
    LastScores,
    Score,
    SettingScores,
    compare_settings,
)
from launch.run_report.evaluations import EvaluationHistory, EvaluationPoint, read_evaluations
from launch.run_report.front_page import ABSENT
from launch.run_report.metric_bands import make_band
from launch.run_report.report_folder import open_report_folder
from launch.run_report.run_files import read_run_files
from launch.run_report.run_settings import DifferingKey, Setting, differing_keys, group_by_setting

SCRIPTS = ("data.js", "elements.js", "charts.js", "comparison.js")
METRICS: tuple[tuple[str, str, str], ...] = (
    ("critic/rewards/mean", "Mean reward", ""),
    ("group/none_solved", "Groups that no completion solved", "share of groups"),
    ("diversity/distinct_4", "Diversity D", "D"),
    ("temperature/value", "Temperature", ""),
    ("response_length/mean", "Response length", "tokens"),
    ("truncation/rate", "Truncated completions", "share of completions"),
    ("truncation/masked", "Masked completions", "share of completions"),
    ("actor/entropy", "Entropy", "nats"),
    ("actor/pg_clipfrac_higher", "Tokens clipped from above", "share of tokens"),
    ("mismatch/kl", "Sampler against learner", "KL, nats"),
    ("actor/grad_norm", "Gradient norm", "norm"),
    ("perf/throughput", "Throughput", "tokens/s"),
    ("timing_s/step", "Seconds a step", "seconds"),
)
"""Metric, title and unit of the charts."""

PointsByStep = Mapping[int, Sequence[EvaluationPoint]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """A row of the table of differences, as text.

    Attributes:
        evaluation: "compared", or "own last" for the last evaluation of a setting, which is not compared.
    """

    temperature: str
    part: str
    step: str
    evaluation: str
    setting: str
    seeds: int
    pass_at_1: str
    pass_at_1_change: str
    k: int
    pass_at_k: str
    pass_at_k_change: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardRow:
    """A row of the table of training rewards, as text."""

    setting: str
    mean: str
    spread: str
    change: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonPage:
    """Content of the page.

    Attributes:
        runs: labels of the settings with the names and states of their runs.
        keys: keys of the configuration that differ.
        reward_steps: the steps whose rewards are compared; None without rewards.
    """

    labels: tuple[str, ...]
    runs: tuple[tuple[str, str], ...]
    scores: tuple[ScoreRow, ...]
    notes: tuple[str, ...]
    rewards: tuple[RewardRow, ...]
    reward_steps: str | None
    keys: tuple[DifferingKey, ...]
    charts: tuple[Chart, ...]


def build_comparison(paths: Sequence[Path], output: Path) -> Path:
    """Write the comparison of runs; return the path of its page.

    Args:
        paths: run directories; nothing in them is changed.
        output: folder of the comparison.

    Raises:
        RunDirectoryError: the comparison cannot be written to ``output``.
    """
    runs = [read_run_files(path) for path in paths]
    settings = group_by_setting(runs)
    histories = {run.path: read_evaluations(run) for run in runs}
    table = compare_settings(settings, histories)
    page = ComparisonPage(
        labels=table.labels,
        runs=tuple(
            (setting.label, ", ".join(f"{run.name} ({run.state})" for run in setting.runs)) for setting in settings
        ),
        scores=_make_score_rows(table),
        notes=tuple(dict.fromkeys(note for comparison in table.evaluations for note in comparison.notes)),
        rewards=_make_reward_rows(table),
        reward_steps=None
        if table.rewards is None
        else f"steps {table.rewards.first_step} to {table.rewards.last_step}",
        keys=differing_keys(settings),
        charts=tuple(_make_charts(settings, histories)),
    )
    written = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    html = (
        load_templates()
        .get_template("comparison.html.j2")
        .render(page=page, title=f"{len(runs)} runs compared", written=written)
    )
    with open_report_folder(output) as folder:
        folder.copy_assets((*SCRIPTS, *STYLES))
        folder.write_data("front", {"charts": [chart_to_json(chart) for chart in page.charts], "steps": []})
        folder.write("index.html", html.encode("utf-8", "backslashreplace"))
        folder.remove_data(("front",))
    return output / "index.html"


def _make_score_rows(table: ComparisonTable) -> tuple[ScoreRow, ...]:
    """Return the compared scores of each temperature and part, and after them each setting's own last ones."""
    rows: list[ScoreRow] = []
    for comparison in table.evaluations:
        rows += [
            _make_compared_row(comparison, label, scores)
            for label, scores in zip(table.labels, comparison.scores, strict=True)
            if scores is not None
        ]
        rows += [
            _make_last_row(comparison, label, last)
            for label, last in zip(table.labels, comparison.last, strict=True)
            if last is not None
        ]
    return tuple(rows)


def _make_compared_row(comparison: EvaluationComparison, label: str, scores: SettingScores) -> ScoreRow:
    return ScoreRow(
        temperature=f"{comparison.temperature:g}",
        part=comparison.part,
        step=ABSENT if comparison.step is None else str(comparison.step),
        evaluation="compared",
        setting=label,
        seeds=len(scores.runs),
        pass_at_1=format_score(scores.pass_at_1.estimate),
        pass_at_1_change=_format_change(scores.pass_at_1),
        k=comparison.k,
        pass_at_k=format_score(scores.pass_at_k.estimate),
        pass_at_k_change=_format_change(scores.pass_at_k),
    )


def _make_last_row(comparison: EvaluationComparison, label: str, last: LastScores) -> ScoreRow:
    """Return a row without differences: evaluations after other numbers of steps are not compared."""
    return ScoreRow(
        temperature=f"{comparison.temperature:g}",
        part=comparison.part,
        step=str(last.step),
        evaluation="own last",
        setting=label,
        seeds=len(last.runs),
        pass_at_1=format_score(last.pass_at_1),
        pass_at_1_change=ABSENT,
        k=last.k,
        pass_at_k=format_score(last.pass_at_k),
        pass_at_k_change=ABSENT,
    )


def _format_change(score: Score) -> str:
    """Format the difference from the first setting, over seeds and problems if there are enough seeds."""
    if score.difference_over_seeds is not None:
        return f"{format_change(score.difference_over_seeds)} over seeds and problems"
    return ABSENT if score.difference is None else f"{format_change(score.difference)} over problems"


def _make_reward_rows(table: ComparisonTable) -> tuple[RewardRow, ...]:
    if table.rewards is None:
        return ()
    return tuple(
        RewardRow(
            setting=label,
            mean=f"{reward.mean:.3f}",
            spread=ABSENT if reward.spread is None else f"{reward.spread[0]:.3f} to {reward.spread[1]:.3f}",
            change=ABSENT if reward.difference is None else f"{reward.difference:+.3f}",
        )
        for label, reward in zip(table.labels, table.rewards.rewards, strict=True)
        if reward is not None
    )


def _make_charts(settings: Sequence[Setting], histories: Mapping[Path, EvaluationHistory]) -> list[Chart]:
    charts = [*_make_score_charts(settings, histories), *(_make_metric_chart(settings, *item) for item in METRICS)]
    return [chart for chart in charts if not chart.is_empty]


def _make_metric_chart(settings: Sequence[Setting], metric: str, title: str, unit: str) -> Chart:
    series = []
    for setting in settings:
        band = make_band(setting.runs, metric)
        series.append(Series(name=setting.label, x=band.steps, y=band.mean, low=band.low, high=band.high))
    return Chart(id=metric.replace("/", "-"), title=title, caption="", unit=unit, series=tuple(series))


def _make_score_charts(settings: Sequence[Setting], histories: Mapping[Path, EvaluationHistory]) -> list[Chart]:
    """Return charts of pass@1 and pass@k for each temperature, on the part of the problems that a verdict is about."""
    parts = [history.parts[0] for history in histories.values() if history.parts]
    temperatures = dict.fromkeys(temperature for history in histories.values() for temperature in history.answers)
    charts = []
    for place, temperature in enumerate(temperatures):
        by_setting = [_collect_points(setting, histories, parts[0], temperature) for setting in settings]
        numbers = {point.k for by_step in by_setting for points in by_step.values() for point in points}
        subject = f"at T {temperature:g} ({parts[0]})"
        charts.append(
            _make_score_chart(
                f"pass_at_1-{place}", f"Held-out pass@1 {subject}", settings, by_setting, lambda point: point.pass_at_1
            )
        )
        if max(numbers, default=1) > 1:
            # Scores of different k are not comparable, so the title names all of them.
            k = "/".join(str(number) for number in sorted(numbers))
            charts.append(
                _make_score_chart(
                    f"pass_at_k-{place}",
                    f"Held-out pass@{k} {subject}",
                    settings,
                    by_setting,
                    lambda point: point.pass_at_k,
                )
            )
    return charts


def _collect_points(
    setting: Setting, histories: Mapping[Path, EvaluationHistory], part: str, temperature: float
) -> PointsByStep:
    by_step: dict[int, list[EvaluationPoint]] = {}
    for run in setting.runs:
        for point in histories[run.path].select(part, temperature):
            by_step.setdefault(point.step, []).append(point)
    return dict(sorted(by_step.items()))


def _make_score_chart(
    name: str,
    title: str,
    settings: Sequence[Setting],
    by_setting: Sequence[PointsByStep],
    get_score: Callable[[EvaluationPoint], Estimate],
) -> Chart:
    series = [
        _make_score_series(setting, {step: [get_score(point) for point in points] for step, points in by_step.items()})
        for setting, by_step in zip(settings, by_setting, strict=True)
    ]
    return Chart(id=name, title=title, caption="", unit="", series=tuple(series), limits=SHARE_LIMITS)


def _make_score_series(setting: Setting, by_step: Mapping[int, Sequence[Estimate]]) -> Series:
    """Return a score of a setting: of one run with its interval over problems, of several with their range."""
    means = {step: [score.mean for score in scores] for step, scores in by_step.items()}
    is_single = len(setting.runs) == 1
    return Series(
        name=setting.label,
        x=list(by_step),
        y=[float(np.mean(each)) for each in means.values()],
        low=[scores[0].low if is_single else min(means[step]) for step, scores in by_step.items()],
        high=[scores[0].high if is_single else max(means[step]) for step, scores in by_step.items()],
    )
