"""What a report keeps of each step, so that a later build reads only new rollout files: ``data/manifest.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from launch.run_report.report_folder import encode_json
from launch.run_report.rollout_rows import RolloutGroup, RolloutRow
from launch.run_report.step_pages import round_figure
from launch.run_report.text_selection import Level, StepSize

VERSION = 3
"""Raise it when the content of step pages changes: pages of another version are written again."""
SLOWEST = 5
"""Completions kept of each step for the tables of the slowest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSummary:
    """Figures of a group for lists of groups; None is unknown.

    Attributes:
        passed: completions that passed.
        size: completions.
        mean_reward: mean reward.
        spread: standard deviation of the rewards.
        at_limit: completions at the length limit.
        mean_tokens: mean response length in tokens.
        trained: False if dynamic sampling dropped the group.
    """

    question_id: str
    passed: int
    size: int
    mean_reward: float | None
    spread: float
    at_limit: int
    mean_tokens: float | None
    trained: bool


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
    return GroupSummary(
        question_id=group.question_id,
        passed=sum(row.passed for row in group.rows),
        size=len(group.rows),
        mean_reward=round_figure(group.mean_reward),
        spread=round_figure(group.spread) or 0,
        at_limit=sum(row.at_limit for row in group.rows),
        mean_tokens=round_figure(float(np.mean(lengths))) if lengths else None,
        trained=group.trained,
    )


def find_slowest(step: int, groups: Sequence[RolloutGroup]) -> tuple[SlowCompletion, ...]:
    """Return the completions of a step that took longest to sample and those that took longest to judge."""
    placed = [(group, row) for group in groups for row in group.rows]

    def by_seconds(attribute: str) -> list[tuple[RolloutGroup, RolloutRow]]:
        def seconds(item: tuple[RolloutGroup, RolloutRow]) -> float:
            row = item[1]
            value = row.generation_seconds if attribute == "generation" else row.evaluation_seconds
            return -1.0 if value is None or not math.isfinite(value) else value

        return sorted(placed, key=seconds, reverse=True)[:SLOWEST]

    chosen = {
        (group.index, row.sample_index): (group, row)
        for group, row in (*by_seconds("generation"), *by_seconds("evaluation"))
    }
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
