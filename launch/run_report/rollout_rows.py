"""Rows of a step's rollout file as groups. Columns that an older version lacked, or had with other types, are None."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

LIST_COLUMNS = {
    "response_token_ids": pa.list_(pa.int32()),
    "sampler_logprobs": pa.list_(pa.float32()),
    "learner_logprobs": pa.list_(pa.float32()),
}
SCALAR_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
"""Arrow types by the name of the Python type."""
TEXT_COLUMNS = ("prompt", "response", "code", "failed_input", "failed_expected", "failed_actual")


class UnreadableRollouts(ValueError):
    """A rollout file is damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutRow:
    """Completion of a rollout file, with the file's column names; None is unknown.

    Attributes:
        response_tokens: number of response tokens.
        response_token_ids: [R] int32.
        sampler_logprobs: [R] float32.
        learner_logprobs: [R] float32, of the policy that the step updated.
    """

    question_id: str = ""
    sample_index: int = 0
    prompt: str | None = None
    response: str | None = None
    response_tokens: int | None = None
    response_token_ids: np.ndarray | None = field(default=None, repr=False)
    sampler_logprobs: np.ndarray | None = field(default=None, repr=False)
    learner_logprobs: np.ndarray | None = field(default=None, repr=False)
    policy_version_min: int | None = None
    policy_version_max: int | None = None
    finish_reason: str | None = None
    temperature: float | None = None
    reward: float | None = None
    shaped_reward: float | None = None
    advantage: float | None = None
    unmasked_advantage: float | None = None
    masked: bool | None = None
    truncated: bool | None = None
    incomplete: bool | None = None
    repeated_tail: bool | None = None
    mask_draw: float | None = None
    trained: bool | None = None
    status: str | None = None
    accepted_by: str | None = None
    first_failed: int | None = None
    tests_passed: int | None = None
    tests_total: int | None = None
    failed_input: str | None = None
    failed_expected: str | None = None
    failed_actual: str | None = None
    code: str | None = None
    generation_seconds: float | None = None
    evaluation_seconds: float | None = None

    @property
    def passed(self) -> bool:
        """True if the program passed all tests."""
        return self.status == "passed"

    @property
    def at_limit(self) -> bool | None:
        """True if the response reached the length limit; None if it is unknown how the response ended."""
        return None if self.finish_reason is None else self.finish_reason == "length"

    @property
    def is_judged(self) -> bool:
        """True if the completion has a verdict and a reward: no sandbox error excluded it."""
        return self.status is not None and self.reward is not None and math.isfinite(self.reward)


TYPES: dict[str, pa.DataType] = {
    **{
        item.name: SCALAR_TYPES[str(item.type).removesuffix(" | None")]
        for item in fields(RolloutRow)
        if item.name not in (*LIST_COLUMNS, "response_tokens")
    },
    **LIST_COLUMNS,
}
"""Types of the columns that are read."""
DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(RolloutRow)}


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """Completions of one claim of a problem in a step.

    Attributes:
        index: position in the step.
        rows: completions in sample order.
    """

    index: int
    question_id: str
    rows: tuple[RolloutRow, ...]

    @property
    def rewards(self) -> list[float]:
        """Rewards of the completions that were not excluded, and are finite."""
        return [row.reward for row in self.rows if row.reward is not None and math.isfinite(row.reward)]

    @property
    def mean_reward(self) -> float | None:
        """Mean reward; None if all completions were excluded."""
        return float(np.mean(self.rewards)) if self.rewards else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the rewards: 0 if the group has no signal; None if it has no rewards."""
        return float(np.std(self.rewards)) if self.rewards else None

    @property
    def has_signal(self) -> bool:
        """True if two completions have different rewards."""
        return len(set(self.rewards)) > 1

    @property
    def trained(self) -> bool:
        """False if dynamic sampling dropped the group."""
        return any(row.trained is not False for row in self.rows)


def read_groups(path: Path, *, texts: bool = True) -> list[RolloutGroup]:
    """Read the groups of a rollout file, in their order.

    Args:
        path: Parquet file.
        texts: also read texts, tokens and log-probs.

    Raises:
        UnreadableRollouts: the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            left_out = set() if texts else {*LIST_COLUMNS, *TEXT_COLUMNS}
            lengths = [] if texts or "response_token_ids" not in present else ["response_token_ids"]
            columns = [name for name in TYPES if name in present - left_out] + lengths
            return split_groups(_make_rows(file.read(columns=columns), keep_lists=texts))
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise UnreadableRollouts(f"{path.name} cannot be read: {error}") from error


def count_rows(path: Path) -> int:
    """Return the number of completions in a rollout file, of which only the end is read. Raises UnreadableRollouts."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise UnreadableRollouts(f"{path.name} cannot be read: {error}") from error


def _make_rows(table: pa.Table, keep_lists: bool) -> list[RolloutRow]:
    columns: dict[str, list[Any]] = {}
    for name in table.column_names:
        column = convert_column(table[name], TYPES[name])
        if column is None:
            continue
        if name == "response_token_ids":
            columns["response_tokens"] = pc.list_value_length(column).to_pylist()
        if name not in LIST_COLUMNS:
            default = DEFAULTS[name]
            columns[name] = (column if default is None else column.fill_null(default)).to_pylist()
        elif keep_lists:
            columns[name] = _split_lists(column)
    names = list(columns)
    return [RolloutRow(**dict(zip(names, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def convert_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """Return a column with another type; None if it cannot have it."""
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _split_lists(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """Return the numbers of each row as an array, without converting them one by one; None for a null."""
    array = column.combine_chunks()
    numbers = np.asarray(array.values.fill_null(0))
    offsets = np.asarray(array.offsets)
    present = np.asarray(array.is_valid())
    return [numbers[offsets[row] : offsets[row + 1]] if present[row] else None for row in range(len(array))]


def split_groups(rows: Sequence[RolloutRow]) -> list[RolloutGroup]:
    """Split a step's rows into groups: one ends where the question changes or the sample index does not rise."""
    groups: list[list[RolloutRow]] = []
    for row in rows:
        previous = groups[-1][-1] if groups else None
        if previous is None or row.question_id != previous.question_id or row.sample_index <= previous.sample_index:
            groups.append([])
        groups[-1].append(row)
    return [
        RolloutGroup(index=index, question_id=group[0].question_id, rows=tuple(group))
        for index, group in enumerate(groups)
    ]
