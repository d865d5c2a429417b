"""Rules on sharpening: a policy that repeats its likeliest answers more often, without solving more problems.

answers of two evaluations --> verdict with intervals --> check_verdict
only scores in metrics.jsonl ---------------------------> check_sharpening, point estimates with fixed margins
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launch.records.gains import Gain
from launch.run_report.evaluations import LearningSoFar
from launch.run_report.health.finding import Finding, format_key
from launch.run_report.health.series import Point, read_series
from launch.run_report.run_files import MetricsRow, RecordedSettings

RISE = 0.05
"""Rise of pass@1 that counts as one: above twice the standard error of a difference, about 0.02 with 144 problems of
eight answers."""
NO_RISE = 0.02
"""Rise below which pass@k, or pass@1 at the low temperature, did not rise: within one standard error."""

_SCORE = re.compile(r"evaluation/([^/@]+)(?:@T([0-9.]+))?/all/all/pass@(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreNames:
    """Metrics of the scores that are compared.

    Attributes:
        main: pass@1 at the evaluation's temperature.
        low: pass@1 at the lowest temperature.
        low_temperature: that temperature, as in the name.
        many: pass@k of the largest k at the evaluation's temperature.
        k: that k.
    """

    main: str
    low: str
    low_temperature: str
    many: str
    k: int


def check_verdict(rows: Sequence[MetricsRow], settings: RecordedSettings, learning: LearningSoFar) -> list[Finding]:
    """Check that the verdict on the evaluations is neither "sharper, not better" nor "worse".

    Args:
        rows: rows of metrics.jsonl, for the name of the score.
        settings: content of the run's config.yaml.
        learning: changes between the first evaluation and the last one, and the verdict on them.
    """
    is_worse = learning.verdict.startswith("worse")
    if not is_worse and not learning.verdict.startswith("sharper, not better"):
        return []
    main = learning.gains[0]
    judged = [gain for gain in learning.gains if gain.part == main.part]
    return [
        Finding(
            rule="verdict_worse" if is_worse else "sharpening",
            severity="problem" if is_worse else "warning",
            step=learning.last_step,
            text=f"{learning.verdict} (problems: {main.part}, steps {learning.first_step}-{learning.last_step}; "
            f"{'; '.join(_describe_gain(gain) for gain in judged)})",
            advice=_advise_on_worse(settings) if is_worse else _advise_on_sharpening(settings),
            metric=_find_score_name(rows, main.part),
        )
    ]


def _describe_gain(gain: Gain) -> str:
    scores = {1: gain.pass_at_1[2], gain.k: gain.pass_at_k[2]}
    changes = [f"pass@{k} {change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]" for k, change in scores.items()]
    return f"T {gain.temperature:g}: {', '.join(changes)}"


def _find_score_name(rows: Sequence[MetricsRow], part: str) -> str:
    """Return the metric of pass@1 on a part of the problems at the evaluation's own temperature."""
    name = re.compile(rf"evaluation/[^/@]+/{re.escape(part)}/all/pass@1")
    return next((metric for row in rows for metric in row if name.fullmatch(metric)), "pass@1")


def _advise_on_worse(settings: RecordedSettings) -> str:
    return (
        f"lower {format_key(settings, 'learner.learning_rate')} or set {format_key(settings, 'algorithm.kl_weight')}, "
        "and continue from a checkpoint before the fall; docs/method.md describes the test"
    )


def _advise_on_sharpening(settings: RecordedSettings) -> str:
    return (
        "the policy became sharper without solving more problems: train on more or harder problems "
        f"(dataset.train), raise {format_key(settings, 'temperature.value')}, or set "
        f"{format_key(settings, 'algorithm.kl_weight')}; docs/method.md describes the test"
    )


def check_sharpening(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that a rise of pass@1 comes with a rise of pass@1 at the low temperature or of pass@k."""
    temperature = settings.get_number("evaluation.temperature")
    own = 1.0 if temperature is None else temperature
    names = find_score_names(rows, own)
    return [] if names is None else _compare_scores(rows, settings, names, own)


def find_score_names(rows: Sequence[MetricsRow], own_temperature: float) -> ScoreNames | None:
    """Return the scores of the first evaluated set; None if there is none at a lower temperature, or no pass@k."""
    found = {metric: match for row in rows for metric in row if (match := _SCORE.fullmatch(metric))}
    sets = sorted({match[1] for match in found.values()})
    for name in sets:
        own = {int(match[3]): metric for metric, match in found.items() if match[1] == name and match[2] is None}
        low = {
            float(match[2]): match
            for match in found.values()
            if match[1] == name and _is_number(match[2]) and match[3] == "1" and float(match[2]) < own_temperature
        }
        if low and 1 in own and max(own) > 1:
            lowest = low[min(low)]
            return ScoreNames(main=own[1], low=lowest[0], low_temperature=lowest[2], many=own[max(own)], k=max(own))
    return None


def _is_number(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"\d+(\.\d+)?", text) is not None


def _compare_scores(
    rows: Sequence[MetricsRow], settings: RecordedSettings, names: ScoreNames, own_temperature: float
) -> list[Finding]:
    main = read_series(rows, names.main)
    low = {point.step: point.value for point in read_series(rows, names.low)}
    many = {point.step: point.value for point in read_series(rows, names.many)}
    common = [point for point in main if point.step in low and point.step in many]
    sharper = _find_sharper(common, low, many)
    if not sharper:
        return []
    first = common[0]
    last = common[-1]
    return [
        Finding(
            rule="sharpening",
            severity="warning",
            step=sharper[0].step,
            text=f"pass@1 at T {own_temperature:g} rose from {first.value:.3f} to {last.value:.3f} (steps {first.step}-"
            f"{last.step}), but pass@1 at T {names.low_temperature} went from {low[first.step]:.3f} to "
            f"{low[last.step]:.3f} and pass@{names.k} from {many[first.step]:.3f} to {many[last.step]:.3f}",
            advice=_advise_on_sharpening(settings),
            metric=names.low,
        )
    ]


def _find_sharper(main: Sequence[Point], low: Mapping[int, float], many: Mapping[int, float]) -> list[Point]:
    """Return the last evaluations in a row that are sharper than the first one, without having solved more."""
    sharper: list[Point] = []
    for point in reversed(main[1:]):
        first = main[0]
        rose = point.value - first.value >= RISE
        solved_more = max(low[point.step] - low[first.step], many[point.step] - many[first.step]) >= NO_RISE
        if not rose or solved_more:
            break
        sharper.insert(0, point)
    return sharper
