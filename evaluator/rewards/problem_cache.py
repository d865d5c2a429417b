"""Problems of the rows that a trainer passes with every answer, parsed once.

A trainer repeats the row of a problem for each of its answers, and unpacking a row can take longer than judging.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from evaluator.problem import PROBLEM_COLUMNS, Problem, ProblemError, parse_problem

REWARD_COLUMNS = (*PROBLEM_COLUMNS, "reference_solutions")
"""Columns of a problem row (docs/formats.md). Other columns of a trainer's dataset are ignored."""
MAX_CACHED_CHARS = 1 << 28  # of inputs and expected outputs

ProblemSource = Problem | Mapping[str, Any] | str
"""A problem, its row, or the JSON text of its row."""


class ProblemCache:
    """The least recently used problems are dropped when the tests of all have over ``MAX_CACHED_CHARS`` characters."""

    def __init__(self) -> None:
        self._problems: OrderedDict[bytes, Problem] = OrderedDict()
        self._chars = 0
        self._lock = threading.Lock()

    def load(self, source: ProblemSource) -> Problem:
        """Return the problem of ``source``. Raises ProblemError if it is not a valid problem."""
        if isinstance(source, Problem):
            return source
        if not isinstance(source, str | Mapping):
            raise ProblemError(f"expected a problem row or its JSON text, got {type(source).__name__}")
        key = _compute_key(source)
        with self._lock:
            if key in self._problems:
                self._problems.move_to_end(key)
                return self._problems[key]
        problem = parse_problem(_decode_text(source) if isinstance(source, str) else _select_columns(source))
        with self._lock:
            self._add(key, problem)
        return problem

    def _add(self, key: bytes, problem: Problem) -> None:
        if key not in self._problems:  # another thread may have parsed the same row
            self._problems[key] = problem
            self._chars += _count_chars(problem)
        while self._chars > MAX_CACHED_CHARS and len(self._problems) > 1:
            _, dropped = self._problems.popitem(last=False)
            self._chars -= _count_chars(dropped)


def find_question_id(source: ProblemSource) -> str:
    """Return the id of an invalid problem for messages; "?" if it has none."""
    try:
        row = _decode_text(source) if isinstance(source, str) else source
    except ProblemError:
        return "?"
    return str(row.get("question_id", "?")) if isinstance(row, Mapping) else "?"


def _select_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in REWARD_COLUMNS if name in row}


def _compute_key(source: Mapping[str, Any] | str) -> bytes:
    """Return a digest of everything in a row that can change a verdict."""
    parts = [source] if isinstance(source, str) else [_dump(value) for value in _select_columns(source).items()]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.digest()


def _dump(column: tuple[str, Any]) -> str:
    name, value = column
    # Most columns are text, often megabytes of it, which need no escaping to be told apart.
    return f"{name} text {value}" if isinstance(value, str) else f"{name} {json.dumps(value, default=repr)}"


def _decode_text(text: str) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"not the JSON text of a problem row: {error}") from error
    if not isinstance(row, dict):
        raise ProblemError(f"expected the JSON text of a problem row, got that of a {type(row).__name__}")
    return row


def _count_chars(problem: Problem) -> int:
    return sum(len(test.input) + len(test.output) for test in problem.tests)
