"""Coding problems: immutable types, and reading and writing of problem rows."""

from __future__ import annotations

import ast
import base64
import binascii
import datetime
import io
import json
import pickle
import zlib
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from evaluator.checker import parse_checker
from evaluator.errors import UserError
from evaluator.inside.values import ValueFormat, from_tagged
from evaluator.json_text import decode_json
from evaluator.row_files import JSON_DECODER, RejectedRow, RowFile, get_question_id

TestType = Literal["stdin", "functional"]

PROBLEM_COLUMNS = (
    "question_id",
    "question_title",
    "question_content",
    "platform",
    "difficulty",
    "contest_date",
    "starter_code",
    "public_test_cases",
    "private_test_cases",
    "metadata",
)
"""Columns of a problem row that ``parse_problem`` reads. It keeps others in ``Problem.extra``."""
_METADATA_EXTRA = "metadata"  # key of Problem.extra that holds unknown metadata keys
_MAX_UNPACKED_BYTES = 1 << 30  # protects the machine against decompression bombs


@dataclass(frozen=True)
class ProblemTest:
    """Test of a problem.

    ``stdin``: input and output are texts. ``functional``: the input is one JSON value per line, the output one JSON
    value.
    """

    input: str
    output: str
    testtype: TestType = "stdin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Programming problem, as in LiveCodeBench's ``code_generation_lite`` rows.

    Attributes:
        func_name: function to call; None for standard-input problems.
        checker: the decoded ``metadata.checker``, if any.
        values: encoding of arguments and results of functions: "json", or "python" for tagged JSON
            (``evaluator.inside.values``). With "python", ``starter_code`` is a complete program.
        extra: columns that this project does not interpret.
    """

    question_id: str
    question_title: str
    question_content: str
    platform: str
    difficulty: str | None
    contest_date: str | None
    starter_code: str
    public_tests: tuple[ProblemTest, ...]
    private_tests: tuple[ProblemTest, ...]
    func_name: str | None = None
    time_limit_s: float | None = None
    memory_limit_mb: int | None = None
    checker: Mapping[str, Any] | None = None
    values: ValueFormat = "json"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tests(self) -> tuple[ProblemTest, ...]:
        """Public tests, then private tests. ``Verdict.first_failed`` is an index into this tuple."""
        return self.public_tests + self.private_tests


class ProblemError(UserError, ValueError):
    """Error for a row that is not a valid problem. The message names the field and the error."""


@dataclass(frozen=True)
class LoadedProblems:
    """Problems of a file.

    Attributes:
        problems: the problems in file order.
        rejected: the rows that are no valid problem.
        unwanted: number of rows that were left out because nobody asked for their problem.
    """

    problems: tuple[Problem, ...]
    rejected: tuple[RejectedRow, ...]
    unwanted: int = 0


def parse_problem(row: Mapping[str, Any]) -> Problem:
    """Parse a row with the columns of LiveCodeBench's ``code_generation_lite``. Raises ProblemError.

    Private tests may be encoded as the benchmark ships them: a pickled JSON string, as base64-encoded zlib data.
    """
    metadata = _get_json(row, "metadata", dict, default={})
    func_name = metadata.pop("func_name", None) or None
    if func_name is not None and not (isinstance(func_name, str) and func_name.isidentifier()):
        raise ProblemError(f"metadata.func_name: {func_name!r} is not a Python name")
    test_type: TestType = "stdin" if func_name is None else "functional"
    values = _pop_values(metadata, func_name, get_text(row, "starter_code"))
    public = _parse_tests(_get_json(row, "public_test_cases", list, default=[]), "public_test_cases", test_type, values)
    private = _parse_tests(_get_private_tests(row), "private_test_cases", test_type, values)
    if not public and not private:
        hint = "; this looks like a row of solutions" if "code_list" in row or "output_list" in row else ""
        raise ProblemError(f"public_test_cases, private_test_cases: no tests at all{hint}")
    time_limit = _pop_positive(metadata, "time_limit_s")
    memory_limit = _pop_positive(metadata, "memory_limit_mb")
    checker = metadata.pop("checker", None)
    try:
        parse_checker(checker)
    except ValueError as error:
        raise ProblemError(f"metadata.checker: {error}") from error
    extra = {name: value for name, value in row.items() if name not in PROBLEM_COLUMNS}
    if metadata:
        extra[_METADATA_EXTRA] = metadata
    return Problem(
        question_id=_get_question_id(row),
        question_title=get_text(row, "question_title"),
        question_content=get_text(row, "question_content"),
        platform=get_text(row, "platform") or "other",
        difficulty=_get_optional_text(row, "difficulty"),
        contest_date=_get_optional_text(row, "contest_date"),
        starter_code=get_text(row, "starter_code"),
        public_tests=public,
        private_tests=private,
        func_name=func_name,
        time_limit_s=time_limit,
        memory_limit_mb=None if memory_limit is None else int(memory_limit),
        checker=checker,
        values=values,
        extra=extra,
    )


def to_row(problem: Problem) -> dict[str, Any]:
    """Convert a problem to a row with tests and metadata as JSON strings. Inverse of ``parse_problem``."""
    extra = dict(problem.extra)
    metadata = dict(extra.pop(_METADATA_EXTRA, {}))
    for name, value in (
        ("func_name", problem.func_name),
        ("time_limit_s", problem.time_limit_s),
        ("memory_limit_mb", problem.memory_limit_mb),
        ("checker", None if problem.checker is None else dict(problem.checker)),
        ("values", None if problem.values == "json" else problem.values),
    ):
        if value is not None:
            metadata[name] = value
    return {
        "question_id": problem.question_id,
        "question_title": problem.question_title,
        "question_content": problem.question_content,
        "platform": problem.platform,
        "difficulty": problem.difficulty,
        "contest_date": problem.contest_date,
        "starter_code": problem.starter_code,
        "public_test_cases": _dump_tests(problem.public_tests),
        "private_test_cases": _dump_tests(problem.private_tests),
        "metadata": json.dumps(metadata),
        **extra,
    }


def load_problems(
    source: str | Path | RowFile, strict: bool = False, wanted: Container[str] | None = None
) -> LoadedProblems:
    """Load the problems of a JSON list, JSONL or Parquet file, compressed with gzip or not (``evaluator.row_files``).

    Args:
        source: the file.
        strict: raise ProblemError for the first row that is no valid problem. Otherwise such rows, among them those
            that repeat an earlier question id, are returned in ``rejected``.
        wanted: ids of the problems to load; None loads all. Packed private tests of other problems are not unpacked,
            so that their rows are not checked completely.

    Raises:
        OSError: the file cannot be read.
        RowFileError: the file is damaged.
        ProblemError: a row is no valid problem, and ``strict`` is set.
    """
    if not isinstance(source, RowFile):
        with RowFile(Path(source)) as file:
            return load_problems(file, strict, wanted)
    problems: dict[str, Problem | None] = {}  # None for an unwanted problem
    rejected: list[RejectedRow] = []
    for row in source.read():
        if not isinstance(row, RejectedRow):
            number, columns = row
            try:
                problem = _parse_wanted(columns, wanted)
                question_id = _get_question_id(columns)
                if question_id in problems:
                    raise ProblemError(f"question_id: {question_id!r} is a duplicate of an earlier row")
                problems[question_id] = problem
                continue
            except ProblemError as error:
                row = RejectedRow(number, str(error), get_question_id(columns))
            except RecursionError:
                row = RejectedRow(number, "nested too deeply", get_question_id(columns))
        if strict:
            raise ProblemError(f"{source.path}, {row}")
        rejected.append(row)
    loaded = tuple(problem for problem in problems.values() if problem is not None)
    return LoadedProblems(loaded, tuple(rejected), len(problems) - len(loaded))


def _parse_wanted(row: Mapping[str, Any], wanted: Container[str] | None) -> Problem | None:
    """Parse a row; None for an unwanted problem, whose packed tests are not looked at. Raises ProblemError."""
    is_wanted = wanted is None or _get_question_id(row) in wanted
    if not is_wanted and _is_packed(row.get("private_test_cases")):
        return None
    problem = parse_problem(row)
    return problem if is_wanted else None


def get_text(row: Mapping[str, Any], name: str) -> str:
    """Return a column's text, "" if it is null or missing. Raises ProblemError if it is something else."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ProblemError(f"{name}: expected text, got {type(value).__name__}")
    return value


def _get_optional_text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if isinstance(value, datetime.date):  # Parquet may contain a timestamp where JSON has a string
        return value.isoformat()
    return get_text(row, name) or None


def _get_question_id(row: Mapping[str, Any]) -> str:
    question_id = get_question_id(row)
    if question_id is None:
        raise ProblemError(f"question_id: expected a non-empty string, got {row.get('question_id')!r}"[:300])
    return question_id


def _pop_positive(metadata: dict[str, Any], name: str) -> float | None:
    value = metadata.pop(name, None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ProblemError(f"metadata.{name}: expected a positive number, got {value!r}")
    return value


def _get_json(row: Mapping[str, Any], name: str, expected_type: type, default: Any) -> Any:
    """Return a column that contains JSON text, or an already decoded value (from Parquet or written by hand)."""
    value = row.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, str):
        try:
            value = JSON_DECODER.decode(value)
        except (ValueError, RecursionError) as error:
            raise ProblemError(f"{name}: not JSON: {error}") from error
    if not isinstance(value, expected_type):
        raise ProblemError(f"{name}: expected a JSON {expected_type.__name__}, got {type(value).__name__}")
    return dict(value) if isinstance(value, dict) else value


def _get_private_tests(row: Mapping[str, Any]) -> list[Any]:
    value = row.get("private_test_cases")
    if _is_packed(value):
        row = {"private_test_cases": _unpack_private_tests(str(value))}
    cases: list[Any] = _get_json(row, "private_test_cases", list, default=[])
    return cases


def _is_packed(tests: object) -> bool:
    return isinstance(tests, str) and tests != "" and not tests.lstrip().startswith("[")


class _TextOnlyUnpickler(pickle.Unpickler):
    """Unpickler for plain data. It rejects every class or function that a pickle names, so a pickle cannot run code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Reject a class or function that the pickle names. Raises ProblemError."""
        raise ProblemError(f"private_test_cases: the pickle refers to {module}.{name}; only a plain string is allowed")


def _unpack_private_tests(text: str) -> str:
    """Decode a pickled string from base64-encoded zlib data. Raises ProblemError."""
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(base64.b64decode(text, validate=True), _MAX_UNPACKED_BYTES)
        if inflater.unconsumed_tail:
            raise ProblemError(f"private_test_cases: unpacks to more than {_MAX_UNPACKED_BYTES} bytes")
        value = _TextOnlyUnpickler(io.BytesIO(data)).load()
    except ProblemError:
        raise
    except (binascii.Error, zlib.error) as error:
        raise ProblemError(f"private_test_cases: neither JSON nor base64-encoded zlib data: {error}") from error
    except Exception as error:  # a malformed pickle may raise nearly any exception, always for the same reason
        raise ProblemError(f"private_test_cases: not a pickle of a string: {error!r}") from error
    if not isinstance(value, str):
        raise ProblemError(f"private_test_cases: the pickle holds {type(value).__name__}, not a string")
    return value


def _pop_values(metadata: dict[str, Any], func_name: str | None, starter_code: str) -> ValueFormat:
    values: ValueFormat | None = metadata.pop("values", None)
    if values is None or values == "json":
        return "json"
    if values != "python":
        raise ProblemError(f"metadata.values: {values!r} is neither json nor python")
    if func_name is None:
        raise ProblemError("metadata.values: python is for functional problems only, and metadata.func_name is missing")
    try:
        ast.parse(starter_code)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ProblemError(f"starter_code: with metadata.values python it must be Python by itself: {error}") from error
    return values


def _parse_tests(cases: list[Any], name: str, test_type: TestType, values: ValueFormat) -> tuple[ProblemTest, ...]:
    tests = []
    for index, case in enumerate(cases):
        location = f"{name}[{index}]"
        if not isinstance(case, dict):
            raise ProblemError(f"{location}: expected an object, got {type(case).__name__}")
        for key in ("input", "output"):
            if not isinstance(case.get(key), str):
                raise ProblemError(f"{location}.{key}: expected text, got {case.get(key)!r}"[:300])
        case_type = case.get("testtype") or test_type
        if case_type != test_type:
            raise ProblemError(
                f"{location}.testtype: expected {test_type!r}, as metadata.func_name implies, got {case_type!r}"
            )
        if test_type == "functional":
            decode = _decode_tagged if values == "python" else decode_json
            _check_json_value(case["output"], f"{location}.output", decode)
            for number, line in enumerate(case["input"].split("\n"), 1):
                if line.strip():
                    _check_json_value(line, f"{location}.input, line {number}", decode)
        tests.append(ProblemTest(case["input"], case["output"], test_type))
    return tuple(tests)


def _decode_tagged(text: str) -> Any:
    return from_tagged(decode_json(text))


def _check_json_value(text: str, location: str, decode: Callable[[str], Any]) -> None:
    try:
        decode(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ProblemError(f"{location}: not one JSON value: {error}") from error


def _dump_tests(tests: tuple[ProblemTest, ...]) -> str:
    return json.dumps([{"input": t.input, "output": t.output, "testtype": t.testtype} for t in tests])
