"""LiveCodeBench's ``code_generation_lite``: its published files, from the hub or a copy, selected, checked and cached.

    files ──► rows ──► problems ──► selection ──► Parquet cache, named by the hash of both ──► EvaluationSet

The benchmark grows by files: release N is the first N of ``SHARDS``; the last one alone is what papers call v6. Nothing
is left out silently: the ``Summary`` counts what the selection leaves out and names every row that is no problem, also
when the problems come from the cache.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError, XetDownloadError

from evaluator.problem import Problem, ProblemError, parse_problem, to_row
from launch.problems.contest_dates import DateWindow, contest_day
from launch.problems.evaluation_set import BadRow, BenchmarkError, EvaluationSet, Summary
from launch.problems.rows import UNREADABLE, json_object

REPOSITORY = "livecodebench/code_generation_lite"
SHARDS = ("test", "test2", "test3", "test4", "test5", "test6")  # .jsonl
ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")  # of local copies
CACHE = Path(".cache") / "livecodebench"
CACHE_FORMAT = 1  # raise it when what the cache holds, or how rows are checked, changes
MAX_TEST_BYTES = 64 << 20  # no published test comes near; a worker would hold several copies of it

# The contest days of the last increment. Five problems of the increment before share the first one.
LCB_V6_DAYS = DateWindow(datetime.date(2025, 1, 4), datetime.date(2025, 4, 6))
# What a training set must keep out for it: from the start of the year, as the reference runs did (arXiv 2603.07777).
LCB_V6_PERIOD = DateWindow(datetime.date(2025, 1, 1), datetime.date(2025, 4, 6))

Part = Literal["lcb_v6", "release_v1", "release_v2", "release_v3", "release_v4", "release_v5", "release_v6", "all"]
PART_SHARDS: Mapping[Part, tuple[str, ...]] = {
    "lcb_v6": SHARDS[5:],
    "release_v1": SHARDS[:1],
    "release_v2": SHARDS[:2],
    "release_v3": SHARDS[:3],
    "release_v4": SHARDS[:4],
    "release_v5": SHARDS[:5],
    "release_v6": SHARDS,
}
PUBLISHED: Mapping[Part, int] = {
    "lcb_v6": 175,
    "release_v1": 400,
    "release_v2": 511,
    "release_v3": 612,
    "release_v4": 713,
    "release_v5": 880,
    "release_v6": 1055,
}

_COLUMNS = (
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
    "extra",  # JSON of the columns this project gives no meaning to
)
_REQUIRED = ("question_id", "question_content", "public_test_cases")
_SCHEMA = pa.schema([(name, pa.large_string()) for name in _COLUMNS])
_ROW_GROUP = 16
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Which problems: a part of the benchmark (``all``: every row of a local file), and days within it."""

    part: Part
    window: DateWindow


def load_benchmark(selection: Selection, local: str | None, cache: Path, strict: bool) -> EvaluationSet:
    """The selected problems, in the files' order.

    ``local`` is a directory with the published files, or one file of problems; None takes them from the hub. A file
    that is not a published one has no increments: there ``lcb_v6`` is told by its contest days.
    Raises BenchmarkError when the files cannot be had or hold no usable problem, and with ``strict`` ProblemError for
    the first bad row or unreadable file.
    """
    paths, window = _sources(selection, local)
    digests, unreadable = _digests(paths)
    cached = cache / f"{selection.part}-{_key(selection, window, digests)}.parquet"
    problems, summary = _from_cache(cached) or _into_cache(cached, *_read(list(digests), window))
    published = PUBLISHED.get(selection.part) if selection.window.unbounded else None
    summary = replace(summary, rejected=(*unreadable, *summary.rejected), published=published)
    if strict and summary.rejected:
        raise ProblemError(str(summary.rejected[0]))
    if not problems:
        first = f"; the first: {summary.rejected[0]}" if summary.rejected else ""
        raise BenchmarkError(f"{local or REPOSITORY}, {selection.part}: no usable problem: {summary}{first}")
    return EvaluationSet(problems=problems, summary=summary, window=_covered(selection, problems))


def _covered(selection: Selection, problems: Sequence[Problem]) -> DateWindow | None:
    """The days that were asked for; where a side was left open, those of the increment, or of the problems."""
    days = [day for problem in problems if (day := contest_day(problem)) is not None]
    span = DateWindow(min(days, default=None), max(days, default=None))
    window = selection.window.completed(LCB_V6_PERIOD if selection.part == "lcb_v6" else span)
    return None if window.unbounded else window


def _sources(selection: Selection, local: str | None) -> tuple[list[Path], DateWindow]:
    """The files to read, and the window of days that makes the selection out of their rows. Raises BenchmarkError."""
    part = selection.part
    window = selection.window
    if local is None:
        if part == "all":
            raise BenchmarkError("dataset.release=null: which release to fetch? Set dataset.release=release_v6, say")
        return [_download(f"{name}.jsonl") for name in PART_SHARDS[part]], window
    path = Path(local)
    if path.is_dir():
        return _in_directory(path, part), window
    if not path.is_file():
        raise BenchmarkError(f"dataset.held_out_path={local}: no such file or directory")
    if not path.name.endswith(ENDINGS):
        raise BenchmarkError(f"dataset.held_out_path={local}: cannot be read: not one of {', '.join(ENDINGS)}")
    if part == "all" or PART_SHARDS[part] == (path.name.split(".")[0],):
        return [path], window
    if part == "lcb_v6":
        return [path], window.within(LCB_V6_DAYS)
    raise BenchmarkError(
        f"dataset.held_out_path={local}: its rows do not say which release they belong to. Give the directory that "
        f"holds {', '.join(PART_SHARDS[part])} (.jsonl), or set dataset.release=null and dataset.end_date"
    )


def _in_directory(directory: Path, part: Part) -> list[Path]:
    if part == "all":
        files = sorted(path for path in directory.iterdir() if path.name.endswith(ENDINGS))
        if not files:
            raise BenchmarkError(f"dataset.held_out_path={directory}: no file ends in {', '.join(ENDINGS)}")
        return files
    found = []
    for name in PART_SHARDS[part]:
        copies = [path for ending in ENDINGS if (path := directory / f"{name}{ending}").exists()]
        if not copies:
            raise BenchmarkError(
                f"dataset.held_out_path={directory}: no {name}.jsonl in it, which {part} needs; "
                f"download it from https://huggingface.co/datasets/{REPOSITORY}"
            )
        found.append(copies[0])
    return found


def _download(name: str) -> Path:
    """The hub's file in the hub's own cache, fetched if need be."""
    try:
        return Path(hf_hub_download(REPOSITORY, name, repo_type="dataset"))
    except (OSError, HTTPError, XetDownloadError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BenchmarkError(
            f"the hub does not give {name} of {REPOSITORY} ({reason}). Download it where there is a network and set "
            "dataset.held_out_path to the directory that holds it"
        ) from error


def _digests(paths: Sequence[Path]) -> tuple[dict[Path, str], list[BadRow]]:
    """SHA-256 of every file's bytes, and the files that cannot be opened."""
    digests = {}
    unreadable = []
    for path in paths:
        try:
            with path.open("rb") as handle:
                digests[path] = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            unreadable.append(BadRow(path.name, None, f"cannot be read: {error.strerror}"))
    return digests, unreadable


def _key(selection: Selection, window: DateWindow, digests: Mapping[Path, str]) -> str:
    # The names are in it because the rows that were skipped are reported with them.
    files = [(path.name, digest) for path, digest in digests.items()]
    return hashlib.sha256(repr((CACHE_FORMAT, selection.part, str(window), files)).encode()).hexdigest()[:16]


def _read(paths: Sequence[Path], window: DateWindow) -> tuple[tuple[Problem, ...], Summary]:
    """The problems of all files that are dated in ``window``, each id once, and what became of the other rows."""
    problems: dict[str, Problem] = {}
    files: dict[str, str] = {}  # of every id, where it came first
    rejected: list[BadRow] = []
    outside = undated = 0
    for path in paths:
        for number, found in _problems(path):
            if isinstance(found, Problem) and found.question_id in files:
                found = f"question_id: {found.question_id!r} came before, in {files[found.question_id]}"
            if isinstance(found, str):
                rejected.append(BadRow(path.name, number, found))
                continue
            files[found.question_id] = path.name
            day = contest_day(found)
            if not window.unbounded and day is None:
                undated += 1
            elif day is not None and day not in window:
                outside += 1
            else:
                problems[found.question_id] = found
    return tuple(problems.values()), Summary(
        selected=len(problems), outside_window=outside, undated=undated, rejected=tuple(rejected)
    )


def _problems(path: Path) -> Iterator[tuple[int | None, Problem | str]]:
    """Row numbers with problems, or with the reason why there is none; (None, reason) where the file stops being one.

    Row by row: a release has gigabytes of tests, of which a window may keep a few.
    """
    number = 0
    try:
        for number, row in _rows(path):
            try:
                problem = parse_problem(_decoded(row))
                _check(problem)
                # As it would come from the cache: columns of a Parquet file may hold what JSON has no form for.
                yield number, replace(problem, extra=json.loads(json.dumps(problem.extra, default=str)))
            except ProblemError as error:
                yield number, str(error)
            except RecursionError:
                yield number, "its JSON is nested too deeply"
    except UNREADABLE as error:
        yield None, f"cannot be read beyond row {number}: {error}"


def _rows(path: Path) -> Iterator[tuple[int, bytes | pa.RecordBatch]]:
    """Rows as they are stored, with their 1-based numbers: lines of JSONL, batches of one row of Parquet."""
    if path.suffix == ".parquet":
        number = 0
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=_ROW_GROUP):
                for place in range(batch.num_rows):
                    number += 1
                    yield number, batch.slice(place, 1)
    else:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, line


def _decoded(row: bytes | pa.RecordBatch) -> Mapping[str, Any]:
    """The row's columns. Raises ProblemError."""
    value = json_object(lambda: json.loads(row) if isinstance(row, bytes) else row.to_pylist()[0])
    if missing := [name for name in _REQUIRED if name not in value]:
        raise ProblemError(f"another schema: no column {', '.join(missing)}, but {', '.join(value)}"[:300])
    return value


def _check(problem: Problem) -> None:
    """Raises ProblemError for what a problem may be, but no problem of a benchmark is."""
    if not problem.question_content.strip():
        raise ProblemError("question_content: empty")
    for name, value in vars(problem).items():
        if isinstance(value, str):
            _size(value, name)
    for name, tests in (("public_test_cases", problem.public_tests), ("private_test_cases", problem.private_tests)):
        for index, test in enumerate(tests):
            where = f"{name}[{index}]"
            size = _size(test.input, where) + _size(test.output, where)
            if size > MAX_TEST_BYTES:
                raise ProblemError(f"{where}: {size} bytes, more than {MAX_TEST_BYTES}")


def _size(text: str, where: str) -> int:
    """Bytes of a text. Raises ProblemError for half a character, which JSON can write ("\\ud83d") and no file takes."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ProblemError(f"{where}: not Unicode: {error.reason} at {error.start}") from error


def _into_cache(path: Path, problems: tuple[Problem, ...], summary: Summary) -> tuple[tuple[Problem, ...], Summary]:
    """Write what ``_from_cache`` reads, whole or not at all, and give it back. Raises BenchmarkError."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    described = json.dumps(asdict(summary))
    digest = hashlib.sha256(described.encode())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(unfinished, _SCHEMA, compression="zstd", use_dictionary=False) as writer:
            for start in range(0, len(problems), _ROW_GROUP):
                rows = [_cached_row(problem) for problem in problems[start : start + _ROW_GROUP]]
                for row in rows:
                    _add(digest, row)
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))
            writer.add_key_value_metadata({"summary": described, "sha256": digest.hexdigest()})
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise BenchmarkError(f"{path}: cannot be written: {error}; make room for the cache there") from error
    return problems, summary


def _from_cache(path: Path) -> tuple[tuple[Problem, ...], Summary] | None:
    """What ``_into_cache`` wrote; None where there is no such file, or not as it was written."""
    if not path.is_file():
        return None
    try:
        problems = []
        with pq.ParquetFile(path) as table:
            described = table.metadata.metadata[b"summary"]
            digest = hashlib.sha256(described)
            for batch in table.iter_batches(batch_size=_ROW_GROUP):
                for row in batch.to_pylist():
                    _add(digest, row)
                    problems.append(parse_problem(row | json.loads(row.pop("extra"))))
            if table.metadata.metadata[b"sha256"].decode() != digest.hexdigest():
                raise ValueError("its content is not what was written")
        values = json.loads(described)
        return tuple(problems), Summary(**values | {"rejected": tuple(BadRow(**row) for row in values["rejected"])})
    except (
        *UNREADABLE,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # a damaged file may raise any of them
        log.warning("%s is damaged and made anew: %s", path, error)
        return None


def _cached_row(problem: Problem) -> dict[str, str | None]:
    row = to_row(problem)
    known = {name: row.pop(name) for name in _COLUMNS[:-1]}
    return known | {"extra": json.dumps(row)}


def _add(digest: Any, row: Mapping[str, str | None]) -> None:
    """Hash a row's values with their lengths, so that nothing can move from one to the next."""
    for name in _COLUMNS:
        data = (row[name] or "").encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
