"""Coding problems: immutable types, and reading and writing of problem rows."""

from __future__ import annotations

import ast
import base64
import binascii
import datetime
import gzip
import io
import json
import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from evaluator.checker import parse_checker
from evaluator.comparison.json_text import decode_json
from evaluator.errors import UserError
from evaluator.inside.values import ValueFormat, from_tagged

TestType = Literal["stdin", "functional"]

_COLUMNS = frozenset(
    {
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
    }
)
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
class RejectedRow:
    """Row that was skipped: its 1-based line (JSONL) or row number (Parquet), and the reason."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True)
class LoadedProblems:
    """Problems of a file in file order, and the rows that were rejected."""

    problems: tuple[Problem, ...]
    rejected: tuple[RejectedRow, ...]


def parse_problem(row: Mapping[str, Any]) -> Problem:
    """Parse a row with the columns of LiveCodeBench's ``code_generation_lite``. Raises ProblemError.

    Private tests may be encoded as the benchmark ships them: a pickled JSON string, as base64-encoded zlib data.
    """
    metadata = _get_json(row, "metadata", dict, default={})
    func_name = metadata.pop("func_name", None) or None
    if func_name is not None and not (isinstance(func_name, str) and func_name.isidentifier()):
        raise ProblemError(f"metadata.func_name: {func_name!r} is not a Python name")
    test_type: TestType = "stdin" if func_name is None else "functional"
    values = _pop_values(metadata, func_name, _get_text(row, "starter_code"))
    public = _parse_tests(_get_json(row, "public_test_cases", list, default=[]), "public_test_cases", test_type, values)
    private = _parse_tests(_get_private_tests(row), "private_test_cases", test_type, values)
    if not public and not private:
        raise ProblemError("public_test_cases, private_test_cases: no tests at all")
    time_limit = _pop_positive(metadata, "time_limit_s")
    memory_limit = _pop_positive(metadata, "memory_limit_mb")
    checker = metadata.pop("checker", None)
    try:
        parse_checker(checker)
    except ValueError as error:
        raise ProblemError(f"metadata.checker: {error}") from error
    extra = {name: value for name, value in row.items() if name not in _COLUMNS}
    if metadata:
        extra[_METADATA_EXTRA] = metadata
    return Problem(
        question_id=_get_question_id(row),
        question_title=_get_text(row, "question_title"),
        question_content=_get_text(row, "question_content"),
        platform=_get_text(row, "platform") or "other",
        difficulty=_get_optional_text(row, "difficulty"),
        contest_date=_get_optional_text(row, "contest_date"),
        starter_code=_get_text(row, "starter_code"),
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


def load_problems(path: str | Path, strict: bool = False) -> LoadedProblems:
    """Load problems from JSONL, JSONL.gz or Parquet, chosen by the file name's suffix.

    Invalid rows, and rows that repeat an earlier question id, are returned in ``rejected``. With ``strict``, the first
    one raises ProblemError. Raises OSError if the file cannot be read, and ValueError for an unknown suffix.
    """
    problems: dict[str, Problem] = {}
    rejected: list[RejectedRow] = []
    for line, row in _read_rows(Path(path)):
        try:
            problem = parse_problem(_decode_row(row))
            if problem.question_id in problems:
                raise ProblemError(f"question_id: {problem.question_id!r} is a duplicate of an earlier row")
            problems[problem.question_id] = problem
        except ProblemError as error:
            if strict:
                raise ProblemError(f"{path}, line {line}: {error}") from error
            rejected.append(RejectedRow(line, str(error)))
    return LoadedProblems(tuple(problems.values()), tuple(rejected))


def _read_rows(path: Path) -> Iterator[tuple[int, str | bytes | Mapping[str, Any]]]:
    """Yield rows with their 1-based numbers: undecoded lines of JSONL, or mappings of Parquet."""
    if path.suffix == ".parquet":
        import pyarrow.parquet  # slow to import, and only needed for this format

        number = 0
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    elif path.name.endswith((".jsonl", ".jsonl.gz", ".json.gz", ".json")):
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, line
    else:
        raise ValueError(f"{path}: neither .jsonl, .jsonl.gz nor .parquet")


def _decode_row(row: str | bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    try:
        value = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProblemError(f"expected an object, got {type(value).__name__}")
    return value


def _get_text(row: Mapping[str, Any], name: str) -> str:
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
    return _get_text(row, name) or None


def _get_question_id(row: Mapping[str, Any]) -> str:
    value = row.get("question_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ProblemError(f"question_id: expected a non-empty string, got {value!r}")
    return value


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
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ProblemError(f"{name}: not JSON: {error}") from error
    if not isinstance(value, expected_type):
        raise ProblemError(f"{name}: expected a JSON {expected_type.__name__}, got {type(value).__name__}")
    return dict(value) if isinstance(value, dict) else value


def _get_private_tests(row: Mapping[str, Any]) -> list[Any]:
    value = row.get("private_test_cases")
    if isinstance(value, str) and value and not value.lstrip().startswith("["):
        row = {"private_test_cases": _unpack_private_tests(value)}
    cases: list[Any] = _get_json(row, "private_test_cases", list, default=[])
    return cases


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
