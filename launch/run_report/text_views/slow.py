"""View ``slow``: the programs that took longest to judge, and the completions that took longest to sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group, RenderableType

from launch.run_report.rollout_rows import UnreadableRollouts
from launch.run_report.run_files import RunFiles, StepFile
from launch.run_report.text_views.formatting import (
    Justify,
    format_count,
    format_number,
    make_notes,
    make_section,
    make_table,
    make_title,
)
from launch.run_report.text_views.rollout_lookup import read_columns

SHOWN = 10
"""Length of each list."""
JUDGED = "evaluation_seconds"
SAMPLED = "generation_seconds"
COLUMNS = ("question_id", "sample_index", "status", "finish_reason", JUDGED, SAMPLED)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowSample:
    """A completion that took long to judge or to sample.

    Attributes:
        tokens: response tokens; only of those that took long to sample.
    """

    step: int
    question_id: str
    sample_index: int
    status: str | None
    finish_reason: str | None
    tokens: int | None
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowProblem:
    """Time that judging the programs of a problem took, over all steps."""

    question_id: str
    programs: int
    total_seconds: float
    mean_seconds: float
    longest_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowView:
    """Slowest programs, problems and generations of a run, the slowest first.

    Attributes:
        steps: rollout files that were read.
        judging_seconds: time that judging took, over all programs; None if the files do not have it.
        programs: completions whose programs took longest to judge.
        problems: problems whose programs took longest to judge, all together.
        generations: completions that took longest to sample.
        notes: files that could not be read.
    """

    name: str
    steps: int
    judging_seconds: float | None
    programs: tuple[SlowSample, ...]
    problems: tuple[SlowProblem, ...]
    generations: tuple[SlowSample, ...]
    notes: tuple[str, ...]

    def render(self) -> RenderableType:
        """Return the view for a terminal."""
        programs = [
            [each.question_id, str(each.step), str(each.sample_index), format_number(each.seconds, 2), each.status]
            for each in self.programs
        ]
        problems = [
            [
                each.question_id,
                str(each.programs),
                format_number(each.total_seconds, 1),
                format_number(each.mean_seconds, 2),
                format_number(each.longest_seconds, 2),
            ]
            for each in self.problems
        ]
        generations = [
            [
                each.question_id,
                str(each.step),
                str(each.sample_index),
                format_number(each.seconds, 2),
                format_count(each.tokens),
                each.finish_reason,
            ]
            for each in self.generations
        ]
        place: dict[str, Justify] = dict.fromkeys(("step", "sample", "seconds"), "right")
        seconds: dict[str, Justify] = dict.fromkeys(("programs", "total s", "mean s", "longest s"), "right")
        total = f"judging took {format_number(self.judging_seconds, 1)} s in all"
        return Group(
            make_title(f"slowest of run {self.name}, in {self.steps} steps; {total}"),
            make_section("programs", make_table({"problem": "left", **place, "status": "left"}, programs)),
            make_section("problems, by the total time", make_table({"problem": "left", **seconds}, problems)),
            make_section(
                "generations",
                make_table({"problem": "left", **place, "tokens": "right", "finish": "left"}, generations),
            ),
            *make_notes(self.notes),
        )


@dataclass(frozen=True)
class _Candidate:
    """Row of a rollout file, as values by column; "row" is its position."""

    file: StepFile
    values: Mapping[str, Any]


def make_slow(run: RunFiles) -> SlowView:
    """Make the view of what was slow. Of each rollout file, only columns of figures are read."""
    notes: list[str] = []
    programs: list[_Candidate] = []
    generations: list[_Candidate] = []
    times: dict[str, SlowProblem] = {}
    steps = 0
    for file in run.rollouts:
        try:
            table = read_columns(file, COLUMNS)
            times_in_step = _sum_by_problem(table)
            programs = _keep_slowest([*programs, *_find_slowest(file, table, JUDGED)], JUDGED)
            generations = _keep_slowest([*generations, *_find_slowest(file, table, SAMPLED)], SAMPLED)
        except (UnreadableRollouts, UnicodeError) as error:
            notes.append(str(error))
            continue
        steps += 1
        for each in times_in_step:
            earlier = times.get(each.question_id)
            times[each.question_id] = each if earlier is None else _add_times(earlier, each)
    lengths = {each.file.step: _read_lengths(each.file) for each in generations}
    return SlowView(
        name=run.name,
        steps=steps,
        judging_seconds=sum(each.total_seconds for each in times.values()) if times else None,
        programs=tuple(_make_sample(each, JUDGED) for each in programs),
        problems=tuple(sorted(times.values(), key=lambda each: -each.total_seconds)[:SHOWN]),
        generations=tuple(_make_sample(each, SAMPLED, lengths[each.file.step]) for each in generations),
        notes=tuple(notes),
    )


def _keep_slowest(candidates: Iterable[_Candidate], column: str) -> list[_Candidate]:
    return sorted(candidates, key=lambda each: -each.values[column])[:SHOWN]


def _select_finite(table: pa.Table, column: str) -> pa.Table | None:
    """Return the rows whose ``column`` is a finite number; None if the file lacks what is needed."""
    if not {"question_id", "sample_index", column} <= set(table.column_names):
        return None
    return table.filter(pc.is_finite(table[column]))


def _find_slowest(file: StepFile, table: pa.Table, column: str) -> list[_Candidate]:
    """Return the slowest completions of a step, those with the largest value in ``column``."""
    chosen = _select_finite(table.append_column("row", pa.array(range(table.num_rows), pa.int32())), column)
    if chosen is None:
        return []
    rows = chosen.sort_by([(column, "descending")]).slice(0, SHOWN).to_pylist()
    return [_Candidate(file, row) for row in rows]


def _read_lengths(file: StepFile) -> list[int | None] | None:
    """Return the number of response tokens of each row of a step; None if the file does not have them."""
    table = read_columns(file, ["response_token_ids"])
    return pc.list_value_length(table.column(0)).to_pylist() if table.num_columns else None


def _make_sample(candidate: _Candidate, column: str, lengths: Sequence[int | None] | None = None) -> SlowSample:
    values = candidate.values
    return SlowSample(
        step=candidate.file.step,
        question_id=values["question_id"],
        sample_index=values["sample_index"],
        status=values.get("status"),
        finish_reason=values.get("finish_reason"),
        tokens=None if lengths is None else lengths[values["row"]],
        seconds=values[column],
    )


def _sum_by_problem(table: pa.Table) -> list[SlowProblem]:
    """Return the time that judging took, by problem of a step."""
    chosen = _select_finite(table, JUDGED)
    if chosen is None:
        return []
    sums = chosen.group_by("question_id").aggregate([(JUDGED, "count"), (JUDGED, "sum"), (JUDGED, "max")])
    return [
        SlowProblem(
            question_id=row["question_id"],
            programs=row[f"{JUDGED}_count"],
            total_seconds=row[f"{JUDGED}_sum"],
            mean_seconds=row[f"{JUDGED}_sum"] / row[f"{JUDGED}_count"],
            longest_seconds=row[f"{JUDGED}_max"],
        )
        for row in sums.to_pylist()
    ]


def _add_times(first: SlowProblem, second: SlowProblem) -> SlowProblem:
    programs = first.programs + second.programs
    total = first.total_seconds + second.total_seconds
    return SlowProblem(
        question_id=first.question_id,
        programs=programs,
        total_seconds=total,
        mean_seconds=total / programs,
        longest_seconds=max(first.longest_seconds, second.longest_seconds),
    )
