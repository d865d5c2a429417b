"""Interface of the readers: each turns rows of one published set into candidates.

read_source(reader, file) ──row──► Reader.parse ──SourceRow──► Reader.read ──► Candidate
                                        └── ProblemError, UnwantedRow ──► Dropped
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluator.problem import Problem, ProblemError, ProblemTest, parse_problem, to_row
from launch.curation.candidates import Candidate
from launch.problems.usable_problems import replace_surrogates

MAX_PROGRAMS = 10
"""Labelled programs of a row that are kept, of each label: sets hold up to a thousand for a problem."""

MAX_TESTS_CHARS = 256 << 20
"""Characters of a row's tests. A worker that reads a row of this size needs a few times as much memory."""

_MAX_EASY_RATING = 1200  # of Codeforces problems
_MAX_MEDIUM_RATING = 1800
_DIFFICULTIES = {
    "easy": "easy",
    "medium": "medium",
    "medium_hard": "medium",
    "hard": "hard",
    "very_hard": "hard",
    "introductory": "easy",  # of APPS
    "interview": "medium",
    "competition": "hard",
}
_PLATFORMS = ("atcoder", "codeforces", "leetcode")
_CONTEST_LABEL = re.compile(r"(?:\d+_?)?[A-Z]\d?\.\s+")  # "1575_A. Another Sorting Problem"


class UnwantedRow(ProblemError):
    """Error for a row that is well formed, but not wanted as a candidate.

    Attributes:
        reason: short name of the reason, as in ``Dropped.reason``.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRow:
    """Contents of one row of a set.

    Attributes:
        problem: the problem, whose ``question_id`` is the id of the row in its set.
        right_programs: programs that the set labels as right.
        wrong_programs: programs that the set labels as wrong.
        licence: licence of the row, if it differs from that of the set; otherwise "".
    """

    problem: Problem
    right_programs: Sequence[str] = ()
    wrong_programs: Sequence[str] = ()
    licence: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reader of one published set.

    Attributes:
        name: name of the set, as in ``sources=[NAME]``; part of the ids of its problems.
        licence: licence of the set, as an SPDX identifier or in the words of its card.
        parse: reads a row. Raises ProblemError if it is bad, UnwantedRow if it is not wanted.
        repository: data set on the hub, as "owner/name"; "" if it is not on the hub.
        files: patterns of the files in the repository that hold rows for training.
    """

    name: str
    licence: str
    parse: Callable[[Mapping[str, Any]], SourceRow]
    repository: str = ""
    files: tuple[str, ...] = ()

    def read(self, row: Mapping[str, Any]) -> Candidate:
        """Turn a row into a candidate, whose tests and texts have been checked.

        Raises:
            ProblemError: the row is bad.
            UnwantedRow: the row is not wanted.
        """
        parsed = self.parse(row)
        size = sum(len(test.input) + len(test.output) for test in parsed.problem.tests)
        if size > MAX_TESTS_CHARS:
            raise UnwantedRow("too_large", f"{size} characters of tests; the limit is {MAX_TESTS_CHARS}")
        source_id = replace_surrogates(parsed.problem.question_id)
        problem = _make_texts_unicode(replace(parsed.problem, question_id=f"{self.name}/{source_id}"))
        problem = parse_problem(to_row(problem))  # checks every test
        if not problem.question_content.strip():
            raise ProblemError("the statement is empty")
        return Candidate(
            problem=problem,
            source=self.name,
            source_id=source_id,
            licence=parsed.licence or self.licence,
            right_programs=_select_programs(parsed.right_programs),
            wrong_programs=_select_programs(parsed.wrong_programs),
        )


def make_problem(
    *,
    source_id: str,
    statement: str,
    tests: Iterable[ProblemTest],
    public_tests: Iterable[ProblemTest] = (),
    title: str = "",
    platform: str = "other",
    difficulty: str | None = None,
    contest_date: str | None = None,
    starter_code: str = "",
    func_name: str | None = None,
    checker: Mapping[str, Any] | None = None,
) -> Problem:
    """Build a problem from the parts that sets have.

    Time and memory limits are not among them: those of contests are for compiled languages, and would only lower the
    evaluator's own. A function without starter code gets a comment with its name, since the prompt has to name it.
    """
    if func_name is not None and not starter_code.strip():
        starter_code = f"# Define {func_name} here.\n"
    return Problem(
        question_id=source_id,
        question_title=_strip_contest_label(title),
        question_content=statement,
        platform=platform if platform in _PLATFORMS else "other",
        difficulty=difficulty,
        contest_date=contest_date,
        starter_code=starter_code,
        public_tests=tuple(public_tests),
        private_tests=tuple(tests),
        func_name=func_name,
        checker=checker,
    )


def make_content_id(statement: str, tests: Sequence[ProblemTest]) -> str:
    """Return an id for a row of a set without ids: a hash of statement and tests, equal in whatever file it is."""
    parts = [statement, *(text for test in tests for text in (test.input, test.output))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def normalize_difficulty(value: object) -> str | None:
    """Return easy, medium or hard for a set's word or Codeforces rating; None if it says nothing.

    >>> normalize_difficulty("MEDIUM_HARD"), normalize_difficulty(2100), normalize_difficulty("UNKNOWN_DIFFICULTY")
    ('medium', 'hard', None)
    """
    if isinstance(value, str):
        return _DIFFICULTIES.get(value.strip().lower().replace(" ", "_"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    return "easy" if value <= _MAX_EASY_RATING else "medium" if value <= _MAX_MEDIUM_RATING else "hard"


def get_programs(value: object, name: str) -> list[str]:
    """Return the programs in a column: a list, its JSON text, or a single program. Raises ProblemError."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        try:
            decoded = json.loads(value)
        except (ValueError, RecursionError):
            decoded = None
        value = decoded if isinstance(decoded, list) else [value]
    if not isinstance(value, list) or not all(isinstance(program, str) for program in value):
        raise ProblemError(f"{name}: expected a list of programs, got {type(value).__name__}")
    return value


def _strip_contest_label(title: str) -> str:
    match = _CONTEST_LABEL.match(title.strip())
    return title.strip()[match.end() :] if match else title.strip()


def _select_programs(programs: Sequence[str]) -> tuple[str, ...]:
    distinct = dict.fromkeys(program for program in programs if program.strip())
    return tuple(distinct)[:MAX_PROGRAMS]


def _make_texts_unicode(problem: Problem) -> Problem:
    """Return the problem without lone surrogates in its texts, which columns of Parquet files cannot hold.

    Tests keep them: their JSON text is ASCII.
    """
    return replace(
        problem,
        question_id=replace_surrogates(problem.question_id),
        question_title=replace_surrogates(problem.question_title),
        question_content=replace_surrogates(problem.question_content),
        platform=replace_surrogates(problem.platform),
        difficulty=None if problem.difficulty is None else replace_surrogates(problem.difficulty),
        contest_date=None if problem.contest_date is None else replace_surrogates(problem.contest_date),
        starter_code=replace_surrogates(problem.starter_code),
    )
