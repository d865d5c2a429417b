"""Figures and tables of ``benchmarks.pipeline``: pure functions of the steps that were run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.tools.trainer_run import Step

LONG_STEP_S = 30.0
GOALS = {"ratio_e2e_vs_trl": 1.0, "ratio_e2e_vs_trl_uneven": 1.5, "overlap_hidden_fraction": 0.8}
PERCENTILES = (5, 50, 95)  # of response lengths, in the last line
SAME_WORK = 0.15  # relative difference of tokens a step that chance explains
QUICKSTART = "quickstart"
UNEVEN = "uneven"
ON_POLICY = "max_staleness 0"
AHEAD = "max_staleness 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A workload's counted steps on both sides. ``peer`` names the other, with what generates there."""

    workload: str
    peer: str
    ours: Sequence[Step]
    theirs: Sequence[Step]


@dataclass(frozen=True, kw_only=True, slots=True)
class Streaming:
    """Our counted steps of a workload, and seconds that judging the same programs takes when nothing else runs.

    ``lengths``: tokens of every response that was sampled; ``timed_out``: share of them whose program met a time limit.
    """

    workload: str
    steps: Sequence[Step]
    afterwards: Sequence[float]
    lengths: Sequence[int]
    timed_out: float


@dataclass(frozen=True)
class Overlap:
    """Counted steps of one run on-policy and one a step ahead, engines and learner on a core each."""

    on_policy: Sequence[Step]
    ahead: Sequence[Step]


def median(steps: Sequence[Step], of: Callable[[Step], float]) -> float:
    """Over steps."""
    return statistics.median(map(of, steps))


def seconds(steps: Sequence[Step]) -> float:
    """Median wall seconds a step."""
    return median(steps, lambda step: step.seconds)


def tokens_per_s(steps: Sequence[Step]) -> float:
    """Of all steps together."""
    return sum(step.tokens for step in steps) / sum(step.seconds for step in steps)


def phase(steps: Sequence[Step], name: str) -> float:
    """Median seconds a step of a phase."""
    return median(steps, lambda step: step.phases[name])


def ratio(pair: Pair) -> float:
    """Their seconds a step over ours."""
    return seconds(pair.theirs) / seconds(pair.ours)


def cpu_ratio(pair: Pair) -> float:
    """Their CPU seconds a step over ours: what a machine that others use, too, does not change."""
    return median(pair.theirs, lambda step: step.cpu_s) / median(pair.ours, lambda step: step.cpu_s)


def check_same_work(pair: Pair) -> None:
    """Both sides' steps have about as many tokens. Raises ValueError where not."""
    ours, theirs = (statistics.fmean(step.tokens for step in steps) for steps in (pair.ours, pair.theirs))
    if abs(ours - theirs) > SAME_WORK * ours:
        raise ValueError(f"{pair.workload}: {theirs:.0f} tokens a step on {pair.peer}'s side, {ours:.0f} on ours")


def visible_fraction(steps: Sequence[Step]) -> float:
    """Median share of a step that passes between its last completion and its last verdict."""
    return median(steps, lambda step: step.phases["reward"] / step.seconds)


def hidden_fraction(overlap: Overlap) -> float:
    """Share of the shorter of generation and learning that sampling ahead takes out of a step.

    Without the visible reward on both sides: what sampling ahead hides of that is not counted.
    """
    without_reward = [
        median(steps, lambda step: step.seconds - step.phases["reward"]) for steps in (overlap.on_policy, overlap.ahead)
    ]
    generation = phase(overlap.on_policy, "span/gen")
    learning = median(overlap.on_policy, lambda step: step.learning)
    return (without_reward[0] - without_reward[1]) / min(generation, learning)


def figures(pairs: Sequence[Pair], streamings: Sequence[Streaming], overlap: Overlap) -> dict[str, float]:
    """What the last line says. The quickstart's have no suffix."""
    found = {"overlap_hidden_fraction": hidden_fraction(overlap)}
    for side, steps in (("pinned_on_policy", overlap.on_policy), ("pinned_ahead", overlap.ahead)):
        found[f"seconds_per_step_{side}"] = seconds(steps)
    for pair in pairs:
        suffix = suffix_of(pair.workload)
        found[f"ratio_e2e_vs_trl{suffix}"] = ratio(pair)
        found[f"ratio_e2e_vs_trl_cpu{suffix}"] = cpu_ratio(pair)
        for side, steps in (("ours", pair.ours), ("trl", pair.theirs)):
            found[f"seconds_per_step_{side}{suffix}"] = seconds(steps)
            found[f"tokens_per_s_{side}{suffix}"] = tokens_per_s(steps)
    for streaming in streamings:
        suffix = suffix_of(streaming.workload)
        found[f"visible_reward_fraction{suffix}"] = visible_fraction(streaming.steps)
        found[f"visible_reward_s{suffix}"] = phase(streaming.steps, "reward")
        found[f"reward_after_generation_s{suffix}"] = statistics.median(streaming.afterwards)
        found[f"time_limit_share{suffix}"] = streaming.timed_out
        for percent in PERCENTILES:
            found[f"response_tokens_p{percent}{suffix}"] = float(np.percentile(streaming.lengths, percent))
    return found


def suffix_of(workload: str) -> str:
    """Of the workload's figures."""
    return "" if workload == QUICKSTART else f"_{workload}"


def goal_of_visible(steps: Sequence[Step]) -> float:
    """The share of a step that the visible reward should be under."""
    return 0.02 if seconds(steps) > LONG_STEP_S else 0.05


def print_report(pairs: Sequence[Pair], streamings: Sequence[Streaming], overlap: Overlap) -> None:
    console = Console(width=120)
    console.print(steps_table(pairs, overlap))
    console.print(reward_table(streamings))
    console.print(goals_table(figures(pairs, streamings, overlap), streamings))


def steps_table(pairs: Sequence[Pair], overlap: Overlap) -> Table:
    """A row a side: medians over steps, with the range of the steps' seconds."""
    table = Table("workload, side", "steps", "s/step (range)", "generation", "reward", "learning", "CPU s", "tokens/s")
    rows = [(f"{pair.workload}, ours", pair.ours) for pair in pairs]
    rows += [(f"{pair.workload}, {pair.peer}", pair.theirs) for pair in pairs]
    rows += [
        (f"{QUICKSTART}, a core each, {ON_POLICY}", overlap.on_policy),
        (f"{QUICKSTART}, a core each, {AHEAD}", overlap.ahead),
    ]
    for name, steps in sorted(rows, key=lambda row: row[0].split(",")[0]):
        lowest = min(step.seconds for step in steps)
        highest = max(step.seconds for step in steps)
        table.add_row(
            name,
            str(len(steps)),
            f"{seconds(steps):.2f} ({lowest:.2f}-{highest:.2f})",
            f"{phase(steps, 'gen'):.2f}",
            f"{phase(steps, 'reward'):.2f}",
            f"{median(steps, lambda step: step.learning):.2f}",
            f"{median(steps, lambda step: step.cpu_s):.2f}",
            f"{tokens_per_s(steps):,.0f}",
        )
    return table


def reward_table(streamings: Sequence[Streaming]) -> Table:
    """What judging while sampling hides."""
    table = Table(
        *("workload", "visible reward s", "share of the step", "mean share", "judged after generation s"),
        *("tokens p5/p50/p95", "over the time limit"),
    )
    for one in streamings:
        mean = sum(step.phases["reward"] for step in one.steps) / sum(step.seconds for step in one.steps)
        table.add_row(
            one.workload,
            f"{phase(one.steps, 'reward'):.2f}",
            f"{visible_fraction(one.steps):.3f}",
            f"{mean:.3f}",
            f"{statistics.median(one.afterwards):.2f}",
            "/".join(f"{np.percentile(one.lengths, percent):.0f}" for percent in PERCENTILES),
            f"{one.timed_out:.1%}",
        )
    return table


def goals_table(found: Mapping[str, float], streamings: Sequence[Streaming]) -> Table:
    """Each figure beside its goal."""
    table = Table("figure", "measured", "goal", "met")
    for name, goal in GOALS.items():
        table.add_row(name, f"{found[name]:.2f}", f">= {goal:g}", "yes" if found[name] >= goal else "no")
    for one in streamings:
        name = f"visible_reward_fraction{suffix_of(one.workload)}"
        goal = goal_of_visible(one.steps)
        table.add_row(name, f"{found[name]:.3f}", f"< {goal:g}", "yes" if found[name] < goal else "no")
    return table
