"""View ``problem:ID``: the groups of a problem in all steps."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType

from launch.run_report.rollout_rows import UnreadableRollouts, read_groups
from launch.run_report.run_files import RunFiles, StepFile
from launch.run_report.text_views.formatting import (
    format_count,
    format_counts,
    format_number,
    make_block,
    make_notes,
    make_section,
    make_table,
    make_title,
    quote,
)
from launch.run_report.text_views.rollout_lookup import (
    UnknownItem,
    describe_unknown_problem,
    find_question_ids,
    read_prompt,
)
from launch.run_report.text_views.step import GroupFigures, compute_group_figures, format_passed


@dataclass(frozen=True)
class ProblemGroup:
    """Group of a problem in a step."""

    step: int
    figures: GroupFigures


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemView:
    """Groups of a problem in step order.

    Attributes:
        prompt: prompt of the first group; None if the rollout files have none.
        notes: files that could not be read.
    """

    name: str
    question_id: str
    prompt: str | None
    groups: tuple[ProblemGroup, ...]
    notes: tuple[str, ...]

    def render(self) -> RenderableType:
        """Return the view for a terminal."""
        rows = [
            [
                str(group.step),
                str(group.figures.index),
                format_passed(group.figures.passed, group.figures.total),
                format_number(group.figures.mean_reward),
                format_number(group.figures.mean_length, 1),
                format_count(group.figures.at_limit),
                ", ".join(part for part in (format_counts(group.figures.statuses), _describe_drop(group)) if part),
            ]
            for group in self.groups
        ]
        headings = ("step", "group", "passed", "reward", "length", "trunc")
        table = make_table({**dict.fromkeys(headings, "right"), "statuses": "left"}, rows)
        return Group(
            make_title(f"problem {self.question_id} in run {self.name}"),
            make_section("prompt", make_block(self.prompt)),
            make_section("groups", table),
            *make_notes(self.notes),
        )


def make_problem(run: RunFiles, question_id: str) -> ProblemView:
    """Make the view of a problem. Raises UnknownItem if the run has no rollouts of it.

    Only the question ids of all steps are read, and of steps with the problem all columns except texts.
    """
    notes: list[str] = []
    ids = find_question_ids(run.rollouts, notes)
    groups: list[ProblemGroup] = []
    prompt: str | None = None
    for file in run.rollouts:
        if question_id not in ids.get(file.step, ()):
            continue
        try:
            groups += _read_groups(file, question_id)
            prompt = read_prompt(file, question_id) if prompt is None else prompt
        except (UnreadableRollouts, UnicodeError) as error:
            notes.append(str(error))
    if not groups:
        known = (each for step in sorted(ids, reverse=True) for each in ids[step])
        raise UnknownItem(
            f"show: no rollouts of problem {quote(question_id)} in run {quote(run.name)}: "
            f"{describe_unknown_problem(question_id, known)}"
        )
    return ProblemView(name=run.name, question_id=question_id, prompt=prompt, groups=tuple(groups), notes=tuple(notes))


def _read_groups(file: StepFile, question_id: str) -> list[ProblemGroup]:
    """Read the groups of a problem in a step. Raises UnreadableRollouts."""
    groups = read_groups(file.path, texts=False)
    return [
        ProblemGroup(file.step, compute_group_figures(group)) for group in groups if group.question_id == question_id
    ]


def _describe_drop(group: ProblemGroup) -> str:
    return "" if group.figures.trained else "dropped"
