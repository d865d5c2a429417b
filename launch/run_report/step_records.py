"""What a report keeps of each step, so that a later build reads only new rollout files: ``data/manifest.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from launch.run_report.report_folder import encode_json
from launch.run_report.rollout_rows import RolloutGroup, RolloutRow
from launch.run_report.step_pages import round_figure
from launch.run_report.text_selection import Level, StepSize

VERSION = 1
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
        text_bytes: size of the files of texts.
        chunks: number of files of texts.
    """

    step: int
    stamp: tuple[int, int]
    rows: int
    signal_rows: int
    figures_bytes: int
    groups: tuple[GroupSummary, ...]
    slow: tuple[SlowCompletion, ...]
    level: Level = "none"
    text_bytes: int = 0
    chunks: int = 0

    @property
    def size(self) -> StepSize:
        """Sizes for the choice of texts."""
        return StepSize(
            step=self.step,
            rows=self.rows,
            signal_rows=self.signal_rows,
            level=self.level,
            text_bytes=self.text_bytes,
        )


@dataclass(frozen=True)
class Manifest:
    """Records of all steps in a report, and the tokenizer that its texts were made with."""

    tokenizer: str | None = None
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
            return -1.0 if value is None else value

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


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the content of manifest.json."""
    steps = [asdict(record) for record in manifest.steps.values()]
    return encode_json({"version": VERSION, "tokenizer": manifest.tokenizer, "steps": steps})


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; an empty one if there is none, or if it is damaged or of another version."""
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != VERSION:
            return Manifest()
        records = [_parse_record(record) for record in values["steps"]]
        return Manifest(values["tokenizer"], {record.step: record for record in records})
    except (OSError, ValueError, KeyError, TypeError):
        return Manifest()  # every page is written again, as for a new report


def _parse_record(values: dict[str, object]) -> StepRecord:
    groups = values.pop("groups")
    slow = values.pop("slow")
    stamp = values.pop("stamp")
    assert isinstance(groups, list) and isinstance(slow, list) and isinstance(stamp, list)
    return StepRecord(
        **values,  # type: ignore[arg-type] # written by encode_manifest of the same version
        stamp=(stamp[0], stamp[1]),
        groups=tuple(GroupSummary(**group) for group in groups),
        slow=tuple(SlowCompletion(**completion) for completion in slow),
    )
