"""What a coding problem is: frozen types and the reading of problem rows."""

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
from evaluator.errors import UserError
from evaluator.inside.values import Values, from_tagged_text

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
_METADATA_EXTRA = "metadata"  # key of Problem.extra under which unknown metadata keys are kept
_MAX_UNPACKED = 1 << 30  # bytes; a compressed bomb must not take the machine with it


@dataclass(frozen=True)
class ProblemTest:
    """One test. ``stdin``: text in, text out. ``functional``: one JSON value a line in, one JSON value out."""

    input: str
    output: str
    testtype: TestType = "stdin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One programming problem, as in LiveCodeBench's ``code_generation_lite`` rows.

    ``func_name`` is None for standard-input problems. ``values``: arguments and results of functions are JSON, or with
    "python" tagged JSON (``evaluator.inside.values``) and ``starter_code`` a whole program. ``checker`` is the
    decoded ``metadata.checker``, if any. ``extra`` keeps the columns this project gives no meaning to.
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
    values: Values = "json"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tests(self) -> tuple[ProblemTest, ...]:
        """Public tests first, then private ones: the order in which ``first_failed`` counts."""
        return self.public_tests + self.private_tests


class ProblemError(UserError, ValueError):
    """A row that is not a problem; the message names the field and what is wrong with it."""


@dataclass(frozen=True)
class RejectedRow:
    """A row that was skipped: its 1-based line (JSONL) or row (Parquet) and why."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True)
class LoadedProblems:
    """The problems of a file in its order, and the rows that are none."""

    problems: tuple[Problem, ...]
    rejected: tuple[RejectedRow, ...]


def parse_problem(row: Mapping[str, Any]) -> Problem:
    """A problem from a row with the columns of LiveCodeBench's ``code_generation_lite``.

    Private tests may be base64 of zlib of a pickled JSON string, as the benchmark ships them. Raises ProblemError.
    """
    metadata = _json_field(row, "metadata", dict, default={})
    func_name = metadata.pop("func_name", None) or None
    if func_name is not None and not (isinstance(func_name, str) and func_name.isidentifier()):
        raise ProblemError(f"metadata.func_name: {func_name!r} is not a Python name")
    kind: TestType = "stdin" if func_name is None else "functional"
    values = _values(metadata, func_name, _text(row, "starter_code"))
    public = _tests(_json_field(row, "public_test_cases", list, default=[]), "public_test_cases", kind, values)
    private = _tests(_private_cases(row), "private_test_cases", kind, values)
    if not public and not private:
        raise ProblemError("public_test_cases, private_test_cases: no tests at all")
    time_limit = _positive(metadata, "time_limit_s")
    memory_limit = _positive(metadata, "memory_limit_mb")
    checker = metadata.pop("checker", None)
    try:
        parse_checker(checker)
    except ValueError as error:
        raise ProblemError(f"metadata.checker: {error}") from error
    extra = {name: value for name, value in row.items() if name not in _COLUMNS}
    if metadata:
        extra[_METADATA_EXTRA] = metadata
    return Problem(
        question_id=_required_id(row),
        question_title=_text(row, "question_title"),
        question_content=_text(row, "question_content"),
        platform=_text(row, "platform") or "other",
        difficulty=_optional_text(row, "difficulty"),
        contest_date=_optional_text(row, "contest_date"),
        starter_code=_text(row, "starter_code"),
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
    """The row of a problem, with tests and metadata as JSON strings: what ``parse_problem`` reads back."""
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
        "public_test_cases": _tests_json(problem.public_tests),
        "private_test_cases": _tests_json(problem.private_tests),
        "metadata": json.dumps(metadata),
        **extra,
    }


def load_problems(path: str | Path, strict: bool = False) -> LoadedProblems:
    """Read problems from JSONL, JSONL.gz or Parquet (by the name's end).

    Rows that are no problems, and rows whose id came before, are reported in ``rejected``; with ``strict`` the first
    one raises ProblemError. A file that cannot be read at all raises OSError, or ValueError for an unknown ending.
    """
    problems: dict[str, Problem] = {}
    rejected: list[RejectedRow] = []
    for line, row in _rows(Path(path)):
        try:
            problem = parse_problem(_decoded(row))
            if problem.question_id in problems:
                raise ProblemError(f"question_id: {problem.question_id!r} came before")
            problems[problem.question_id] = problem
        except ProblemError as error:
            if strict:
                raise ProblemError(f"{path}, line {line}: {error}") from error
            rejected.append(RejectedRow(line, str(error)))
    return LoadedProblems(tuple(problems.values()), tuple(rejected))


def _rows(path: Path) -> Iterator[tuple[int, str | bytes | Mapping[str, Any]]]:
    """Rows with their 1-based numbers: undecoded lines of JSONL, mappings of Parquet."""
    if path.suffix == ".parquet":
        import pyarrow.parquet  # slow to import, and needed for this format only

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


def _decoded(row: str | bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    try:
        value = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProblemError(f"expected an object, got {type(value).__name__}")
    return value


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ProblemError(f"{name}: expected text, got {type(value).__name__}")
    return value


def _optional_text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if isinstance(value, datetime.date):  # Parquet may hold a real timestamp where JSON has a string
        return value.isoformat()
    return _text(row, name) or None


def _required_id(row: Mapping[str, Any]) -> str:
    value = row.get("question_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ProblemError(f"question_id: expected a non-empty string, got {value!r}")
    return value


def _positive(metadata: dict[str, Any], name: str) -> float | None:
    value = metadata.pop(name, None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ProblemError(f"metadata.{name}: expected a positive number, got {value!r}")
    return value


def _json_field(row: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """A column that holds JSON text (or, from Parquet or by hand, already the value)."""
    value = row.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ProblemError(f"{name}: not JSON: {error}") from error
    if not isinstance(value, kind):
        raise ProblemError(f"{name}: expected a JSON {kind.__name__}, got {type(value).__name__}")
    return dict(value) if isinstance(value, dict) else value


def _private_cases(row: Mapping[str, Any]) -> list[Any]:
    value = row.get("private_test_cases")
    if isinstance(value, str) and value and not value.lstrip().startswith("["):
        row = {"private_test_cases": _unpack(value)}
    cases: list[Any] = _json_field(row, "private_test_cases", list, default=[])
    return cases


class _TextOnlyUnpickler(pickle.Unpickler):
    """Builds nothing but literals: every class or function a pickle names is refused, so it can run no code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ProblemError(f"private_test_cases: the pickle asks for {module}.{name}")


def _unpack(text: str) -> str:
    """The string inside base64 of zlib of a pickle. Raises ProblemError."""
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(base64.b64decode(text, validate=True), _MAX_UNPACKED)
        if inflater.unconsumed_tail:
            raise ProblemError(f"private_test_cases: unpacks to more than {_MAX_UNPACKED} bytes")
        value = _TextOnlyUnpickler(io.BytesIO(data)).load()
    except ProblemError:
        raise
    except (binascii.Error, zlib.error) as error:
        raise ProblemError(f"private_test_cases: neither JSON nor base64 of zlib: {error}") from error
    except Exception as error:  # a malformed pickle may raise nearly anything; all of it means the same
        raise ProblemError(f"private_test_cases: not a pickle of a string: {error!r}") from error
    if not isinstance(value, str):
        raise ProblemError(f"private_test_cases: the pickle holds {type(value).__name__}, not a string")
    return value


def _values(metadata: dict[str, Any], func_name: str | None, starter_code: str) -> Values:
    values: Values | None = metadata.pop("values", None)
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


def _tests(cases: list[Any], name: str, kind: TestType, values: Values) -> tuple[ProblemTest, ...]:
    tests = []
    for index, case in enumerate(cases):
        where = f"{name}[{index}]"
        if not isinstance(case, dict):
            raise ProblemError(f"{where}: expected an object, got {type(case).__name__}")
        for part in ("input", "output"):
            if not isinstance(case.get(part), str):
                raise ProblemError(f"{where}.{part}: expected text, got {case.get(part)!r}"[:300])
        given = case.get("testtype") or kind
        if given != kind:
            raise ProblemError(f"{where}.testtype: {given!r} in a {kind} problem (metadata.func_name decides)")
        if kind == "functional":
            check = from_tagged_text if values == "python" else json.loads
            _check_value(case["output"], f"{where}.output", check)
            for number, line in enumerate(case["input"].split("\n"), 1):
                if line.strip():
                    _check_value(line, f"{where}.input, line {number}", check)
        tests.append(ProblemTest(case["input"], case["output"], kind))
    return tuple(tests)


def _check_value(text: str, where: str, read: Callable[[str], Any]) -> None:
    try:
        read(text)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{where}: not one JSON value: {error}") from error


def _tests_json(tests: tuple[ProblemTest, ...]) -> str:
    return json.dumps([{"input": t.input, "output": t.output, "testtype": t.testtype} for t in tests])
