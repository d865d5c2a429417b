"""Functions of the stages, each of which works on a block or on a row, on any node."""

from __future__ import annotations

import itertools
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from launch.curation.candidate_rows import RowFormat, encode_dropped, read_candidates, read_rows
from launch.curation.candidates import Candidate, Dropped
from launch.curation.curated_rows import CuratedProblem


@dataclass(frozen=True, kw_only=True)
class StageFunctions:
    """What the stages do. All functions can be pickled.

    Attributes:
        collect: yields the rows of a file of a source.
        process: processes a candidate.
        fingerprint: makes the fingerprint of a candidate, by which duplicates are found.
        find_duplicates: returns the candidates to drop, by question id, given the fingerprints of all.
        check_overlap: returns a Dropped if a candidate overlaps a test set.
        verify: verifies the candidates of a block.
    """

    collect: Callable[[Any], Iterator[Candidate | Dropped]]
    process: Callable[[Candidate], Candidate | Dropped]
    fingerprint: Callable[[Candidate], Any]
    find_duplicates: Callable[[Iterator[Any]], Mapping[str, Dropped]]
    check_overlap: Callable[[Candidate], Dropped | None]
    verify: Callable[[Iterator[Candidate]], Iterator[CuratedProblem | Dropped]]


@dataclass(frozen=True, slots=True)
class FingerprintRow:
    """Fingerprint of a candidate, with its names."""

    question_id: str
    source: str
    fingerprint: Any


@dataclass(frozen=True, slots=True)
class DuplicateRow:
    """Decision to drop a row as a duplicate: number of its block, its number in the block, and the record."""

    block: int
    row: int
    dropped: Dropped


@dataclass(frozen=True, slots=True)
class FilterBlock:
    """Block of the filter: its file of candidates, and the duplicates among them by the number of the row."""

    path: Path
    duplicates: Mapping[int, Dropped]


def encode_fingerprint(row: FingerprintRow) -> dict[str, Any]:
    """Make the columns of a fingerprint."""
    return {"question_id": row.question_id, "source": row.source, "fingerprint": pickle.dumps(row.fingerprint)}


def encode_duplicate(row: DuplicateRow) -> dict[str, Any]:
    """Make the columns of a duplicate."""
    return {"block": row.block, "row": row.row, **encode_dropped(row.dropped)}


FINGERPRINT_ROWS = RowFormat(
    pa.schema([("question_id", pa.string()), ("source", pa.string()), ("fingerprint", pa.binary())]),
    encode_fingerprint,
)
DUPLICATE_ROWS = RowFormat(
    pa.schema(
        [
            *(("block", pa.int64()), ("row", pa.int64())),
            *((name, pa.string()) for name in ("question_id", "source", "stage", "reason", "detail")),
        ]
    ),
    encode_duplicate,
)


def process_part(function: Callable[[Candidate], Candidate | Dropped], path: Path) -> Iterator[Candidate | Dropped]:
    """Process the candidates of a file."""
    return map(function, read_candidates(path))


def fingerprint_part(function: Callable[[Candidate], Any], path: Path) -> Iterator[FingerprintRow]:
    """Make the fingerprints of the candidates of a file."""
    for candidate in read_candidates(path):
        yield FingerprintRow(candidate.problem.question_id, candidate.source, function(candidate))


def find_all_duplicates(
    function: Callable[[Iterator[Any]], Mapping[str, Dropped]], blocks: Sequence[Sequence[Path]]
) -> Iterator[DuplicateRow]:
    """Find duplicates among all candidates: repeated ids first, of which the first row stays, then similar problems.

    Args:
        function: returns the candidates to drop by question id, given the fingerprints of all.
        blocks: files of fingerprints of each block.
    """
    repeated: list[DuplicateRow] = []
    places: dict[str, tuple[int, int]] = {}

    def read_fingerprints() -> Iterator[Any]:
        for block, paths in enumerate(blocks):
            for number, row in enumerate(itertools.chain.from_iterable(map(read_rows, paths))):
                question_id = row["question_id"]
                if question_id in places:
                    repeated.append(DuplicateRow(block, number, drop_repeated(question_id, row["source"])))
                    continue
                places[question_id] = (block, number)
                yield pickle.loads(row["fingerprint"])  # written by this run itself

    duplicates = function(read_fingerprints())
    yield from repeated
    for question_id, dropped in sorted(duplicates.items()):
        yield DuplicateRow(*places[question_id], dropped)


def drop_repeated(question_id: str, source: str) -> Dropped:
    """Return the record of a row whose id an earlier row has."""
    return Dropped(
        question_id=question_id,
        source=source,
        stage="filter",
        reason="duplicate_id",
        detail="an earlier row of the source, in another of its files, has the same id",
    )


def make_filter_blocks(paths: Sequence[Path], duplicates: Iterable[Path]) -> list[FilterBlock]:
    """Return the blocks of the filter, given the files of candidates and the files of duplicates among them."""
    by_block: dict[int, dict[int, Dropped]] = defaultdict(dict)
    for row in itertools.chain.from_iterable(map(read_rows, duplicates)):
        block = row.pop("block")
        number = row.pop("row")
        by_block[block][number] = Dropped(**row)
    return [FilterBlock(path, by_block.get(block, {})) for block, path in enumerate(paths)]


def filter_part(
    check_overlap: Callable[[Candidate], Dropped | None], block: FilterBlock
) -> Iterator[Candidate | Dropped]:
    """Filter the candidates of a file: drop duplicates and those that overlap a test set."""
    for number, candidate in enumerate(read_candidates(block.path)):
        yield block.duplicates.get(number) or check_overlap(candidate) or candidate


def verify_part(
    function: Callable[[Iterator[Candidate]], Iterator[CuratedProblem | Dropped]], path: Path
) -> Iterator[CuratedProblem | Dropped]:
    """Verify the candidates of a file."""
    return function(read_candidates(path))
