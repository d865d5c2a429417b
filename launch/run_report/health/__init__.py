"""Health of a run: rules on the rows of metrics.jsonl that find what needs attention.

    rows, settings --> every rule of RULES --> findings, problems first
    verdict of the evaluations ------------^   in place of the rule on sharpening

Covered: rewards without signal, truncation, diversity, entropy, sharpening, numerics of the update, failures of actors,
waits, growing memory. Not covered: what only single rollouts show (launch.run_report.rollout_rows), and GPU memory,
which metrics.jsonl does not have.

Rules are pure functions. A metric that rows lack is unknown, and no rule reports what it does not know. States are
judged on windows of steps (``series.find_lasting``) and reported only if they last until the end of the rows; events,
like a restart, are reported wherever they occurred. Every threshold is a constant with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from launch.run_report.evaluations import LearningSoFar
from launch.run_report.health.exploration import check_diversity, check_entropy
from launch.run_report.health.failures import (
    check_groups_lost,
    check_restarts,
    check_retries,
    check_sandbox,
    check_unjudged,
)
from launch.run_report.health.finding import Finding, Rule, Severity
from launch.run_report.health.memory import check_memory
from launch.run_report.health.sharpening import check_sharpening, check_verdict
from launch.run_report.health.signal import check_groups, check_reward, check_truncation
from launch.run_report.health.stability import (
    check_gradient,
    check_mismatch,
    check_sampler_logprobs,
    check_skipped_updates,
)
from launch.run_report.health.waiting import check_waits
from launch.run_report.run_files import MetricsRow, RecordedSettings

__all__ = ["RULES", "Finding", "Rule", "Severity", "find_problems"]

RULES: tuple[Rule, ...] = (
    check_reward,
    check_groups,
    check_truncation,
    check_diversity,
    check_entropy,
    check_sharpening,
    check_mismatch,
    check_sampler_logprobs,
    check_skipped_updates,
    check_gradient,
    check_sandbox,
    check_unjudged,
    check_retries,
    check_groups_lost,
    check_restarts,
    check_waits,
    check_memory,
)


def find_problems(
    rows: Sequence[MetricsRow], settings: RecordedSettings, learning: LearningSoFar | None = None
) -> list[Finding]:
    """Return the findings of all rules: problems before warnings, each in the order of ``RULES``.

    Args:
        rows: rows of metrics.jsonl, in any order; rows without a step are ignored.
        settings: content of the run's config.yaml; unknown keys are allowed to be missing.
        learning: what the evaluations show. Its verdict has intervals, so it decides in place of the rule on
            sharpening, which has only the point estimates of ``rows``; None without two evaluations.
    """
    rules = [rule for rule in RULES if learning is None or rule is not check_sharpening]
    findings = [] if learning is None else check_verdict(rows, settings, learning)
    findings += [finding for rule in rules for finding in rule(rows, settings)]
    return sorted(findings, key=lambda finding: finding.severity != "problem")
