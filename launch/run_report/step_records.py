"""What a report keeps of each step, so that a later build reads only new rollout files: ``data/manifest.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from launch.run_report.report_folder import encode_json
from launch.run_report.rollout_rows import RolloutGroup, RolloutRow
from launch.run_report.step_pages import round_figure
from launch.run_report.text_selection import Level, StepSize

VERSION = 4
"""Raise it when the content of step pages changes: pages of another version are written again."""
SHOWN_SLOWEST = 10
"""Rows of each table of the slowest. As many completions are kept of each step: all of them may be of a single one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSummary:
    """Figures of a group for lists of groups; None is unknown.

    Attributes:
        passed: completions that passed.
        judged: completions with a verdict and a reward.
        size: completions.
        mean_reward: mean reward.
        spread: standard deviation of the rewards.
        at_limit: completions at the length limit.
        mean_tokens: mean response length in tokens.
        trained: False if dynamic sampling dropped the group.
        timed: programs of which it is known how long judging them took.
        judging_seconds: time that judging these programs took, all together.
        longest_judging_seconds: longest time that judging one of them took.
    """

    question_id: str
    passed: int | None
    judged: int
    size: int
    mean_reward: float | None
    spread: float | None
    at_limit: int | None
    mean_tokens: float | None
    trained: bool
    timed: int
    judging_seconds: float | None
    longest_judging_seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowCompletion:
    """A completion that took long to sample or to judge."""

    step: int
    group: int
    sample_index: int
    question_id: str
    status: str | None
    tokens: int | None
    generation_seconds: float | None
    evaluation_seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """State of a step's pages.

    Attributes:
        stamp: stamp of the rollout file that the pages were made from.
        rows: completions.
        signal_rows: completions of groups with signal.
        figures_bytes: size of the page of figures.
        groups: groups in their order.
        slow: slowest completions.
        level: texts in the report.
        chunks: number of files of texts.
        all_bytes: size of the files of all texts; None if they were never written.
        signal_bytes: size of the files of texts of the groups with signal; None if they were never written.
    """

    step: int
    stamp: tuple[int, int]
    rows: int
    signal_rows: int
    figures_bytes: int
    groups: tuple[GroupSummary, ...]
    slow: tuple[SlowCompletion, ...]
    level: Level = "none"
    chunks: int = 0
    all_bytes: int | None = None
    signal_bytes: int | None = None

    @property
    def text_bytes(self) -> int:
        """Size of the texts in the report."""
        return {"all": self.all_bytes, "signal": self.signal_bytes, "none": 0}[self.level] or 0

    @property
    def size(self) -> StepSize:
        """Sizes for the choice of texts."""
        return StepSize(
            step=self.step,
            rows=self.rows,
            signal_rows=self.signal_rows,
            all_bytes=self.all_bytes,
            signal_bytes=self.signal_bytes,
        )


@dataclass(frozen=True)
class Manifest:
    """Records of all steps in a report, the tokenizer of its texts, and the distance between its steps."""

    tokenizer: str | None = None
    every: int = 1
    steps: dict[int, StepRecord] = field(default_factory=dict)


def summarize_group(group: RolloutGroup) -> GroupSummary:
    """Return the figures of a group."""
    lengths = [row.response_tokens for row in group.rows if row.response_tokens is not None]
    seconds = [value for row in group.rows if (value := _get_finite(row.evaluation_seconds)) is not None]
    return GroupSummary(
        question_id=group.question_id,
        passed=_count_known(row.passed if row.status is not None else None for row in group.rows),
        judged=sum(row.is_judged for row in group.rows),
        size=len(group.rows),
        mean_reward=round_figure(group.mean_reward),
        spread=round_figure(group.spread),
        at_limit=_count_known(row.at_limit for row in group.rows),
        mean_tokens=round_figure(float(np.mean(lengths))) if lengths else None,
        trained=group.trained,
        timed=len(seconds),
        judging_seconds=_round_time(sum(seconds)) if seconds else None,
        longest_judging_seconds=_round_time(max(seconds)) if seconds else None,
    )


def _count_known(values: Iterable[bool | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _get_finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _round_time(seconds: float) -> float | None:
    """Round to milliseconds, not to four digits, since times of many groups are added; None if not finite."""
    return round(seconds, 3) if math.isfinite(seconds) else None


def find_slowest(step: int, groups: Sequence[RolloutGroup]) -> tuple[SlowCompletion, ...]:
    """Return the completions of a step that took longest to sample and those that took longest to judge."""
    placed = [(group, row) for group in groups for row in group.rows]

    def take_slowest(get: Callable[[RolloutRow], float | None]) -> list[tuple[RolloutGroup, RolloutRow]]:
        timed = [(seconds, *item) for item in placed if (seconds := _get_finite(get(item[1]))) is not None]
        timed.sort(key=lambda item: item[0], reverse=True)
        return [(group, row) for _, group, row in timed[:SHOWN_SLOWEST]]

    slowest = (*take_slowest(lambda row: row.generation_seconds), *take_slowest(lambda row: row.evaluation_seconds))
    chosen = {(group.index, row.sample_index): (group, row) for group, row in slowest}
    return tuple(
        SlowCompletion(
            step=step,
            group=group.index,
            sample_index=row.sample_index,
            question_id=row.question_id,
            status=row.status,
            tokens=row.response_tokens,
            generation_seconds=round_figure(row.generation_seconds),
            evaluation_seconds=round_figure(row.evaluation_seconds),
        )
        for group, row in chosen.values()
    )


GROUP_FIELDS = tuple(item.name for item in fields(GroupSummary))
SLOW_FIELDS = tuple(item.name for item in fields(SlowCompletion))
STEP_NUMBERS = ("step", "rows", "signal_rows", "figures_bytes", "chunks")
STEP_FIELDS = (*STEP_NUMBERS, "stamp", "level", "all_bytes", "signal_bytes")


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the content of manifest.json, in which groups and completions are lists of their values."""
    get_group = attrgetter(*GROUP_FIELDS)
    get_completion = attrgetter(*SLOW_FIELDS)
    steps = [
        {
            **{name: getattr(record, name) for name in STEP_FIELDS},
            "groups": [get_group(group) for group in record.groups],
            "slow": [get_completion(completion) for completion in record.slow],
        }
        for record in manifest.steps.values()
    ]
    return encode_json({"version": VERSION, "tokenizer": manifest.tokenizer, "every": manifest.every, "steps": steps})


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; an empty one if there is none, or if it is damaged or of another version."""
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != VERSION:
            return Manifest()
        records = [_parse_record(record) for record in values["steps"]]
        return Manifest(values["tokenizer"], int(values["every"]), {record.step: record for record in records})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Manifest()  # every page is written again, as for a new report


def _parse_record(values: dict[str, Any]) -> StepRecord:
    """Return a record as ``encode_manifest`` of the same version wrote it. Raises ValueError, KeyError, TypeError."""
    if any(type(values[name]) is not int for name in STEP_NUMBERS):
        raise TypeError("a number of a step is none")
    modified, size = values["stamp"]
    return StepRecord(
        **{name: values[name] for name in STEP_FIELDS if name != "stamp"},
        stamp=(modified, size),
        groups=tuple(GroupSummary(**dict(zip(GROUP_FIELDS, group, strict=True))) for group in values["groups"]),
        slow=tuple(SlowCompletion(**dict(zip(SLOW_FIELDS, each, strict=True))) for each in values["slow"]),
    )
