"""Rules on the numerics of the update: mismatch of sampler and learner, gradients, skipped updates."""

from __future__ import annotations

from collections.abc import Sequence

from launch.run_report.health.finding import Finding, format_key
from launch.run_report.health.series import (
    MIN_STEPS,
    WINDOW,
    Point,
    compute_mean,
    compute_median,
    find_lasting,
    format_steps,
    list_non_finite,
    read_series,
)
from launch.run_report.run_files import MetricsRow, RecordedSettings

KL = "mismatch/kl"
RATIO = "mismatch/ratio_max"
NON_FINITE = "mismatch/non_finite"
GRADIENT = "actor/grad_norm"
SKIPPED = "actor/skipped_updates"

GROWTH = 5.0
"""Factor over the first steps above which a mismatch is growing: staleness and longer answers change it by less."""
MIN_KL = 0.01
"""Mismatch KL per token below which growth is no concern: bfloat16 kernels alone cause 0.001 to 0.01."""
HIGH_KL = 0.1
"""Mismatch KL per token above which sampler and learner are different policies, whatever it was at first."""
MIN_RATIO = 10.0
"""Largest importance ratio of a step below which growth is no concern: it is the extreme of some 10^5 tokens."""
HIGH_RATIO = 1000.0
"""Largest importance ratio above which the learner finds tokens likely that the sampler had as good as excluded."""
SPIKE = 10.0
"""Gradient norm over the median of the steps before it; the largest in recorded runs was 3.1 times the median."""
SKIPPED_STEPS = 0.05
"""Share of steps with skipped updates above which they are no isolated event."""


def check_mismatch(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that the mismatch of sampler and learner is not growing: its KL, and the largest importance ratio."""
    # The estimate of the KL from few tokens can be negative; its size counts. Of ratios, single steps are extreme.
    kl = [Point(point.step, abs(point.value)) for point in read_series(rows, KL)]
    ratios = read_series(rows, RATIO)
    advice = (
        f"lower {format_key(settings, 'algorithm.max_staleness')}, set "
        f"{format_key(settings, 'algorithm.mismatch_cap')} to 2 if it is 0; if neither helps, compare with "
        f"{format_key(settings, 'model.dtype')} of float32"
    )
    findings = []
    start = compute_mean(kl[:WINDOW])
    if grown := find_lasting(kl, lambda mean: mean > HIGH_KL or (mean > MIN_KL and mean > GROWTH * start)):
        last = grown[-WINDOW:]
        findings.append(
            Finding(
                rule="mismatch_kl",
                severity="problem" if compute_mean(last) > HIGH_KL else "warning",
                step=grown[0].step,
                text=f"KL of sampler and learner {compute_mean(last):.3g} per token in {format_steps(last)}, "
                f"{start:.3g} in {format_steps(kl[:WINDOW])}",
                advice=advice,
                metric=KL,
            )
        )
    level = compute_median(ratios[:WINDOW])
    grown = find_lasting(
        ratios, lambda ratio: ratio > HIGH_RATIO or (ratio > MIN_RATIO and ratio > GROWTH * level), compute_median
    )
    if grown:
        last = grown[-WINDOW:]
        findings.append(
            Finding(
                rule="mismatch_ratio",
                severity="warning",
                step=grown[0].step,
                text=f"largest importance ratio of learner and sampler {compute_median(last):.3g} (median of "
                f"{format_steps(last)}), {level:.3g} in {format_steps(ratios[:WINDOW])}",
                advice=advice,
                metric=RATIO,
            )
        )
    return findings


def check_sampler_logprobs(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that all log-probs of the sampler are finite."""
    events = [point for point in read_series(rows, NON_FINITE) if point.value > 0]
    if not events:
        return []
    return [
        Finding(
            rule="non_finite_logprobs",
            severity="problem",
            step=events[0].step,
            text=f"{sum(point.value for point in events):.0f} tokens with a sampler log-prob that is not finite, in "
            f"{len(events)} steps from step {events[0].step} on; they are excluded from the loss",
            advice=f"check the weights (model.path) and {format_key(settings, 'model.dtype')}: with float32 kernels do "
            "not overflow",
            metric=NON_FINITE,
        )
    ]


def check_skipped_updates(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that no update was skipped because its gradient was not finite."""
    points = read_series(rows, SKIPPED)
    events = [point for point in points if point.value > 0]
    if not events:
        return []
    frequent = len(points) >= MIN_STEPS and len(events) / len(points) > SKIPPED_STEPS
    return [
        Finding(
            rule="skipped_updates",
            severity="problem" if frequent else "warning",
            step=events[0].step,
            text=f"{sum(point.value for point in events):.0f} updates skipped in {len(events)} of {len(points)} steps, "
            f"first in step {events[0].step}: their gradient was not finite",
            advice=f"lower {format_key(settings, 'learner.learning_rate')}, and look at the completions in "
            "skipped_updates/ of the run directory; the run ends after "
            f"{format_key(settings, 'learner.max_skipped_updates')} in a row",
            metric=SKIPPED,
        )
    ]


def check_gradient(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that gradient norms are finite and have no spikes."""
    findings = []
    skipped = {point.step for point in read_series(rows, SKIPPED) if point.value > 0}
    # The norm is NaN if all updates of a step were skipped, which ``check_skipped_updates`` reports.
    if broken := [step for step in list_non_finite(rows, GRADIENT) if step not in skipped]:
        findings.append(
            Finding(
                rule="gradient_not_finite",
                severity="problem",
                step=broken[0],
                text=f"the gradient norm is not finite in {len(broken)} steps, first in step {broken[0]}",
                advice=f"lower {format_key(settings, 'learner.learning_rate')}, or continue from a checkpoint before "
                "it with run.resume=true",
                metric=GRADIENT,
            )
        )
    # The norm is 0 in steps without advantages, which say nothing about the size of a gradient.
    points = [point for point in read_series(rows, GRADIENT) if point.value > 0]
    spikes = [
        point
        for place, point in enumerate(points)
        if place >= MIN_STEPS and point.value > SPIKE * compute_median(points[max(0, place - WINDOW) : place])
    ]
    if spikes:
        highest = max(spikes, key=lambda point: point.value)
        findings.append(
            Finding(
                rule="gradient_spikes",
                severity="warning",
                step=spikes[0].step,
                text=f"{len(spikes)} gradient norms above {SPIKE:g} times the median of the steps before, the largest "
                f"{highest.value:.3g} in step {highest.step}; the median of the run is {compute_median(points):.3g}",
                advice=f"lower {format_key(settings, 'learner.grad_clip')} or "
                f"{format_key(settings, 'learner.learning_rate')}, or raise "
                f"{format_key(settings, 'algorithm.mini_batch_size')}",
                metric=GRADIENT,
            )
        )
    return findings
