"""Rules on the wall time of a step: waits, and time that no part accounts for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launch.run_report.health.finding import Finding, format_key
from launch.run_report.health.series import (
    Point,
    compute_mean,
    find_lasting,
    format_steps,
    read_series,
    read_shares,
)
from launch.run_report.run_files import MetricsRow, RecordedSettings

STEP = "timing_s/step"
REWARD = "timing_s/reward"
BUSY = "evaluator/busy"

LONG_WAIT = 0.2
"""Share of a step's time: a shorter wait is not worth a change of the settings. The longest means in recorded runs were
0.04."""
LONGEST_WAIT = 0.5
"""Share of a step's time above which the step does little else."""
UNACCOUNTED = 0.1
"""Share of a step's time that no part accounts for; below 0.02 in recorded runs, also on a busy machine."""
SATURATED = 0.7
"""Share of the sandboxes' time in use over a step above which more of them help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A part of a step in which the driver waits.

    Attributes:
        rule: name of the rule.
        metric: seconds of the part.
        text: what is waited for.
        threshold: share of the step's time above which the wait is long.
        advise: advice for the rows and settings, given the steps with the long wait.
    """

    rule: str
    metric: str
    text: str
    threshold: float
    advise: Callable[[Sequence[MetricsRow], RecordedSettings, Sequence[Point]], str]


def _advise_on_rewards(rows: Sequence[MetricsRow], settings: RecordedSettings, stretch: Sequence[Point]) -> str:
    busy = [point for point in read_series(rows, BUSY) if point.step >= stretch[0].step]
    more = f"raise {format_key(settings, 'evaluator.max_actors')} or {format_key(settings, 'evaluator.workers')}"
    faster = f"lower {format_key(settings, 'evaluator.budget_s')} or {format_key(settings, 'evaluator.wall_s')}"
    hide = f"judge while the learner updates with {format_key(settings, 'algorithm.max_staleness')} of 1"
    if not busy:
        return f"{more}; {faster}; {hide}"
    share = compute_mean(busy)
    if share >= SATURATED:
        return f"sandboxes are busy {share:.0%} of the time: {more}; {hide}"
    return f"sandboxes are busy only {share:.0%} of the time, so single programs take long: {faster}; {hide}"


def _advise_on_drain(_rows: Sequence[MetricsRow], settings: RecordedSettings, _stretch: Sequence[Point]) -> str:
    return (
        f"set {format_key(settings, 'generator.partial_rollouts')} to true, so that completions in flight continue "
        f"with the new weights, or lower {format_key(settings, 'generator.max_response_tokens')}"
    )


def _advise_on_learner(_rows: Sequence[MetricsRow], settings: RecordedSettings, _stretch: Sequence[Point]) -> str:
    return (
        "calls to the learner take much longer than its work: give it processors of its own "
        f"({format_key(settings, 'learner.cpus')}, {format_key(settings, 'learner.threads')}, "
        f"{format_key(settings, 'generator.threads')}), or lower {format_key(settings, 'learner.ranks')}"
    )


def _advise_on_weights(_rows: Sequence[MetricsRow], settings: RecordedSettings, _stretch: Sequence[Point]) -> str:
    return (
        f"choose a faster {format_key(settings, 'weight_transfer.backend')}, raise "
        f"{format_key(settings, 'weight_transfer.bucket_mb')}, or update less often with a larger "
        f"{format_key(settings, 'algorithm.train_batch_size')}"
    )


def _advise_on_rest(_rows: Sequence[MetricsRow], settings: RecordedSettings, _stretch: Sequence[Point]) -> str:
    return (
        "timeline.json shows where the driver is between its laps; if its node is overloaded, lower "
        f"{format_key(settings, 'generator.threads')} or {format_key(settings, 'evaluator.workers')}"
    )


WAITS = (
    Wait(
        rule="reward_wait",
        metric=REWARD,
        text="waiting for rewards",
        threshold=LONG_WAIT,
        advise=_advise_on_rewards,
    ),
    Wait(
        rule="drain_wait",
        metric="timing_s/wait/drain",
        text="waiting for completions in flight before the weight update",
        threshold=LONG_WAIT,
        advise=_advise_on_drain,
    ),
    Wait(
        rule="learner_wait",
        metric="timing_s/wait/learner",
        text="waiting for the learner beyond its own seconds",
        threshold=LONG_WAIT,
        advise=_advise_on_learner,
    ),
    Wait(
        rule="weight_transfer",
        metric="timing_s/update_weights",
        text="transfer of weights",
        threshold=LONG_WAIT,
        advise=_advise_on_weights,
    ),
    Wait(
        rule="unaccounted_time",
        metric="timing_s/unaccounted",
        text="time of no known part",
        threshold=UNACCOUNTED,
        advise=_advise_on_rest,
    ),
)


def check_waits(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that no wait takes a large share of the steps' time."""
    findings = []
    for wait in WAITS:
        shares = read_shares(rows, wait.metric, STEP)
        stretch = find_lasting(shares, _is_above(wait.threshold))
        if stretch:
            share = compute_mean(stretch)
            steps = {point.step for point in stretch}
            seconds = compute_mean([point for point in read_series(rows, wait.metric) if point.step in steps])
            findings.append(
                Finding(
                    rule=wait.rule,
                    severity="problem" if share > LONGEST_WAIT else "warning",
                    step=stretch[0].step,
                    text=f"{wait.text}: {share:.0%} of the time of {format_steps(stretch)} ({seconds:.3g} s a step)",
                    advice=wait.advise(rows, settings, stretch),
                    metric=wait.metric,
                )
            )
    return findings


def _is_above(threshold: float) -> Callable[[float], bool]:
    return lambda share: share > threshold
