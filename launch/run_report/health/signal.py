"""Rules on the learning signal: rewards, groups whose completions differ, truncated answers."""

from __future__ import annotations

from collections.abc import Sequence

from evaluator.verdict import Status
from launch.run_report.health.finding import Finding, format_key
from launch.run_report.health.series import Point, compute_mean, find_lasting, format_steps, read_series
from launch.run_report.run_files import MetricsRow, RecordedSettings

REWARD = "critic/rewards/mean"
ALL_SOLVED = "group/all_solved"
NONE_SOLVED = "group/none_solved"
TRUNCATED = "truncation/rate"

FLAT_REWARD = 0.005
"""Distance of the mean reward from 0 or 1 up to which it is flat: one answer in 200, which is a group with signal in
25 groups of eight, too few to learn from."""
LOW_SIGNAL = 0.15
"""Share of groups with signal below which most of the sampling is wasted. Runs of the ablation that learned had 0.21 to
0.6."""
NO_SIGNAL = 0.05
"""Share of groups with signal below which a step of 64 groups has about three of them: gradients are mostly noise."""
HIGH_TRUNCATION = 0.5
"""Share of truncated answers above which most answers have no program to judge."""
MOST_TRUNCATED = 0.9
"""Share of truncated answers above which hardly any answer can earn a reward."""


def check_reward(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that the mean reward is neither 0 nor 1. A reward of the user's own may have any range: no finding."""
    if ":" in str(settings.get("algorithm.reward")):
        return []
    rewards = read_series(rows, REWARD)
    findings = []
    if at_zero := find_lasting(rewards, lambda mean: abs(mean) <= FLAT_REWARD):
        findings.append(
            Finding(
                rule="reward_zero",
                severity="problem",
                step=at_zero[0].step,
                text=f"mean reward {compute_mean(at_zero):.3f} in {format_steps(at_zero)}: nothing to learn from"
                + _describe_failures(rows, at_zero),
                advice="read answers of the last step; give easier problems (dataset.train), a longer limit "
                f"({format_key(settings, 'generator.max_response_tokens')}) if answers are truncated, or start from a "
                "policy that solves some problems (model.path)",
                metric=REWARD,
            )
        )
    if at_one := find_lasting(rewards, lambda mean: abs(1 - mean) <= FLAT_REWARD):
        findings.append(
            Finding(
                rule="reward_one",
                severity="problem",
                step=at_one[0].step,
                text=f"mean reward {compute_mean(at_one):.3f} in {format_steps(at_one)}: nothing left to learn",
                advice="give harder problems (dataset.train), or end the run; if it was so from the first step, check "
                "that the problems have tests",
                metric=REWARD,
            )
        )
    return findings


def _describe_failures(rows: Sequence[MetricsRow], stretch: Sequence[Point]) -> str:
    """Return the most frequent status of the answers in the steps of ``stretch`` as text; "" if it is unknown."""
    shares = {
        status: compute_mean([point for point in points if point.step >= stretch[0].step])
        for status in Status
        if (points := read_series(rows, f"evaluator/status/{status}")) and points[-1].step >= stretch[0].step
    }
    if not shares:
        return ""
    status = max(shares, key=lambda name: shares[name])
    return f"; most answers ({shares[status]:.0%}) are {status}"


def check_groups(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that enough groups have completions of both kinds, passed and failed.

    Only for the reward ``passed``: other rewards may differ within a group that has no passed completion. If the reward
    is flat, ``check_reward`` says so.
    """
    if settings.get("algorithm.reward") not in (None, "passed") or check_reward(rows, settings):
        return []
    none_solved = {point.step: point.value for point in read_series(rows, NONE_SOLVED)}
    signal = [
        Point(point.step, 1 - point.value - none_solved[point.step])
        for point in read_series(rows, ALL_SOLVED)
        if point.step in none_solved
    ]
    low = find_lasting(signal, lambda mean: mean < LOW_SIGNAL)
    if not low:
        return []
    share = compute_mean(low)
    unsolved = compute_mean([Point(point.step, none_solved[point.step]) for point in low])
    too_hard = unsolved > (1 - share) / 2
    return [
        Finding(
            rule="no_mixed_groups",
            severity="problem" if share < NO_SIGNAL else "warning",
            step=low[0].step,
            text=f"{share:.0%} of the groups of {format_steps(low)} have both passed and failed answers; in "
            f"{unsolved:.0%} none passed, in {1 - share - unsolved:.0%} all",
            advice=f"give {'easier' if too_hard else 'harder'} problems (dataset.train), raise "
            f"{format_key(settings, 'algorithm.group_size')}, or sample until enough groups have signal with "
            f"{format_key(settings, 'algorithm.dynamic_sampling_rounds')}",
            metric=NONE_SOLVED if too_hard else ALL_SOLVED,
        )
    ]


def check_truncation(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that less than half of the answers reach the length limit."""
    high = find_lasting(read_series(rows, TRUNCATED), lambda mean: mean > HIGH_TRUNCATION)
    if not high:
        return []
    share = compute_mean(high)
    return [
        Finding(
            rule="truncation",
            severity="problem" if share > MOST_TRUNCATED else "warning",
            step=high[0].step,
            text=f"truncated {share:.0%} of the answers of {format_steps(high)}",
            advice=f"raise {format_key(settings, 'generator.max_response_tokens')}, shorten answers with "
            f"{format_key(settings, 'algorithm.overlong_penalty')}, or start from a model that ends its answers "
            "(model.path); truncation/repeat is the share that repeats itself",
            metric=TRUNCATED,
        )
    ]
