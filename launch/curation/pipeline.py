"""The four stages of curation, in order, and the files that they produce.

    files of sources ─collect─► candidates ─process─► candidates ─filter─► candidates ─verify─► curated problems
                                                                  ▲
                                       examine ─► duplicates ─────┘        (two passes before the filter's own)

Each arrow is a stage of ``launch.curation.blocks``, with a folder in ``OUTPUT/work``. The hash of a stage covers what
its rows depend on: its settings, the source code, and the hash of the stage before. A stage whose hash is the same
continues where it stopped; one whose hash differs starts anew, and so do all after it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from evaluator.errors import RunFailed
from launch.curation.blocks import (
    BlockRecord,
    Execute,
    SourceCounts,
    StageFolder,
    StageWork,
    add_counts,
    add_seconds,
    remove_unfinished_files,
    run_stage,
)
from launch.curation.candidate_rows import CANDIDATE_ROWS, RowFormat, encode_dropped, read_rows
from launch.curation.candidates import Dropped, StageName
from launch.curation.curated_rows import CURATED_ROWS, CuratedProblem, read_curated
from launch.curation.dataset_card import write_card
from launch.curation.manifest import Manifest, compute_totals, read_versions, write_manifest
from launch.curation.output import write_dropped, write_problems
from launch.curation.output_path import HOW_TO_RESUME
from launch.curation.progress import CurationProgress
from launch.curation.quality import QualityCounter
from launch.curation.stage_functions import (
    DUPLICATE_ROWS,
    EXAMINED_ROWS,
    StageFunctions,
    count_overlaps,
    examine_part,
    filter_part,
    find_all_duplicates,
    make_filter_blocks,
    process_part,
    verify_part,
)

MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """Settings that rows depend on, as JSON values, by the stage that they first matter to.

    Attributes:
        collect: sources and their files.
        process: processing.
        filter: test sets.
        verify: verification.
        recorded: settings as the manifest records them.
    """

    collect: Any
    process: Any
    filter: Any
    verify: Any
    recorded: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StageResult:
    """Stage that is done: its folder, its records, and its hash."""

    folder: StageFolder
    records: list[BlockRecord]
    settings_hash: str

    @property
    def kept(self) -> list[Path]:
        """Files of kept rows, in order."""
        return [path for block in range(len(self.records)) for path in self.folder.list_kept(block)]

    @property
    def dropped(self) -> list[Path]:
        """Files of dropped rows, in order."""
        return [path for block in range(len(self.records)) for path in self.folder.list_dropped(block)]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedStages:
    """Results of the four stages, and of the first pass of the filter."""

    collected: StageResult
    processed: StageResult
    examined: StageResult
    filtered: StageResult
    verified: StageResult


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Execution of stages in a folder.

    Attributes:
        work: folder of the stages.
        execute: executes the blocks of a stage.
        progress: display.
        strict: end the run at the first bad row.
    """

    work: Path
    execute: Execute
    progress: CurationProgress
    strict: bool

    def run(
        self,
        folder: str,
        stage: StageName,
        blocks: Sequence[Any],
        process: Callable[[Any], Iterator[Any]],
        *,
        rows: RowFormat,
        settings_hash: str,
    ) -> StageResult:
        """Run the blocks of a stage that are not done yet.

        Args:
            folder: name of the folder, and of the bar. It differs from that of the stage for a pass before its own.
            stage: name of the stage.
            blocks: blocks of the stage.
            process: yields the rows of a block.
            rows: format of kept rows.
            settings_hash: hash of all that the rows depend on.

        Raises:
            RunFailed: a file cannot be read or written, or a row is bad and ``strict`` is set.
        """
        work = StageWork(
            stage=stage,
            folder=StageFolder(self.work, folder, settings_hash),
            blocks=blocks,
            process=process,
            rows=rows,
            strict=self.strict,
        )
        self.progress.start_stage(folder, len(blocks))
        records = run_stage(work, self.execute, self.progress.show_done)
        if folder == stage and stage != "verify":  # what is kept apart of it is counted with the files
            self.progress.end_stage(stage, add_counts(records))
        return StageResult(work.folder, records, settings_hash)


def curate(
    output: Path, files: Sequence[Any], functions: StageFunctions, settings: StageSettings, pipeline: Pipeline
) -> Manifest:
    """Curate a data set, continuing an earlier run with the same settings.

    Args:
        output: directory of the data set.
        files: files of the sources, as ``functions.collect`` reads them, in the order of preference.
        functions: functions of the stages.
        settings: settings that the rows depend on.
        pipeline: execution of the stages.

    Raises:
        RunFailed: a file cannot be read or written, or a row is bad and ``strict`` is set.
    """
    try:
        collected = collect(pipeline, files, functions, settings)
        processed = process(pipeline, collected, functions, settings)
        examined = examine(pipeline, processed, functions, settings)
        filtered = filter_candidates(pipeline, processed, examined, functions)
        verified = verify(pipeline, filtered, functions, settings)
        stages = FinishedStages(
            collected=collected, processed=processed, examined=examined, filtered=filtered, verified=verified
        )
        return write_dataset(output, stages, settings, pipeline.progress)
    except OSError as error:
        raise RunFailed(f"{error}; {HOW_TO_RESUME}") from error


def collect(
    pipeline: Pipeline, files: Sequence[Any], functions: StageFunctions, settings: StageSettings
) -> StageResult:
    """Read the rows of all files."""
    settings_hash = hash_values(hash_source_code(), settings.collect)
    return pipeline.run(
        "collect", "collect", files, functions.collect, rows=CANDIDATE_ROWS, settings_hash=settings_hash
    )


def process(
    pipeline: Pipeline, collected: StageResult, functions: StageFunctions, settings: StageSettings
) -> StageResult:
    """Bring the candidates into one form."""
    function = partial(process_part, functions.process)
    settings_hash = hash_values(collected.settings_hash, settings.process)
    return pipeline.run(
        "process", "process", collected.kept, function, rows=CANDIDATE_ROWS, settings_hash=settings_hash
    )


def examine(
    pipeline: Pipeline, processed: StageResult, functions: StageFunctions, settings: StageSettings
) -> StageResult:
    """Examine each candidate by itself: the first pass of the filter."""
    function = partial(examine_part, functions.examine)
    settings_hash = hash_values(processed.settings_hash, settings.filter)
    return pipeline.run("examine", "filter", processed.kept, function, rows=EXAMINED_ROWS, settings_hash=settings_hash)


def filter_candidates(
    pipeline: Pipeline, processed: StageResult, examined: StageResult, functions: StageFunctions
) -> StageResult:
    """Drop what the first pass found, and duplicates.

    Duplicates are decided from the fingerprints of all candidates, by one task, so that the decision depends neither on
    the number of nodes nor on the order in which blocks end.
    """
    files = [examined.folder.list_kept(block) for block in range(len(examined.records))]
    find = partial(find_all_duplicates, functions.find_duplicates)
    settings_hash = hash_values(examined.settings_hash, "duplicates")
    duplicates = pipeline.run("duplicates", "filter", [files], find, rows=DUPLICATE_ROWS, settings_hash=settings_hash)
    blocks = make_filter_blocks(processed.kept, files, duplicates.kept)
    settings_hash = hash_values(duplicates.settings_hash, "filter")
    return pipeline.run("filter", "filter", blocks, filter_part, rows=CANDIDATE_ROWS, settings_hash=settings_hash)


def verify(
    pipeline: Pipeline, filtered: StageResult, functions: StageFunctions, settings: StageSettings
) -> StageResult:
    """Judge the labelled programs of each candidate with its tests."""
    function = partial(verify_part, functions.verify)
    settings_hash = hash_values(filtered.settings_hash, settings.verify)
    return pipeline.run("verify", "verify", filtered.kept, function, rows=CURATED_ROWS, settings_hash=settings_hash)


def write_dataset(
    output: Path, stages: FinishedStages, settings: StageSettings, progress: CurationProgress
) -> Manifest:
    """Write the files of the data set; the manifest, which says that it is complete, last.

    Raises:
        OSError: a file cannot be written.
    """
    (output / MANIFEST_FILE).unlink(missing_ok=True)
    remove_unfinished_files(output)
    quality = QualityCounter()

    def count_quality() -> Iterator[CuratedProblem]:
        for problem in itertools.chain.from_iterable(map(read_curated, stages.verified.kept)):
            quality.add(problem)
            yield problem

    written = write_problems(output, count_quality())
    results = (stages.collected, stages.processed, stages.filtered, stages.verified)
    dropped = itertools.chain.from_iterable(read_rows(path) for result in results for path in result.dropped)
    write_dropped(output, itertools.chain(dropped, map(encode_dropped, written.kept_apart)))
    verified = move_to_dropped(add_counts(stages.verified.records), written.kept_apart)
    progress.end_stage("verify", verified)
    totals, totals_by_source = compute_totals(
        {
            "collect": add_counts(stages.collected.records),
            "process": add_counts(stages.processed.records),
            "filter": add_seconds(add_counts(stages.filtered.records), stages.examined.records),
            "verify": verified,
        }
    )
    manifest = Manifest(
        stages=totals,
        sources=totals_by_source,
        licences=written.licences,
        settings=settings.recorded,
        versions=read_versions(),
        overlap=count_overlaps(stages.examined.kept),
        test_quality=quality.to_json(),
    )
    write_card(output / CARD_FILE, manifest)
    write_manifest(output / MANIFEST_FILE, manifest)
    return manifest


def move_to_dropped(counts: Mapping[str, SourceCounts], kept_apart: Sequence[Dropped]) -> dict[str, SourceCounts]:
    """Count the problems that are kept apart as dropped, with their reason."""
    moved = dict(counts)
    for dropped in kept_apart:
        entry = moved[dropped.source]
        number = entry.dropped.get(dropped.reason, 0) + 1
        moved[dropped.source] = replace(
            entry, kept=entry.kept - 1, dropped=dict(sorted({**entry.dropped, dropped.reason: number}.items()))
        )
    return moved


def hash_values(*values: Any) -> str:
    """Return the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def hash_source_code() -> str:
    """Return the SHA-256 of the source files that rows depend on: of curation and of the evaluator."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for package in ("evaluator", "launch/curation", "launch/problems"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@contextlib.contextmanager
def lock_folder(work: Path) -> Iterator[None]:
    """Keep other runs out of a folder of stages. Raises RunFailed if another run is in it, and OSError."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        if not try_lock(lock):
            raise RunFailed(f"{work.parent}: another run is curating into it; wait for it or end it")
        yield


def try_lock(file: IO[str]) -> bool:
    """Lock a file, and return True, unless another process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
