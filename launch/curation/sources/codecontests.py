"""Reader of DeepMind's CodeContests, with right and wrong programs, and of SandboxFusion's extract of it.

CodeContests' own files were never seen. The columns are those of its card, and a column ``checker`` as later editions
of the set have it. SandboxFusion's file, which was seen, has ``content``, ``labels`` and ``test``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluator.problem import ProblemError, ProblemTest, get_text
from launch.curation.sources.checker_programs import make_custom_checker
from launch.curation.sources.published_tests import decode_json_column, pair_tests
from launch.curation.sources.reader import (
    Reader,
    SourceRow,
    UnwantedRow,
    make_content_id,
    make_problem,
    normalize_difficulty,
)

_PLATFORMS = {1: "codechef", 2: "codeforces", 3: "hackerearth", 4: "codejam", 5: "atcoder", 6: "aizu"}
_DIFFICULTIES = {1: "easy", 2: "medium", 3: "hard", 4: "hard", 5: "hard"}
_PYTHON3 = (3, "PYTHON3")


def parse_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row of either layout. Raises ProblemError, UnwantedRow."""
    return _parse_extract(row) if "content" in row else _parse_published(row)


def _parse_published(row: Mapping[str, Any]) -> SourceRow:
    if get_text(row, "input_file") or get_text(row, "output_file"):
        raise UnwantedRow("not_standard_io", "the program reads or writes a file")
    statement = get_text(row, "description")
    public = _read_tests(row, "public_tests")
    private = _read_tests(row, "private_tests") + _read_tests(row, "generated_tests")
    source = row.get("source")
    checker = get_text(row, "checker")
    problem = make_problem(
        source_id=make_content_id(statement, public),
        statement=statement,
        public_tests=public,
        tests=private,
        title=get_text(row, "name"),
        platform=_PLATFORMS.get(source, "other") if isinstance(source, int) else str(source or "").lower(),
        difficulty=_read_difficulty(row),
        checker=make_custom_checker(checker) if checker else None,
    )
    return SourceRow(
        problem=problem,
        right_programs=_read_programs(row, "solutions"),
        wrong_programs=_read_programs(row, "incorrect_solutions"),
    )


def _read_difficulty(row: Mapping[str, Any]) -> str | None:
    """Return the difficulty by Codeforces rating, else by label. Labels A to V are only places in a contest."""
    label = row.get("difficulty")
    by_label = _DIFFICULTIES.get(label) if isinstance(label, int) else normalize_difficulty(label)
    return normalize_difficulty(row.get("cf_rating")) or by_label


def _read_tests(row: Mapping[str, Any], name: str) -> tuple[ProblemTest, ...]:
    value = row.get(name)
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise ProblemError(f"{name}: expected lists of inputs and outputs, got {type(value).__name__}")
    return pair_tests(value.get("input"), value.get("output"), name, None).tests


def _read_programs(row: Mapping[str, Any], name: str) -> list[str]:
    """Return the programs in Python 3; those in other languages cannot be run."""
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, Mapping):
        raise ProblemError(f"{name}: expected lists of languages and programs, got {type(value).__name__}")
    pairs = zip(value.get("language") or (), value.get("solution") or (), strict=False)
    return [program for language, program in pairs if language in _PYTHON3 and isinstance(program, str)]


def _parse_extract(row: Mapping[str, Any]) -> SourceRow:
    labels = decode_json_column(row.get("labels") or {}, "labels")
    cases = decode_json_column(row.get("test"), "test")
    if not isinstance(labels, Mapping) or not isinstance(cases, list):
        raise ProblemError("labels, test: expected an object and a list")
    try:
        inputs = [case["input"]["stdin"] for case in cases]
        outputs = [case["output"]["stdout"] for case in cases]
    except (KeyError, TypeError) as error:
        raise ProblemError(f"test: expected input.stdin and output.stdout: {error!r}") from error
    problem = make_problem(
        source_id=str(row.get("id", get_text(labels, "name"))),
        statement=get_text(row, "content"),
        tests=pair_tests(inputs, outputs, "test", None).tests,
        title=get_text(labels, "name"),
        platform=get_text(labels, "source").lower(),
        difficulty=normalize_difficulty(labels.get("difficulty")),
    )
    return SourceRow(problem=problem, licence="Apache-2.0")


READER = Reader(
    name="codecontests",
    licence="CC-BY-4.0",
    parse=parse_row,
    repository="deepmind/code_contests",
    files=("data/train-*.parquet",),
)
