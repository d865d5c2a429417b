"""Pages of a step: the figures of all its completions, and the texts of some of its groups.

A page is a JSON value in a script file, since a page opened from a disk cannot fetch data. Names are short where a
value is repeated for every completion; ``assets/data.js`` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from launch.run_report.highlighting import count_utf16, highlight_python
from launch.run_report.mask_conditions import encode_conditions, list_mask_rules
from launch.run_report.report_folder import encode_json
from launch.run_report.rollout_rows import RolloutGroup, RolloutRow
from launch.run_report.run_files import RecordedSettings
from launch.run_report.token_strip import TokenTexts, Vocabulary, make_token_strip

HEAD_CHARACTERS = 24_000
TAIL_CHARACTERS = 8_000
"""Characters of a longer text that are shown: its start and its end."""
MAX_CHUNK_BYTES = 2_000_000
"""A file of texts holds whole groups up to about this size, so that it loads at once."""
FLAGS: tuple[tuple[str, Callable[[RolloutRow], bool | None]], ...] = (
    ("at_limit", lambda row: row.at_limit),
    ("masked", lambda row: row.masked),
    ("incomplete", lambda row: row.incomplete),
    ("repeated_tail", lambda row: row.repeated_tail),
)
"""Yes-or-no columns, whose value is null where it is unknown."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """A text, shortened if it is long; ``left_out`` is the number of characters between ``head`` and ``tail``."""

    head: str
    left_out: int
    tail: str


def shorten(text: str) -> Excerpt:
    """Shorten a text to its start and its end.

    >>> shorten("short")
    Excerpt(head='short', left_out=0, tail='')
    """
    left_out = len(text) - HEAD_CHARACTERS - TAIL_CHARACTERS
    if left_out <= 0:
        return Excerpt(head=text, left_out=0, tail="")
    return Excerpt(head=text[:HEAD_CHARACTERS], left_out=left_out, tail=text[-TAIL_CHARACTERS:])


def round_figure(value: float | None) -> float | int | None:
    """Round to four significant digits; None if the value is unknown or not finite."""
    if value is None or not math.isfinite(value):
        return None
    if isinstance(value, bool | int):
        return int(value)
    rounded = float(f"{value:.4g}")
    if math.isinf(rounded):  # the largest numbers are rounded up to infinity
        return value
    return int(rounded) if rounded.is_integer() else rounded


def make_column(values: Sequence[object]) -> object:
    """Return a column as JSON: {"all": value} if all its values are equal, otherwise the list."""
    return {"all": values[0]} if values and all(value == values[0] for value in values) else list(values)


def make_step_figures(step: int, groups: Sequence[RolloutGroup], config: RecordedSettings) -> Json:
    """Return the figures of all completions of a step, as columns over the completions in their order.

    The mask's conditions are decided here, since its draw is rounded on the page (``encode_conditions``).
    """
    rules = list_mask_rules(config)
    rows = [row for group in groups for row in group.rows]
    columns: dict[str, Sequence[object]] = {
        "sample": [row.sample_index for row in rows],
        "reward": [round_figure(row.reward) for row in rows],
        "shaped": [round_figure(row.shaped_reward) for row in rows],
        "advantage": [round_figure(row.advantage) for row in rows],
        "unmasked": [round_figure(row.unmasked_advantage) for row in rows],
        "length": [row.response_tokens for row in rows],
        "status": [row.status for row in rows],
        "accepted": [row.accepted_by for row in rows],
        "first_failed": [row.first_failed for row in rows],
        "passed_tests": [row.tests_passed for row in rows],
        "tests": [row.tests_total for row in rows],
        "conditions": [encode_conditions(row, rules) for row in rows],
        "draw": [round_figure(row.mask_draw) for row in rows],
        "temperature": [round_figure(row.temperature) for row in rows],
        "version_min": [row.policy_version_min for row in rows],
        "version_max": [row.policy_version_max for row in rows],
        "generation": [round_figure(row.generation_seconds) for row in rows],
        "evaluation": [round_figure(row.evaluation_seconds) for row in rows],
        **{name: [_as_digit(get(row)) for row in rows] for name, get in FLAGS},
    }
    names = sorted({value for name in ("status", "accepted") for value in columns[name] if isinstance(value, str)})
    numbers = {name: number for number, name in enumerate(names)}
    for name in ("status", "accepted"):
        columns[name] = [numbers[value] if isinstance(value, str) else None for value in columns[name]]
    return {
        "step": step,
        "questions": [group.question_id for group in groups],
        "sizes": [len(group.rows) for group in groups],
        "trained": [int(group.trained) for group in groups],
        "names": names,
        "columns": {name: make_column(values) for name, values in columns.items()},
    }


def _as_digit(value: bool | None) -> int | None:
    return None if value is None else int(value)


def make_group_texts(group: RolloutGroup, vocabulary: Vocabulary) -> Json:
    """Return the texts of a group: its prompt, and for each completion its answer, program, failed test and tokens."""
    prompt = shorten(group.rows[0].prompt or "")
    return {
        "group": group.index,
        "prompt": None if group.rows[0].prompt is None else _as_json(prompt),
        "samples": [_make_sample_texts(row, vocabulary) for row in group.rows],
    }


def _as_json(excerpt: Excerpt) -> Json:
    cut = {"left_out": excerpt.left_out, "tail": excerpt.tail} if excerpt.left_out else {}
    return {"head": excerpt.head, **cut}


def _make_sample_texts(row: RolloutRow, vocabulary: Vocabulary) -> Json:
    texts: Json = {"answer": None if row.response is None else _as_json(shorten(row.response))}
    if row.code is not None:
        code = shorten(row.code)
        texts["spans"] = highlight_python(code.head)
        place = (row.response or "").find(row.code) if not code.left_out and row.code else -1
        if place >= 0 and place + len(row.code) <= HEAD_CHARACTERS:
            start = count_utf16((row.response or "")[:place])
            texts["code"] = [start, start + count_utf16(row.code)]
        else:
            texts["code"] = _as_json(code)
    for name, value in (
        ("input", row.failed_input),
        ("expected", row.failed_expected),
        ("actual", row.failed_actual),
    ):
        if value is not None:
            texts[name] = value
    strip = make_token_strip(row, vocabulary)
    return texts if strip is None else {**texts, "strip": strip}


@dataclass(frozen=True, kw_only=True, slots=True)
class TextChunk:
    """File of texts: JSON of the groups ``groups`` (positions in the step) and the texts of their tokens."""

    groups: tuple[int, ...]
    content: bytes


def make_text_chunks(groups: Sequence[RolloutGroup], decoder: TokenTexts) -> list[TextChunk]:
    """Return the texts of groups, in files of whole groups."""
    chunks = []
    vocabulary = Vocabulary(decoder)
    pending: list[bytes] = []
    first = 0
    for position, group in enumerate(groups):
        pending.append(encode_json(make_group_texts(group, vocabulary)))
        if sum(map(len, pending)) >= MAX_CHUNK_BYTES or position == len(groups) - 1:
            # Each group is encoded once, since its texts are most of the work of a build.
            content = b'{"tokens":' + encode_json(vocabulary.texts) + b',"groups":[' + b",".join(pending) + b"]}"
            chunks.append(TextChunk(groups=tuple(each.index for each in groups[first : position + 1]), content=content))
            vocabulary = Vocabulary(decoder)
            pending = []
            first = position + 1
    return chunks
