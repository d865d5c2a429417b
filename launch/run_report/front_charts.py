"""The charts of a report's front page: the dozen curves that tell whether a run is healthy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from launch.run_report.charts import (
    SHARE_LIMITS,
    Chart,
    Mark,
    MetricLine,
    Series,
    list_temperature_marks,
    make_metric_chart,
    make_score_chart,
    thin_rows,
)
from launch.run_report.evaluations import EvaluationHistory
from launch.run_report.run_files import MetricsRow, RunFiles
from launch.run_report.time_split import STEP, split_step_time

REWARD = "critic/rewards/mean"
SHAPED_REWARD = "critic/shaped_rewards/mean"
SMALL_PART = 0.01
"""Share of the time of all steps below which a part is not shown on its own."""


def make_front_charts(run: RunFiles, history: EvaluationHistory) -> list[Chart]:
    """Return the charts that have data, in the order of the page."""
    _, rows = thin_rows(run.training_rows)
    limit = run.config.get_number("generator.max_response_tokens")
    charts = [
        *_make_score_charts(history),
        *_make_reward_charts(rows),
        *_make_sampling_charts(rows, list_temperature_marks(run), limit),
        *_make_update_charts(rows),
        *_make_agreement_charts(rows),
        *_make_system_charts(rows, _sum_evaluation_seconds(run.rows)),
    ]
    return [chart for chart in charts if not chart.is_empty]


def _make_score_charts(history: EvaluationHistory) -> list[Chart]:
    if not history.parts:
        return []
    part = history.parts[0]
    k = min(point.k for point in history.points)
    charts = [
        make_score_chart(
            history,
            part,
            lambda point: point.pass_at_1,
            id="pass_at_1",
            title=f"Held-out pass@1 ({part})",
            caption="A policy that learns rises at every temperature; one that only sharpens rises at the high one. "
            "Bands are 95 % intervals.",
        )
    ]
    if k > 1:
        charts.append(
            make_score_chart(
                history,
                part,
                lambda point: point.pass_at_k,
                id="pass_at_k",
                title=f"Held-out pass@{k} ({part})",
                caption="Falls if the policy forgets ways to solve problems. Bands are 95 % intervals.",
            )
        )
    return charts


def _make_reward_charts(rows: Sequence[MetricsRow]) -> list[Chart]:
    lines = [MetricLine(name="reward", metric=REWARD)]
    if any(row.get(SHAPED_REWARD) != row.get(REWARD) for row in rows):  # equal lines hide each other
        lines.append(MetricLine(name="shaped reward", metric=SHAPED_REWARD, dash=True))
    return [
        make_metric_chart(
            rows,
            lines,
            id="reward",
            title="Mean reward",
            caption="Of all sampled completions; flat at 0 or 1 means that there is nothing to learn from.",
            unit="",
            limits=SHARE_LIMITS,
        ),
        make_metric_chart(
            rows,
            [
                MetricLine(name="all solved", metric="group/all_solved"),
                MetricLine(name="none solved", metric="group/none_solved"),
            ],
            id="groups",
            title="Groups without signal",
            caption="Shares of the groups in which every or no completion passed: only the rest has advantages.",
            unit="share of groups",
            limits=SHARE_LIMITS,
        ),
    ]


def _make_sampling_charts(rows: Sequence[MetricsRow], stages: Sequence[Mark], limit: float | None) -> list[Chart]:
    diversity = make_metric_chart(
        rows,
        [
            MetricLine(name="D", metric="diversity/distinct_4"),
            MetricLine(name="moving average of D", metric="temperature/ema", dash=True),
            MetricLine(name="temperature", metric="temperature/value", second_axis=True),
        ],
        id="diversity",
        title="Diversity D and temperature",
        caption="D is the share of distinct 4-grams in a group. The temperature follows it; marks are its changes.",
        unit="D",
        second_unit="temperature",
        marks=stages,
    )
    length = make_metric_chart(
        rows,
        [
            MetricLine(name="mean", metric="response_length/mean"),
            MetricLine(name="longest", metric="response_length/max", dash=True),
        ],
        id="length",
        title="Response length",
        caption="In tokens, with the length limit of the training.",
        unit="tokens",
    )
    truncation = make_metric_chart(
        rows,
        [
            MetricLine(name="truncated", metric="truncation/rate"),
            MetricLine(name="eligible for the mask", metric="truncation/eligible"),
            MetricLine(name="masked", metric="truncation/masked"),
            MetricLine(name="repetition", metric="truncation/repeat", dash=True),
        ],
        id="truncation",
        title="Truncation and mask",
        caption="Shares of the completions: cut off by the length limit, not incorrect, masked, ending in repetition.",
        unit="share of completions",
    )
    return [diversity, _add_limit(length, rows, limit), truncation]


def _add_limit(chart: Chart, rows: Sequence[MetricsRow], limit: float | None) -> Chart:
    """Add the length limit as a line."""
    if limit is None or chart.is_empty:
        return chart
    line = Series(name="limit", x=[rows[0]["step"], rows[-1]["step"]], y=[limit, limit], dash=True)
    return replace(chart, series=(*chart.series, line))


def _make_update_charts(rows: Sequence[MetricsRow]) -> list[Chart]:
    return [
        make_metric_chart(
            rows,
            [MetricLine(name="entropy", metric="actor/entropy")],
            id="entropy",
            title="Entropy",
            caption="Of the policy over the response tokens, in nats: a collapse ends exploration.",
            unit="nats",
        ),
        make_metric_chart(
            rows,
            [
                MetricLine(name="upper clip", metric="actor/pg_clipfrac_higher"),
                MetricLine(name="lower clip", metric="actor/pg_clipfrac_lower"),
                MetricLine(name="dual clip", metric="actor/pg_clipfrac_dual", dash=True),
            ],
            id="clips",
            title="Clipped tokens",
            caption="Shares of the tokens with an advantage whose importance ratio was clipped.",
            unit="share of tokens",
        ),
        make_metric_chart(
            rows,
            [
                MetricLine(name="gradient norm", metric="actor/grad_norm"),
                MetricLine(name="learning rate", metric="actor/lr", second_axis=True, dash=True),
            ],
            id="gradient",
            title="Gradient norm",
            caption="Before clipping, mean over the updates of a step.",
            unit="norm",
            second_unit="learning rate",
        ),
    ]


def _make_agreement_charts(rows: Sequence[MetricsRow]) -> list[Chart]:
    """Return the charts of how far the sampling policy is from the trained one."""
    return [
        make_metric_chart(
            rows,
            [
                MetricLine(name="KL", metric="mismatch/kl"),
                MetricLine(name="largest ratio", metric="mismatch/ratio_max", second_axis=True),
            ],
            id="mismatch",
            title="Sampler against learner",
            caption="Difference of their log-probs of the same tokens: it grows if the two compute differently.",
            unit="KL, nats",
            second_unit="ratio",
        ),
        make_metric_chart(
            rows,
            [
                MetricLine(name="mean", metric="staleness/mean"),
                MetricLine(name="largest", metric="staleness/max", dash=True),
            ],
            id="staleness",
            title="Staleness",
            caption="Policy versions between the sampling of a token and the update that trains on it.",
            unit="versions",
        ),
    ]


def _sum_evaluation_seconds(rows: Sequence[MetricsRow]) -> float:
    parts = [part for part in split_step_time(rows) if not part.in_step]
    return sum(seconds or 0.0 for part in parts for seconds in part.seconds)


def _make_time_chart(rows: Sequence[MetricsRow], evaluation_seconds: float) -> Chart:
    """Stack the parts of a step; parts below ``SMALL_PART`` are one area, evaluations are only mentioned.

    A step whose time is unknown is a gap. A part that a step lacks is 0: its time is in what is unaccounted for.
    """
    known = [place for place, row in enumerate(rows) if math.isfinite(row.get(STEP, math.nan))]
    parts = [part for part in split_step_time(rows) if part.in_step]
    in_step = {part.name: [part.seconds[place] or 0.0 for place in known] for part in parts}
    whole = sum(map(sum, in_step.values()))
    large = {name: seconds for name, seconds in in_step.items() if sum(seconds) >= SMALL_PART * whole}
    small = {name: seconds for name, seconds in in_step.items() if name not in large and any(seconds)}
    if small:
        large["other"] = [sum(values) for values in zip(*small.values(), strict=True)]
    caption = "Wall seconds of a step by part; \u201cunaccounted\u201d is what the parts leave of the step."
    if small:
        caption += f" Other: {', '.join(small)}."
    if evaluation_seconds:
        caption += f" Evaluations, between steps, took {evaluation_seconds:.0f} s in all."
    return Chart(
        id="time",
        title="Where the time goes",
        caption=caption,
        unit="seconds",
        series=tuple(
            Series(name=name, x=[row["step"] for row in rows], y=_leave_gaps(seconds, known, len(rows)), kind="area")
            for name, seconds in large.items()
        ),
        metrics=("timing_s/step",),
    )


def _leave_gaps(values: Sequence[float], places: Sequence[int], length: int) -> list[float | None]:
    """Return a list of ``length`` with the values at their places, and None elsewhere."""
    spread: list[float | None] = [None] * length
    for place, value in zip(places, values, strict=True):
        spread[place] = value
    return spread


def _make_system_charts(rows: Sequence[MetricsRow], evaluation_seconds: float) -> list[Chart]:
    return [
        _make_time_chart(rows, evaluation_seconds),
        make_metric_chart(
            rows,
            [MetricLine(name="tokens per second", metric="perf/throughput")],
            id="throughput",
            title="Throughput",
            caption="Prompt and response tokens trained on, per second of the step.",
            unit="tokens/s",
        ),
        make_metric_chart(
            rows,
            [
                MetricLine(name="host, used", metric="perf/cpu_memory_used_gb"),
                MetricLine(name="driver process", metric="perf/memory/driver_gib"),
            ],
            id="memory",
            title="Memory",
            caption="A steady rise ends a long run.",
            unit="GiB",
        ),
        make_metric_chart(
            rows,
            [
                MetricLine(name="evaluators busy", metric="evaluator/busy"),
                MetricLine(name="programs waiting", metric="evaluator/queue", second_axis=True),
            ],
            id="evaluators",
            title="Evaluator pool",
            caption="Share of time that evaluators were busy, and the longest queue of the step.",
            unit="share",
            second_unit="programs",
        ),
    ]
