"""Work of a stage in numbered blocks, each of which is done once, also if the run is killed and started again.

    run_stage ──numbers of blocks without a record──► execute ──► StageWork.run_block, one call a block, on any node
                                                                     kept/NNNNN-MMM.parquet, dropped/NNNNN-MMM.parquet
    records of all blocks ◄──────────────────────────────────────── done/NNNNN.json, last

Covered: a killed process or node (every file is complete or absent, and the record is written last), a full disk, rows
that cannot be stored, two executions of the same block at the same time (Ray repeats a block whose node seems dead).
The folder's name has a hash of all that its rows depend on: with another one, the stage starts anew.
Not covered: exceptions of ``StageWork.process`` other than OSError, UserError and RunFailed, which are bugs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.errors import RunFailed, UserError
from launch.curation.candidate_rows import DROPPED_ROWS, CandidateError, RowFormat
from launch.curation.candidates import Dropped, StageName
from launch.curation.output_path import HOW_TO_RESUME

MAX_PART_ROWS = 256
MAX_PART_BYTES = 16 << 20
"""Size of a part, a block of the next stage, unless a single row is larger."""
MAX_ROW_BYTES = 1 << 30
"""Size of a row. Larger ones are dropped."""

_UNFINISHED = ".unfinished"  # end of the names of files that are being written

BlockT = TypeVar("BlockT")


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """Rows of a source in a block or a stage.

    Attributes:
        kept: number of kept rows.
        dropped: number of dropped rows by reason.
        seconds: time that the rows took.
    """

    kept: int
    dropped: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockRecord:
    """Result of a block.

    Attributes:
        kept_parts: number of files of kept rows.
        dropped_parts: number of files of dropped rows.
        counts: numbers of rows by source.
    """

    kept_parts: int
    dropped_parts: int
    counts: Mapping[str, SourceCounts]


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """End of the work on a block: its number, and "" or the error that ends the run."""

    block: int
    error: str


Execute = Callable[[Callable[[int], BlockOutcome], Sequence[int]], Iterable[BlockOutcome]]
"""Calls a function for each number of a block and returns the outcomes in any order."""


class StageFolder:
    """Folder of a stage: parts of kept and of dropped rows, and a record of each block that is done.

    Args:
        work: folder of all stages.
        name: name of the stage.
        settings_hash: hash of all that the rows depend on. It is in the folder's name, so that a process left over from
            a run with other settings cannot write into it.
    """

    def __init__(self, work: Path, name: str, settings_hash: str) -> None:
        self.name = name
        self.path = work / f"{name}-{settings_hash[:16]}"
        self.kept = self.path / "kept"
        self.dropped = self.path / "dropped"
        self.done = self.path / "done"

    def open(self) -> None:
        """Create the folder, and remove those that the stage had with other settings. Raises OSError."""
        for other in self.path.parent.glob(f"{self.name}-*"):
            if other != self.path:
                # Renamed first: one that is removed only in part must not be found again by its settings.
                other.rename(other.with_name(f".{other.name}.{uuid.uuid4().hex}"))
        for removed in self.path.parent.glob(f".{self.name}-*"):
            shutil.rmtree(removed)
        for folder in (self.kept, self.dropped, self.done):
            folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished_files(folder)

    def is_done(self, block: int) -> bool:
        """Return True if the block has a record."""
        return self._get_record_path(block).exists()

    def read_record(self, block: int) -> BlockRecord:
        """Read the record of a block that is done. Raises OSError."""
        values = json.loads(self._get_record_path(block).read_text())
        counts = {source: SourceCounts(**entry) for source, entry in values.pop("counts").items()}
        return BlockRecord(counts=counts, **values)

    def write_record(self, block: int, record: BlockRecord) -> None:
        """Write the record of a block, whose files are complete. Raises OSError."""
        with replace_file(self._get_record_path(block)) as file:
            file.write(json.dumps(asdict(record), sort_keys=True).encode())

    def list_kept(self, block: int) -> list[Path]:
        """Return the files of kept rows of a block that is done, in the order of the rows."""
        return [get_part_path(self.kept, block, part) for part in range(self.read_record(block).kept_parts)]

    def list_dropped(self, block: int) -> list[Path]:
        """Return the files of dropped rows of a block that is done, in the order of the rows."""
        return [get_part_path(self.dropped, block, part) for part in range(self.read_record(block).dropped_parts)]

    def _get_record_path(self, block: int) -> Path:
        return self.done / f"{block:05}.json"


@dataclass(frozen=True, kw_only=True)
class StageWork(Generic[BlockT]):
    """Work of a stage. All of it can be pickled, since it is sent to the nodes.

    Attributes:
        stage: name of the stage.
        folder: folder of the stage, which all nodes see.
        blocks: the blocks, each of which ``process`` reads.
        process: yields the rows of a block: kept ones, or Dropped. Raises OSError, UserError or RunFailed if the block
            cannot be read or processed.
        rows: format in which kept rows are stored.
        strict: end the run at the first dropped row whose reason is in ``BAD_REASONS``.
    """

    stage: StageName
    folder: StageFolder
    blocks: Sequence[BlockT]
    process: Callable[[BlockT], Iterator[Any]]
    rows: RowFormat
    strict: bool

    def run_block(self, block: int) -> BlockOutcome:
        """Process a block and write its files."""
        kept = PartWriter(self.folder.kept, block, self.rows.schema)
        dropped = PartWriter(self.folder.dropped, block, DROPPED_ROWS.schema)
        counter = RowCounter()
        try:
            for row in self.process(self.blocks[block]):
                item = row if isinstance(row, Dropped) else self._encode(row)
                if isinstance(item, Dropped):
                    if self.strict and item.reason in BAD_REASONS:
                        return BlockOutcome(block, f"strict=true: {item.question_id}: {item.reason}: {item.detail}")
                    dropped.write(DROPPED_ROWS.encode(item))
                    counter.add(item.source, item.reason)
                else:
                    kept.write(item)
                    counter.add(item["source"], "")
            kept.flush()
            dropped.flush()
            record = BlockRecord(kept_parts=kept.parts, dropped_parts=dropped.parts, counts=counter.get_counts())
            self.folder.write_record(block, record)
        except (OSError, UserError, RunFailed) as error:
            return BlockOutcome(block, f"{self.stage}, block {block}: {error}; {HOW_TO_RESUME}")
        return BlockOutcome(block, "")

    def _encode(self, row: Any) -> dict[str, Any] | Dropped:
        """Return the columns of a kept row; a Dropped if it cannot be stored."""
        try:
            columns = self.rows.encode(row)
        except CandidateError as error:
            return Dropped(
                question_id=error.candidate.problem.question_id,
                source=error.candidate.source,
                stage=self.stage,
                reason="bad_row",
                detail=str(error),
            )
        size = measure_row(columns)
        if size <= MAX_ROW_BYTES:
            return columns
        return Dropped(
            question_id=columns["question_id"],
            source=columns["source"],
            stage=self.stage,
            reason="too_large",
            detail=f"{size} bytes of text; the limit is {MAX_ROW_BYTES}",
        )


BAD_REASONS = frozenset({"bad_row", "too_large", "unreadable_file", "duplicate_id"})
"""Reasons of rows that are malformed, rather than unwanted: the first one ends the run if ``strict`` is set."""


class RowCounter:
    """Counter of rows by source, and of the time between them."""

    def __init__(self) -> None:
        self._rows: dict[str, Counter[str]] = {}
        self._seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def add(self, source: str, reason: str) -> None:
        """Count a row that was dropped for a reason, or kept if the reason is ""."""
        now = time.monotonic()
        self._rows.setdefault(source, Counter())[reason] += 1
        self._seconds[source] = self._seconds.get(source, 0.0) + now - self._last
        self._last = now

    def get_counts(self) -> dict[str, SourceCounts]:
        """Return the counts by source."""
        return {
            source: SourceCounts(rows.pop("", 0), dict(sorted(rows.items())), self._seconds[source])
            for source, rows in sorted((source, rows.copy()) for source, rows in self._rows.items())
        }


class PartWriter:
    """Writer of the rows of a block into parts of limited size."""

    def __init__(self, folder: Path, block: int, schema: pa.Schema) -> None:
        self.parts = 0
        self._folder = folder
        self._block = block
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def write(self, row: dict[str, Any]) -> None:
        """Add a row. Raises OSError."""
        size = measure_row(row)
        if self._rows and (len(self._rows) == MAX_PART_ROWS or self._bytes + size > MAX_PART_BYTES):
            self.flush()
        self._rows.append(row)
        self._bytes += size

    def flush(self) -> None:
        """Write the rows added since the last part, if any, as a part. Raises OSError."""
        if self._rows:
            with replace_file(get_part_path(self._folder, self._block, self.parts)) as file:
                pq.write_table(pa.Table.from_pylist(self._rows, schema=self._schema), file, compression="zstd")
            self.parts += 1
            self._rows = []
            self._bytes = 0


def run_stage(
    work: StageWork[Any], execute: Execute, show_done: Callable[[int, BlockRecord], None]
) -> list[BlockRecord]:
    """Do the blocks of a stage that are not done yet.

    Args:
        work: the stage.
        execute: calls ``work.run_block`` for the blocks.
        show_done: is called with each block that is done, also in an earlier run, and its record.

    Returns:
        The records of all blocks, in their order.

    Raises:
        RunFailed: the work on a block failed, or a row is bad and ``strict`` is set.
        OSError: the folder or a record cannot be read or written.
    """
    work.folder.open()
    records: dict[int, BlockRecord] = {}

    def mark_done(block: int) -> None:
        record = work.folder.read_record(block)
        if work.strict and (bad := find_bad_rows(record)):  # of an earlier run that was not strict
            raise RunFailed(f"strict=true: {bad}: see {work.folder.list_dropped(block)[0]}")
        records[block] = record
        show_done(block, record)

    pending = []
    for block in range(len(work.blocks)):
        if work.folder.is_done(block):
            mark_done(block)
        else:
            pending.append(block)
    for outcome in execute(work.run_block, pending) if pending else ():
        if outcome.error:
            raise RunFailed(outcome.error)
        mark_done(outcome.block)
    return [records[block] for block in range(len(work.blocks))]


def find_bad_rows(record: BlockRecord) -> str:
    """Return the first source and reason of malformed rows in a block; "" if it has none."""
    for source, counts in record.counts.items():
        for reason in counts.dropped:
            if reason in BAD_REASONS:
                return f"{source}: {reason}"
    return ""


def add_counts(records: Iterable[BlockRecord]) -> dict[str, SourceCounts]:
    """Add up the counts of blocks by source."""
    total: dict[str, SourceCounts] = {}
    for record in records:
        for source, counts in record.counts.items():
            known = total.get(source, SourceCounts(0, {}, 0.0))
            dropped = Counter(known.dropped) + Counter(counts.dropped)
            total[source] = SourceCounts(
                known.kept + counts.kept, dict(sorted(dropped.items())), known.seconds + counts.seconds
            )
    return dict(sorted(total.items()))


def add_seconds(counts: Mapping[str, SourceCounts], records: Iterable[BlockRecord]) -> dict[str, SourceCounts]:
    """Return the counts with the time of other blocks, which had the same rows, added."""
    others = add_counts(records)
    return {
        source: replace(entry, seconds=entry.seconds + others[source].seconds) if source in others else entry
        for source, entry in counts.items()
    }


def measure_row(row: Mapping[str, Any]) -> int:
    """Return the length of a row's texts, which is its size in memory to within a few bytes."""
    return sum(len(value) for value in row.values() if isinstance(value, str | bytes))


def get_part_path(folder: Path, block: int, part: int) -> Path:
    """Return the path of a part of a block."""
    return folder / f"{block:05}-{part:03}.parquet"


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file atomically: it appears under its name when it is complete and on disk.

    Raises OSError, which names the file.
    """
    # Another execution of the same block may write the same file at the same time.
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished_files(folder: Path) -> None:
    """Remove the files that a killed run left unfinished in a folder. Raises OSError."""
    for path in folder.glob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)
