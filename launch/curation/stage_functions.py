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

from launch.curation.candidate_rows import DROPPED_ROWS, RowFormat, encode_dropped, read_candidates, read_rows
from launch.curation.candidates import Candidate, Dropped
from launch.curation.curated_rows import CuratedProblem


@dataclass(frozen=True, slots=True)
class Examination:
    """Result of examining one candidate, the first pass of the filter.

    Attributes:
        fingerprint: small record by which duplicates are found.
        test_sets: names of the test sets that the candidate overlaps.
        dropped: record of why the candidate is dropped; None if it is not.
    """

    fingerprint: Any
    test_sets: tuple[str, ...]
    dropped: Dropped | None


@dataclass(frozen=True, kw_only=True)
class StageFunctions:
    """Functions that do the work of the stages. All can be pickled.

    Attributes:
        collect: yields the rows of a file of a source.
        process: processes a candidate.
        examine: makes the fingerprint of a candidate, by which duplicates are found, and checks it by itself.
        find_duplicates: returns the candidates to drop, by question id, given the fingerprints of all.
        verify: verifies the candidates of a block.
    """

    collect: Callable[[Any], Iterator[Candidate | Dropped]]
    process: Callable[[Candidate], Candidate | Dropped]
    examine: Callable[[Candidate], Examination]
    find_duplicates: Callable[[Iterator[Any]], Mapping[str, Dropped]]
    verify: Callable[[Iterator[Candidate]], Iterator[CuratedProblem | Dropped]]


@dataclass(frozen=True, slots=True)
class ExaminedRow:
    """Examination of a candidate, with its names."""

    question_id: str
    source: str
    examination: Examination


@dataclass(frozen=True, slots=True)
class DuplicateRow:
    """Decision to drop a row as a duplicate: number of its block, its number in the block, and the record."""

    block: int
    row: int
    dropped: Dropped


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterBlock:
    """Block of the filter.

    Attributes:
        number: number of the block, as in ``DuplicateRow``.
        path: file of candidates.
        examined: files of their examinations, in the same order.
        duplicates: files that have the duplicates among them, and maybe others.
    """

    number: int
    path: Path
    examined: Sequence[Path]
    duplicates: Sequence[Path]


def encode_examined(row: ExaminedRow) -> dict[str, Any]:
    """Make the columns of an examination."""
    dropped = row.examination.dropped
    return {
        "question_id": row.question_id,
        "source": row.source,
        "fingerprint": pickle.dumps(row.examination.fingerprint),
        "test_sets": list(row.examination.test_sets),
        "dropped": None if dropped is None else encode_dropped(dropped),
    }


def encode_duplicate(row: DuplicateRow) -> dict[str, Any]:
    """Make the columns of a duplicate."""
    return {"block": row.block, "row": row.row, **encode_dropped(row.dropped)}


EXAMINED_ROWS = RowFormat(
    pa.schema(
        [
            *(("question_id", pa.string()), ("source", pa.string()), ("fingerprint", pa.binary())),
            ("test_sets", pa.list_(pa.string())),
            ("dropped", pa.struct(list(DROPPED_ROWS.schema))),
        ]
    ),
    encode_examined,
)
DUPLICATE_ROWS = RowFormat(
    pa.schema([("block", pa.int64()), ("row", pa.int64()), *DROPPED_ROWS.schema]), encode_duplicate
)


def process_part(function: Callable[[Candidate], Candidate | Dropped], path: Path) -> Iterator[Candidate | Dropped]:
    """Process the candidates of a file."""
    return map(function, read_candidates(path))


def examine_part(function: Callable[[Candidate], Examination], path: Path) -> Iterator[ExaminedRow]:
    """Examine the candidates of a file."""
    for candidate in read_candidates(path):
        yield ExaminedRow(candidate.problem.question_id, candidate.source, function(candidate))


def find_all_duplicates(
    function: Callable[[Iterator[Any]], Mapping[str, Dropped]], blocks: Sequence[Sequence[Path]]
) -> Iterator[DuplicateRow]:
    """Find duplicates among all candidates: rows whose id an earlier row has, and similar problems among the others.

    They are in the order of the candidates, so that a block of the filter has its duplicates in few files.

    Args:
        function: returns the candidates to drop by question id, given the fingerprints of all.
        blocks: files of examinations of each block.
    """
    found: list[DuplicateRow] = []
    places: dict[str, tuple[int, int]] = {}

    def read_fingerprints() -> Iterator[Any]:
        for block, paths in enumerate(blocks):
            for number, row in enumerate(_read_examined(paths, ["question_id", "source", "fingerprint"])):
                question_id = row["question_id"]
                if question_id in places:
                    found.append(DuplicateRow(block, number, drop_repeated(question_id, row["source"])))
                    continue
                places[question_id] = (block, number)
                yield pickle.loads(row["fingerprint"])  # written by this run itself

    duplicates = function(read_fingerprints())
    found.extend(DuplicateRow(*places[question_id], dropped) for question_id, dropped in duplicates.items())
    yield from sorted(found, key=lambda row: (row.block, row.row))


def drop_repeated(question_id: str, source: str) -> Dropped:
    """Return the record of a row whose id an earlier row has."""
    return Dropped(
        question_id=question_id,
        source=source,
        stage="filter",
        reason="duplicate_id",
        detail="an earlier row of the source, in another of its files, has the same id",
    )


def make_filter_blocks(
    paths: Sequence[Path], examined: Sequence[Sequence[Path]], duplicates: Iterable[Path]
) -> list[FilterBlock]:
    """Return the blocks of the filter.

    Args:
        paths: files of candidates.
        examined: files of examinations for each of ``paths``.
        duplicates: files of duplicates.
    """
    files: dict[int, list[Path]] = defaultdict(list)
    for path in duplicates:
        for block in {row["block"] for row in read_rows(path, ["block"])}:
            files[block].append(path)
    return [
        FilterBlock(number=number, path=path, examined=examined[number], duplicates=tuple(files.get(number, ())))
        for number, path in enumerate(paths)
    ]


def filter_part(block: FilterBlock) -> Iterator[Candidate | Dropped]:
    """Drop the candidates of a file that are no usable problem, that overlap a test set, or that are duplicates."""
    duplicates = {}
    for row in itertools.chain.from_iterable(map(read_rows, block.duplicates)):
        place = (row.pop("block"), row.pop("row"))
        duplicates[place] = Dropped(**row)
    examined = _read_examined(block.examined, ["dropped"])
    for number, (candidate, row) in enumerate(zip(read_candidates(block.path), examined, strict=True)):
        if row["dropped"] is not None:
            yield Dropped(**row["dropped"])
        else:
            yield duplicates.get((block.number, number), candidate)


def count_overlaps(paths: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Count the candidates that overlap a test set, by source and test set, in files of examinations."""
    counts: dict[str, dict[str, int]] = {}
    for row in _read_examined(paths, ["source", "test_sets"]):
        of_source = counts.setdefault(row["source"], {})
        for test_set in row["test_sets"]:
            of_source[test_set] = of_source.get(test_set, 0) + 1
    return {source: dict(sorted(counts[source].items())) for source in sorted(counts)}


def _read_examined(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    return itertools.chain.from_iterable(read_rows(path, columns) for path in paths)


def verify_part(
    function: Callable[[Iterator[Candidate]], Iterator[CuratedProblem | Dropped]], path: Path
) -> Iterator[CuratedProblem | Dropped]:
    """Verify the candidates of a file."""
    return function(read_candidates(path))
