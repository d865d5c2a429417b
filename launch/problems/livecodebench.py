"""Loader for LiveCodeBench's ``code_generation_lite``: select, validate and cache the problems of its published files.

    files ──► rows ──► problems ──► selection ──► Parquet cache, keyed by files and selection ──► EvaluationSet

Each release adds a file: release N consists of the first N files of ``SHARDS``. The last file alone is what papers call
v6. No row is dropped silently: the ``LoadSummary`` counts the problems outside the selection and lists every row that
is no valid problem, also when the problems come from the cache.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.problem import PROBLEM_COLUMNS, Problem, ProblemError, parse_problem, to_row
from launch.problems.date_window import DateWindow, parse_contest_day
from launch.problems.evaluation_set import BadRow, BenchmarkError, EvaluationSet, LoadSummary
from launch.problems.published_files import check_columns, download_from_hub, parse_rows

REPOSITORY = "livecodebench/code_generation_lite"
SHARDS = ("test", "test2", "test3", "test4", "test5", "test6")  # .jsonl
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")  # of the files in a directory of local copies
CACHE = Path(".cache") / "livecodebench"
CACHE_FORMAT = 2  # increment when the contents of the cache, or the validation of rows, change
MAX_TEST_BYTES = 64 << 20  # far above every published test; a worker holds several copies of a test

# Contest days of the last file. Five problems of the file before it share the first day.
LCB_V6_DAYS = DateWindow(datetime.date(2025, 1, 4), datetime.date(2025, 4, 6))
# First day that a training set must exclude for lcb_v6: the start of the year, as in arXiv 2603.07777.
LCB_V6_FIRST_EXCLUDED_DAY = datetime.date(2025, 1, 1)
# The window that NousCoder-14B reports.
LCB_2024_08_COUNT = 454
LCB_2024_08_DAYS = DateWindow(datetime.date(2024, 8, 1), datetime.date(2025, 5, 1))

Subset = Literal["lcb_v6", "release_v1", "release_v2", "release_v3", "release_v4", "release_v5", "release_v6", "all"]
SUBSET_SHARDS: Mapping[Subset, tuple[str, ...]] = {
    "lcb_v6": SHARDS[5:],
    "release_v1": SHARDS[:1],
    "release_v2": SHARDS[:2],
    "release_v3": SHARDS[:3],
    "release_v4": SHARDS[:4],
    "release_v5": SHARDS[:5],
    "release_v6": SHARDS,
}
PUBLISHED_COUNTS: Mapping[Subset, int] = {
    "lcb_v6": 175,
    "release_v1": 400,
    "release_v2": 511,
    "release_v3": 612,
    "release_v4": 713,
    "release_v5": 880,
    "release_v6": 1055,
}

_COLUMNS = (*PROBLEM_COLUMNS, "extra")  # extra: JSON object of all other columns
_REQUIRED_COLUMNS = ("question_id", "question_content", "public_test_cases")
_SCHEMA = pa.schema([(name, pa.large_string()) for name in _COLUMNS])
_ROW_GROUP = 16
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """LiveCodeBench problems to load.

    Attributes:
        subset: the files to read; ``all`` reads every row of a local copy.
        window: contest days to select.
    """

    subset: Subset
    window: DateWindow


def load_livecodebench(selection: Selection, local_copy: str | None, cache: Path, strict: bool) -> EvaluationSet:
    """Load the selected problems, in the order of the files.

    Args:
        selection: choice of problems.
        local_copy: path of a directory with the published files, or of a single file; None downloads from the hub. A
            single file without a published name holds no known subset, so ``lcb_v6`` selects rows by ``LCB_V6_DAYS``.
        cache: directory of the cache.
        strict: raise for the first bad row or unreadable file instead of counting it.

    Raises:
        BenchmarkError: the files are not available or have no usable problem, or the cache cannot be written.
        ProblemError: a row or file is bad, and ``strict`` is set.
    """
    paths, window = _locate_files(selection, local_copy)
    digests, unreadable = _hash_files(paths)
    cache_file = cache / f"{selection.subset}-{_cache_key(selection, window, digests)}.parquet"
    problems, summary = _read_cache(cache_file) or _write_cache(cache_file, *_read_problems(list(digests), window))
    published = _count_published(selection)
    summary = replace(summary, rejected=(*unreadable, *summary.rejected), published=published)
    if strict and summary.rejected:
        raise ProblemError(str(summary.rejected[0]))
    if not problems:
        first = f"; first bad row: {summary.rejected[0]}" if summary.rejected else ""
        raise BenchmarkError(f"{local_copy or REPOSITORY}, {selection.subset}: no usable problem: {summary}{first}")
    return EvaluationSet(problems=problems, summary=summary, window=_excluded_days(selection, problems))


def _count_published(selection: Selection) -> int | None:
    """Return how many problems the published files hold for the selection; None if unknown."""
    if selection.window == LCB_2024_08_DAYS:
        return LCB_2024_08_COUNT
    return PUBLISHED_COUNTS.get(selection.subset) if selection.window.is_unbounded else None


def _excluded_days(selection: Selection, problems: Sequence[Problem]) -> DateWindow | None:
    """Return the days that a training set must exclude; None if unknown.

    They begin with the selection's window, else with ``LCB_V6_FIRST_EXCLUDED_DAY`` for lcb_v6, else with the first
    problem. They never end: later problems may discuss, copy or vary those of the evaluation set.
    """
    days = [day for problem in problems if (day := parse_contest_day(problem)) is not None]
    first_day = LCB_V6_FIRST_EXCLUDED_DAY if selection.subset == "lcb_v6" else min(days, default=None)
    start = selection.window.start or first_day
    return None if start is None else DateWindow(start, None)


def _locate_files(selection: Selection, local_copy: str | None) -> tuple[list[Path], DateWindow]:
    """Return the files to read, and the window of the rows to select from them. Raises BenchmarkError."""
    subset = selection.subset
    window = selection.window
    if local_copy is None:
        if subset == "all":
            raise BenchmarkError(
                "dataset.release=null needs a local copy, and dataset.held_out_path is not set: set it, or choose a "
                "release to download, for example dataset.release=release_v6"
            )
        shards = SUBSET_SHARDS[subset]
        return [download_from_hub(REPOSITORY, f"{name}.jsonl", "the file's directory") for name in shards], window
    path = Path(local_copy)
    if path.is_dir():
        return _list_directory(path, subset), window
    if not path.is_file():
        raise BenchmarkError(f"dataset.held_out_path={local_copy}: no such file or directory")
    if subset == "all" or SUBSET_SHARDS[subset] == (path.name.split(".")[0],):
        return [path], window
    if subset == "lcb_v6":
        return [path], window.intersect(LCB_V6_DAYS)
    names = ", ".join(f"{name}.jsonl" for name in SUBSET_SHARDS[subset])
    raise BenchmarkError(
        f"dataset.held_out_path={local_copy}: a single file does not show which rows belong to "
        f"dataset.release={subset}. Give the directory that contains {names}; or set dataset.release=null and "
        "dataset.end_date"
    )


def _list_directory(directory: Path, subset: Subset) -> list[Path]:
    """Return the files of a subset in a directory. Raises BenchmarkError if one is missing."""
    if subset == "all":
        files = sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIXES))
        if not files:
            raise BenchmarkError(f"dataset.held_out_path={directory}: no file name ends in {', '.join(SUFFIXES)}")
        return files
    selected = []
    for name in SUBSET_SHARDS[subset]:
        copies = [path for suffix in SUFFIXES if (path := directory / f"{name}{suffix}").exists()]
        if not copies:
            raise BenchmarkError(
                f"dataset.held_out_path={directory}: {name}.jsonl is missing, which {subset} needs; "
                f"download it from https://huggingface.co/datasets/{REPOSITORY}"
            )
        selected.append(copies[0])
    return selected


def _hash_files(paths: Sequence[Path]) -> tuple[dict[Path, str], list[BadRow]]:
    """Return the SHA-256 of each file's bytes, and a BadRow for each file that cannot be opened."""
    digests = {}
    unreadable = []
    for path in paths:
        try:
            with path.open("rb") as handle:
                digests[path] = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            unreadable.append(BadRow(path.name, None, f"cannot be read: {error.strerror}"))
    return digests, unreadable


def _cache_key(selection: Selection, window: DateWindow, digests: Mapping[Path, str]) -> str:
    # File names are part of the key because the cached list of bad rows contains them.
    files = [(path.name, digest) for path, digest in digests.items()]
    return hashlib.sha256(repr((CACHE_FORMAT, selection.subset, str(window), files)).encode()).hexdigest()[:16]


def _read_problems(paths: Sequence[Path], window: DateWindow) -> tuple[tuple[Problem, ...], LoadSummary]:
    """Read the problems of all files that are dated in ``window``, each id once, and count the other rows."""
    problems: dict[str, Problem] = {}
    first_files: dict[str, str] = {}  # by question id: name of the first file that has it
    rejected: list[BadRow] = []
    outside = undated = 0
    for path in paths:
        for row in parse_rows(path, _parse_row):
            if isinstance(row, BadRow):
                rejected.append(row)
                continue
            number, problem = row
            if first_file := first_files.get(problem.question_id):
                reason = f"question_id: duplicate of an earlier {problem.question_id!r}, in {first_file}"
                rejected.append(BadRow(path.name, number, reason))
                continue
            first_files[problem.question_id] = path.name
            day = parse_contest_day(problem)
            if not window.is_unbounded and day is None:
                undated += 1
            elif day is not None and day not in window:
                outside += 1
            else:
                problems[problem.question_id] = problem
    return tuple(problems.values()), LoadSummary(
        selected=len(problems), outside_window=outside, undated=undated, rejected=tuple(rejected)
    )


def _parse_row(columns: Mapping[str, Any]) -> Problem:
    """Parse a row. Raises ProblemError if it is no problem that the benchmark may hold."""
    check_columns(columns, _REQUIRED_COLUMNS)
    try:
        problem = parse_problem(columns)
        _check_problem(problem)
        # Make the extra columns equal to those from the cache: Parquet may hold values that JSON cannot.
        return replace(problem, extra=json.loads(json.dumps(problem.extra, default=str)))
    except RecursionError as error:
        raise ProblemError("JSON nested too deeply") from error


def _check_problem(problem: Problem) -> None:
    """Raise ProblemError if a valid problem is empty, too large or not Unicode, which no published problem is."""
    if not problem.question_content.strip():
        raise ProblemError("question_content: empty")
    for field in fields(problem):
        value = getattr(problem, field.name)
        if isinstance(value, str):
            _count_bytes(value, field.name)
    for name, tests in (("public_test_cases", problem.public_tests), ("private_test_cases", problem.private_tests)):
        for index, test in enumerate(tests):
            where = f"{name}[{index}]"
            size = _count_bytes(test.input, where) + _count_bytes(test.output, where)
            if size > MAX_TEST_BYTES:
                raise ProblemError(f"{where}: {size} bytes, more than {MAX_TEST_BYTES}")


def _count_bytes(text: str, where: str) -> int:
    """Return the size of a text in UTF-8.

    Raises ProblemError for an unpaired surrogate, which JSON can represent ("\\ud83d") but UTF-8 cannot.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ProblemError(f"{where}: not Unicode: {error.reason} at {error.start}") from error


def _write_cache(
    path: Path, problems: tuple[Problem, ...], summary: LoadSummary
) -> tuple[tuple[Problem, ...], LoadSummary]:
    """Write problems and summary to the cache atomically, and return them. Raises BenchmarkError."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    summary_json = json.dumps(asdict(summary))
    digest = hashlib.sha256(summary_json.encode())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(unfinished, _SCHEMA, compression="zstd", use_dictionary=False) as writer:
            for start in range(0, len(problems), _ROW_GROUP):
                rows = [_to_cache_row(problem) for problem in problems[start : start + _ROW_GROUP]]
                for row in rows:
                    _hash_row(digest, row)
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))
            writer.add_key_value_metadata({"summary": summary_json, "sha256": digest.hexdigest()})
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise BenchmarkError(f"{path}: cannot write the cache: {error}; check free space and permissions") from error
    return problems, summary


def _read_cache(path: Path) -> tuple[tuple[Problem, ...], LoadSummary] | None:
    """Read what ``_write_cache`` wrote; return None if the file is missing or damaged."""
    if not path.is_file():
        return None
    try:
        problems = []
        with pq.ParquetFile(path) as table:
            summary_json = table.metadata.metadata[b"summary"]
            digest = hashlib.sha256(summary_json)
            for batch in table.iter_batches(batch_size=_ROW_GROUP):
                for row in batch.to_pylist():
                    _hash_row(digest, row)
                    problems.append(parse_problem(row | json.loads(row.pop("extra"))))
            if table.metadata.metadata[b"sha256"].decode() != digest.hexdigest():
                raise ValueError("checksum mismatch")
        values = json.loads(summary_json)
        return tuple(problems), LoadSummary(**values | {"rejected": tuple(BadRow(**row) for row in values["rejected"])})
    # A damaged file may raise any of these.
    except (OSError, ValueError, pa.ArrowException, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s is damaged (%s): rebuilding it from the published files", path, error)
        return None


def _to_cache_row(problem: Problem) -> dict[str, str | None]:
    row = to_row(problem)
    known = {name: row.pop(name) for name in _COLUMNS[:-1]}
    return known | {"extra": json.dumps(row)}


def _hash_row(digest: Any, row: Mapping[str, str | None]) -> None:
    """Add a row's values to the hash, each with its length, so that different splits into values differ in hash."""
    for name in _COLUMNS:
        data = (row[name] or "").encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
