"""Rules on failures of actors: sandbox errors, lost answers and groups, repeated calls, restarted engines."""

from __future__ import annotations

from collections.abc import Sequence

from launch.run_report.health.finding import Finding, format_key
from launch.run_report.health.series import (
    MIN_STEPS,
    WINDOW,
    Point,
    compute_mean,
    format_steps,
    read_increases,
    read_series,
)
from launch.run_report.run_files import MetricsRow, RecordedSettings

SANDBOX_ERROR = "evaluator/status/sandbox_error"
UNJUDGED = "evaluator/lost"
EVALUATOR_RETRIES = "evaluator/retries"
GROUPS_LOST = "group/lost"
RESTARTS = "generator/restarts"

MANY_SANDBOX_ERRORS = 0.01
"""Share of answers without a verdict above which the host or the sandbox is broken, not one program in a hundred."""
MANY_GROUPS_LOST = 0.1
"""Share of groups lost above which the groups that remain are a selection: the slow ones are missing."""
MANY_RESTARTS = 3
"""Restarts of engines above which a cause is likely that repeats; five end the use of an engine
(``actors.generators.members.MAX_RESTARTS``)."""


def check_sandbox(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that every answer got a verdict."""
    shares = read_series(rows, SANDBOX_ERROR)
    events = [point for point in shares if point.value > 0]
    if not events:
        return []
    last = shares[-WINDOW:]
    many = len(last) >= MIN_STEPS and compute_mean(last) > MANY_SANDBOX_ERRORS
    return [
        Finding(
            rule="sandbox_errors",
            severity="problem" if many else "warning",
            step=events[0].step,
            text=f"sandbox errors in {len(events)} of {len(shares)} steps, first in step {events[0].step}, at most "
            f"{max(point.value for point in events):.1%} of a step's answers, {compute_mean(last):.2%} of those of "
            f"{format_steps(last)}; these answers have no reward",
            advice="run python -m launch.doctor on the host; if it is out of memory or overloaded, lower "
            f"{format_key(settings, 'evaluator.workers')} or {format_key(settings, 'evaluator.max_actors')}; "
            "evaluator.strict=true ends a run on a host that lacks isolation",
            metric=SANDBOX_ERROR,
        )
    ]


def check_unjudged(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that no answer was given up because evaluator actors died over it."""
    events = [point for point in read_series(rows, UNJUDGED) if point.value > 0]
    if not events:
        return []
    return [
        Finding(
            rule="evaluator_lost",
            severity="problem",
            step=events[0].step,
            text=f"{_sum(events):.0f} answers that no evaluator could judge, in {format_steps(events)}",
            advice="events.jsonl has the errors of the actors; if their node runs out of memory, lower "
            f"{format_key(settings, 'evaluator.workers')} x {format_key(settings, 'evaluator.memory_mb')}",
            metric=UNJUDGED,
        )
    ]


def check_retries(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that no evaluator actor failed, so that its calls had to be given to another."""
    events = [point for point in read_series(rows, EVALUATOR_RETRIES) if point.value > 0]
    if not events:
        return []
    return [
        Finding(
            rule="evaluator_retries",
            severity="warning",
            step=events[0].step,
            text=f"{_sum(events):.0f} answers were given to another evaluator because the first one failed, in "
            f"{format_steps(events)}",
            advice="events.jsonl has the errors of the actors; if their node runs out of memory, lower "
            f"{format_key(settings, 'evaluator.workers')} x {format_key(settings, 'evaluator.memory_mb')}",
            metric=EVALUATOR_RETRIES,
        )
    ]


def check_groups_lost(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that no group was dropped because it missed the deadline or its engines failed."""
    lost = [point for point in read_series(rows, GROUPS_LOST) if point.value > 0]
    if not lost:
        return []
    steps = {point.step for point in read_series(rows, GROUPS_LOST)}
    kept = [
        point
        for metric in ("group/trained", "group/dropped")
        for point in read_series(rows, metric)
        if point.step in steps
    ]
    share = _sum(lost) / (_sum(lost) + _sum(kept))
    late = _sum(read_series(rows, "group/lost/deadline"))
    failed = _sum(read_series(rows, "group/lost/failed"))
    remedies = []
    if late > 0 or failed <= 0:
        remedies.append(
            f"raise {format_key(settings, 'generator.deadline_s')}, or lower "
            f"{format_key(settings, 'generator.max_response_tokens')}"
        )
    if failed > 0:
        remedies.append(f"see events.jsonl for why engines failed ({format_key(settings, 'generator.actors')})")
    return [
        Finding(
            rule="groups_lost",
            severity="problem" if share > MANY_GROUPS_LOST else "warning",
            step=lost[0].step,
            text=f"{_sum(lost):.0f} groups lost ({share:.1%} of all) in {len(lost)} steps, first in step "
            f"{lost[0].step}: {late:.0f} missed the deadline, {failed:.0f} failed with their engines",
            advice="; ".join(remedies),
            metric=GROUPS_LOST,
        )
    ]


def check_restarts(rows: Sequence[MetricsRow], settings: RecordedSettings) -> list[Finding]:
    """Check that no engine had to be started again."""
    events = read_increases(rows, RESTARTS)
    if not events:
        return []
    repeated = read_increases(rows, "generator/retries")
    return [
        Finding(
            rule="generator_restarts",
            severity="problem" if _sum(events) > MANY_RESTARTS else "warning",
            step=events[0].step,
            text=f"engine restarts: {_sum(events):.0f} in {format_steps(events)}; {_sum(repeated):.0f} requests "
            "sent again",
            advice="events.jsonl and the logs of the engines have the cause; if memory ran out, lower "
            f"{format_key(settings, 'generator.gpu_memory_fraction')} (on CPU "
            f"{format_key(settings, 'generator.kv_cache_gib')}) or {format_key(settings, 'generator.max_sequences')}",
            metric=RESTARTS,
        )
    ]


def _sum(points: Sequence[Point]) -> float:
    return sum(point.value for point in points)
