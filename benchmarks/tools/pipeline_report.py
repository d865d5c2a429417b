"""Metrics and tables of ``benchmarks.pipeline``, computed from the measured steps by pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.tools.trainer_run import StepMeasurement

LONG_STEP_S = 30.0
GOALS = {"ratio_e2e_vs_trl": 1.0, "ratio_e2e_vs_trl_uneven": 1.5, "overlap_hidden_fraction": 0.8}
PERCENTILES = (5, 50, 95)  # of response lengths, in the JSON line
SAME_WORK_TOLERANCE = 0.15  # relative difference of tokens per step that chance explains
QUICKSTART = "quickstart"
UNEVEN = "uneven"
ON_POLICY = "max_staleness 0"
AHEAD = "max_staleness 1"
IN_TURN = "max_staleness 0, old log-probs at the end"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerComparison:
    """Steps of both trainers on a workload.

    Attributes:
        workload: name of the workload.
        peer: name of the other trainer and its generation.
        ours: our steps.
        theirs: the other trainer's steps.
    """

    workload: str
    peer: str
    ours: Sequence[StepMeasurement]
    theirs: Sequence[StepMeasurement]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamedJudging:
    """Our steps of a workload with streamed judging, against judging the same programs after generation.

    Attributes:
        workload: name of the workload.
        steps: our steps.
        afterwards_s: seconds that judging each step's programs takes when nothing else runs.
        lengths: tokens of every sampled response.
        timed_out: share of responses whose program exceeded a time limit.
    """

    workload: str
    steps: Sequence[StepMeasurement]
    afterwards_s: Sequence[float]
    lengths: Sequence[int]
    timed_out: float


@dataclass(frozen=True)
class OverlapComparison:
    """Steps of runs whose generators and learner work at the same time or not, with a core each.

    Attributes:
        on_policy: steps that sample with the newest weights; old log-probs are computed while others are sampled.
        ahead: steps that sample ahead.
        in_turn: as ``on_policy``, but old log-probs are computed after the last completion.
    """

    on_policy: Sequence[StepMeasurement]
    ahead: Sequence[StepMeasurement]
    in_turn: Sequence[StepMeasurement]


def median_over_steps(steps: Sequence[StepMeasurement], value: Callable[[StepMeasurement], float]) -> float:
    """Return the median of ``value`` over steps."""
    return statistics.median(map(value, steps))


def median_seconds(steps: Sequence[StepMeasurement]) -> float:
    """Return the median wall seconds per step."""
    return median_over_steps(steps, lambda step: step.seconds)


def tokens_per_s(steps: Sequence[StepMeasurement]) -> float:
    """Return the tokens of all steps over their seconds."""
    return sum(step.tokens for step in steps) / sum(step.seconds for step in steps)


def median_phase_seconds(steps: Sequence[StepMeasurement], phase: str) -> float:
    """Return the median seconds of a phase per step."""
    return median_over_steps(steps, lambda step: step.phases[phase])


def speed_ratio(comparison: TrainerComparison) -> float:
    """Divide the other trainer's seconds per step by ours."""
    return median_seconds(comparison.theirs) / median_seconds(comparison.ours)


def cpu_ratio(comparison: TrainerComparison) -> float:
    """Divide the other trainer's CPU seconds per step by ours; other programs on the machine hardly affect this."""
    theirs = median_over_steps(comparison.theirs, lambda step: step.cpu_s)
    ours = median_over_steps(comparison.ours, lambda step: step.cpu_s)
    return theirs / ours


def check_same_work(comparison: TrainerComparison) -> None:
    """Raise ValueError unless both trainers' steps have about the same number of tokens."""
    ours, theirs = (statistics.fmean(step.tokens for step in steps) for steps in (comparison.ours, comparison.theirs))
    if abs(ours - theirs) > SAME_WORK_TOLERANCE * ours:
        raise ValueError(
            f"{comparison.workload}: {theirs:.0f} tokens per step by {comparison.peer}, {ours:.0f} by ours, "
            "so the times are not comparable"
        )


def visible_reward_fraction(steps: Sequence[StepMeasurement]) -> float:
    """Return the median share of a step between its last completion and its last verdict."""
    return median_over_steps(steps, lambda step: step.phases["reward"] / step.seconds)


def hidden_fraction(comparison: OverlapComparison) -> float:
    """Return the seconds per step saved by sampling ahead, divided by the shorter of generation and learning.

    The wait for verdicts is subtracted from both modes first, so only overlap with learning counts.
    """
    on_policy_s, ahead_s = (
        median_over_steps(steps, lambda step: step.seconds - step.phases["reward"])
        for steps in (comparison.on_policy, comparison.ahead)
    )
    generation_s = median_phase_seconds(comparison.on_policy, "span/gen")
    learning_s = median_over_steps(comparison.on_policy, lambda step: step.learning)
    return (on_policy_s - ahead_s) / min(generation_s, learning_s)


def early_logprobs_ratio(comparison: OverlapComparison) -> float:
    """Divide the seconds per step with early old log-probs by those without."""
    return median_seconds(comparison.on_policy) / median_seconds(comparison.in_turn)


def compute_summary(
    trainer_comparisons: Sequence[TrainerComparison],
    streamed: Sequence[StreamedJudging],
    overlap: OverlapComparison,
) -> dict[str, float]:
    """Compute the metrics of the JSON line. Keys without a suffix belong to the quickstart."""
    summary = {
        "overlap_hidden_fraction": hidden_fraction(overlap),
        "early_logprobs_ratio": early_logprobs_ratio(overlap),
    }
    sides = (
        ("pinned_on_policy", overlap.on_policy),
        ("pinned_ahead", overlap.ahead),
        ("pinned_in_turn", overlap.in_turn),
    )
    for side, steps in sides:
        summary[f"seconds_per_step_{side}"] = median_seconds(steps)
    for comparison in trainer_comparisons:
        suffix = metric_suffix(comparison.workload)
        summary[f"ratio_e2e_vs_trl{suffix}"] = speed_ratio(comparison)
        summary[f"ratio_e2e_vs_trl_cpu{suffix}"] = cpu_ratio(comparison)
        for side, steps in (("ours", comparison.ours), ("trl", comparison.theirs)):
            summary[f"seconds_per_step_{side}{suffix}"] = median_seconds(steps)
            summary[f"tokens_per_s_{side}{suffix}"] = tokens_per_s(steps)
    for judging in streamed:
        suffix = metric_suffix(judging.workload)
        summary[f"visible_reward_fraction{suffix}"] = visible_reward_fraction(judging.steps)
        summary[f"visible_reward_s{suffix}"] = median_phase_seconds(judging.steps, "reward")
        summary[f"reward_after_generation_s{suffix}"] = statistics.median(judging.afterwards_s)
        summary[f"time_limit_share{suffix}"] = judging.timed_out
        for percent in PERCENTILES:
            summary[f"response_tokens_p{percent}{suffix}"] = float(np.percentile(judging.lengths, percent))
    return summary


def metric_suffix(workload: str) -> str:
    """Return the suffix of a workload's metrics; the quickstart has none."""
    return "" if workload == QUICKSTART else f"_{workload}"


def visible_reward_goal(steps: Sequence[StepMeasurement]) -> float:
    """Return the upper limit for the visible share of the reward, which is lower for long steps."""
    return 0.02 if median_seconds(steps) > LONG_STEP_S else 0.05


def print_report(
    trainer_comparisons: Sequence[TrainerComparison],
    streamed: Sequence[StreamedJudging],
    overlap: OverlapComparison,
) -> None:
    """Print all tables to standard output."""
    console = Console(width=150)
    console.print(build_steps_table(trainer_comparisons, overlap))
    console.print(build_reward_table(streamed))
    console.print(build_goals_table(compute_summary(trainer_comparisons, streamed, overlap), streamed))


def build_steps_table(trainer_comparisons: Sequence[TrainerComparison], overlap: OverlapComparison) -> Table:
    """Build the table of time, CPU time and speed, a row per workload and trainer."""
    table = Table(
        *("workload, trainer", "steps", "s/step (range)", "generation s", "visible reward s"),
        *("learning s", "CPU s", "tokens/s"),
        title="Time per training step: medians over steps",
    )
    rows = [(f"{comparison.workload}, ours", comparison.ours) for comparison in trainer_comparisons]
    rows += [(f"{comparison.workload}, {comparison.peer}", comparison.theirs) for comparison in trainer_comparisons]
    rows += [
        (f"{QUICKSTART}, a core each, {ON_POLICY}", overlap.on_policy),
        (f"{QUICKSTART}, a core each, {AHEAD}", overlap.ahead),
        (f"{QUICKSTART}, a core each, {IN_TURN}", overlap.in_turn),
    ]
    for name, steps in sorted(rows, key=lambda row: row[0].split(",")[0]):
        lowest = min(step.seconds for step in steps)
        highest = max(step.seconds for step in steps)
        table.add_row(
            name,
            str(len(steps)),
            f"{median_seconds(steps):.2f} ({lowest:.2f}-{highest:.2f})",
            f"{median_phase_seconds(steps, 'gen'):.2f}",
            f"{median_phase_seconds(steps, 'reward'):.2f}",
            f"{median_over_steps(steps, lambda step: step.learning):.2f}",
            f"{median_over_steps(steps, lambda step: step.cpu_s):.2f}",
            f"{tokens_per_s(steps):,.0f}",
        )
    return table


def build_reward_table(streamed: Sequence[StreamedJudging]) -> Table:
    """Build the table of the reward's visible time, beside judging after generation."""
    table = Table(
        *("workload", "visible reward s", "median share of step", "mean share of step", "judged after generation s"),
        *("response tokens p5/p50/p95", "over the time limit"),
        title="Reward that a step waits for with streamed judging",
    )
    for judging in streamed:
        mean = sum(step.phases["reward"] for step in judging.steps) / sum(step.seconds for step in judging.steps)
        table.add_row(
            judging.workload,
            f"{median_phase_seconds(judging.steps, 'reward'):.2f}",
            f"{visible_reward_fraction(judging.steps):.3f}",
            f"{mean:.3f}",
            f"{statistics.median(judging.afterwards_s):.2f}",
            "/".join(f"{np.percentile(judging.lengths, percent):.0f}" for percent in PERCENTILES),
            f"{judging.timed_out:.1%}",
        )
    return table


def build_goals_table(summary: Mapping[str, float], streamed: Sequence[StreamedJudging]) -> Table:
    """Build the table of metrics beside their goals."""
    table = Table("metric", "measured", "goal", "met", title="Goals")
    for name, goal in GOALS.items():
        table.add_row(name, f"{summary[name]:.2f}", f">= {goal:g}", "yes" if summary[name] >= goal else "no")
    for judging in streamed:
        name = f"visible_reward_fraction{metric_suffix(judging.workload)}"
        goal = visible_reward_goal(judging.steps)
        table.add_row(name, f"{summary[name]:.3f}", f"< {goal:g}", "yes" if summary[name] < goal else "no")
    return table
