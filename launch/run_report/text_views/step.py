"""View ``step:STEP``: figures of a step, and its groups, those with the largest spread of rewards first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.console import Group, RenderableType

from launch.run_report.rollout_rows import RolloutGroup, RolloutRow
from launch.run_report.run_files import RunFiles
from launch.run_report.text_views.formatting import (
    format_count,
    format_counts,
    format_number,
    format_share,
    make_facts,
    make_section,
    make_table,
    make_title,
)
from launch.run_report.text_views.rollout_lookup import get_rollout_file, read_step_groups

Outcome = Literal["all solved", "none solved", "mixed"]

UNKNOWN_STATUS = "unknown"
SANDBOX_ERROR = "sandbox_error"


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupFigures:
    """Figures of a group; None is unknown.

    Attributes:
        index: position of the group in the step.
        outcome: whether all, none or some of the judged completions passed; None if no completion was judged.
        passed: completions that passed.
        judged: completions with a verdict, without those that a sandbox error excluded.
        total: completions.
        spread: standard deviation of the rewards.
        at_limit: completions that reached the length limit.
        masked: completions whose advantage the truncation mask set to 0.
        trained: False if dynamic sampling dropped the group.
    """

    index: int
    question_id: str
    outcome: Outcome | None
    passed: int | None
    judged: int
    total: int
    mean_reward: float | None
    spread: float | None
    mean_length: float | None
    at_limit: int | None
    masked: int | None
    trained: bool
    statuses: dict[str, int]

    @property
    def remark(self) -> str:
        """Remark on the group: no signal, or dropped; empty for others."""
        outcome = {None: "not judged", "mixed": ""}.get(self.outcome, self.outcome)
        return ", ".join(each for each in (outcome, "" if self.trained else "dropped") if each)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    """Figures of a step.

    Attributes:
        completions: completions in the step.
        all_solved: groups whose completions all passed.
        none_solved: groups of which no completion passed.
        dropped: groups that dynamic sampling dropped.
        at_limit: share of completions that reached the length limit.
        masked: share of completions that the truncation mask masked.
        temperatures: temperatures of the completions.
        metrics: the row of metrics.jsonl; empty if it has none.
        groups: groups, those with the largest spread of rewards first.
    """

    name: str
    step: int
    completions: int
    all_solved: int
    none_solved: int
    dropped: int
    mean_reward: float | None
    mean_length: float | None
    at_limit: float | None
    masked: float | None
    temperatures: tuple[float, ...]
    statuses: dict[str, int]
    metrics: dict[str, float]
    groups: tuple[GroupFigures, ...]

    def render(self) -> RenderableType:
        """Return the view for a terminal."""
        facts = {
            "groups": f"{len(self.groups)}, of {self.completions} completions",
            "all solved": str(self.all_solved),
            "none solved": str(self.none_solved),
            "dropped": f"{self.dropped} by dynamic sampling",
            "mean reward": format_number(self.mean_reward),
            "mean length": format_number(self.mean_length, 1),
            "truncated": format_share(self.at_limit),
            "masked": format_share(self.masked),
            "temperature": ", ".join(f"{value:g}" for value in self.temperatures) or None,
            "diversity D": format_number(self.metrics.get("diversity/distinct_4")),
            "entropy": format_number(self.metrics.get("actor/entropy")),
            "seconds": format_number(self.metrics.get("timing_s/step"), 1),
            "statuses": format_counts(self.statuses),
        }
        return Group(
            make_title(f"step {self.step} of run {self.name}"),
            make_facts(facts),
            make_section("groups, by the spread of their rewards", make_group_table(self.groups)),
        )


def make_group_table(groups: Sequence[GroupFigures]) -> RenderableType:
    """Return a table of groups."""
    rows = [
        [
            group.question_id,
            format_passed(group.passed, group.total),
            format_number(group.mean_reward),
            format_number(group.spread),
            format_number(group.mean_length, 1),
            format_count(group.at_limit),
            group.remark,
        ]
        for group in groups
    ]
    columns = ("passed", "reward", "spread", "length", "trunc")
    return make_table({"problem": "left", **dict.fromkeys(columns, "right"), "": "left"}, rows)


def make_step(run: RunFiles, step: int) -> StepView:
    """Make the view of a step. Raises UserError if it has no rollouts."""
    groups = read_step_groups(get_rollout_file(run, step), texts=False)
    figures = [compute_group_figures(group) for group in groups]
    rows = [row for group in groups for row in group.rows]
    return StepView(
        name=run.name,
        step=step,
        completions=len(rows),
        all_solved=sum(group.outcome == "all solved" for group in figures),
        none_solved=sum(group.outcome == "none solved" for group in figures),
        dropped=sum(not group.trained for group in figures),
        mean_reward=mean(row.reward for row in rows),
        mean_length=mean(row.response_tokens for row in rows),
        at_limit=mean(None if row.finish_reason is None else row.at_limit for row in rows),
        masked=mean(row.masked for row in rows),
        temperatures=tuple(sorted({round(row.temperature, 4) for row in rows if row.temperature is not None})),
        statuses=count_statuses(rows),
        metrics=dict(next((row for row in run.rows if row["step"] == step), {})),
        groups=tuple(sorted(figures, key=lambda group: -(group.spread or 0.0))),
    )


def compute_group_figures(group: RolloutGroup) -> GroupFigures:
    """Compute the figures of a group; they need no texts."""
    rows = group.rows
    known = [row for row in rows if row.status is not None]
    judged = [row for row in known if row.status != SANDBOX_ERROR]
    passed = sum(row.passed for row in judged)
    return GroupFigures(
        index=group.index,
        question_id=group.question_id,
        outcome=None if not judged else "all solved" if passed == len(judged) else "mixed" if passed else "none solved",
        passed=passed if known else None,
        judged=len(judged),
        total=len(rows),
        mean_reward=group.mean_reward,
        spread=group.spread if group.rewards else None,
        mean_length=mean(row.response_tokens for row in rows),
        at_limit=_count(None if row.finish_reason is None else row.at_limit for row in rows),
        masked=_count(row.masked for row in rows),
        trained=group.trained,
        statuses=count_statuses(rows),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values; None if there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def format_passed(passed: int | None, total: int) -> str:
    """Return how many of a group's completions passed."""
    return f"{format_count(passed)}/{total}"


def count_statuses(rows: Iterable[RolloutRow]) -> dict[str, int]:
    """Count the statuses of completions."""
    return dict(Counter(UNKNOWN_STATUS if row.status is None else row.status for row in rows))


def _count(values: Iterable[bool | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
