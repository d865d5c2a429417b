"""Writing of the pages of steps: figures of all completions, texts of the chosen ones, the index of groups.

Sizes are bounded: pages that would exceed a budget are left out, and the report says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from launch.run_report.report_folder import DATA, ReportFolder, measure_json
from launch.run_report.rollout_rows import UnreadableRollouts, read_groups
from launch.run_report.run_files import RunFiles, StepFile, find_tokenizer
from launch.run_report.step_pages import make_column, make_step_figures, make_text_chunks
from launch.run_report.step_records import (
    Manifest,
    StepRecord,
    encode_manifest,
    find_slowest,
    read_manifest,
    summarize_group,
)
from launch.run_report.text_selection import NEWEST_STEPS, Level, choose_levels
from launch.run_report.token_strip import TokenTexts

FIGURES_BUDGET = 80_000_000
"""Bytes of the pages of figures, estimated before they are written."""
TEXT_BUDGET = 150_000_000
"""Bytes of the pages of texts."""
FIGURE_BYTES_PER_ROW = 100
"""Generous estimate of a completion's figures: in its step's page, in the index of groups and in the manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPages:
    """Result of writing the pages of all steps.

    Attributes:
        records: records in step order.
        every: figures are written of every ``every``-th step.
        notes: what could not be read, or was left out.
        names: names of all data files written.
    """

    records: tuple[StepRecord, ...]
    every: int
    notes: tuple[str, ...]
    names: tuple[str, ...]


def write_step_pages(run: RunFiles, folder: ReportFolder) -> StepPages:
    """Write or update the pages of all steps of a run."""
    manifest_path = folder.path / DATA / "manifest.json"
    tokenizer = find_tokenizer(run)
    source = None if tokenizer is None else tokenizer.name  # not its path: checkpoints come and go
    old = read_manifest(manifest_path)
    if old.tokenizer != source:
        old = Manifest()
    notes: list[str] = []
    every, files = choose_steps(run)
    if every > 1:
        notes.append(f"figures of every {every}th step only, since those of all steps would take too much room")
    records = {file.step: record for file in files if (record := _write_figures(file, folder, old, notes)) is not None}
    levels = choose_levels(
        [record.size for record in records.values()], None if run.best is None else run.best.step, TEXT_BUDGET
    )
    decoder = TokenTexts(tokenizer)
    if decoder.note and records:
        notes.append(decoder.note)
    records = _write_all_texts({file.step: file for file in files}, records, levels, folder, decoder)
    folder.write(f"{DATA}/manifest.json", encode_manifest(Manifest(source, records)))
    _write_group_index(list(records.values()), folder)
    names = ["groups", *(name for record in records.values() for name in list_names(record))]
    return StepPages(records=tuple(records.values()), every=every, notes=tuple(notes), names=tuple(names))


def choose_steps(run: RunFiles) -> tuple[int, list[StepFile]]:
    """Return the distance between steps whose figures are shown, 1 if all fit, and their rollout files."""
    files = run.rollouts
    if not files:
        return 1, []
    rows = 0
    for file in reversed(files):
        try:
            rows = sum(len(group.rows) for group in read_groups(file.path, texts=False))
            break
        except UnreadableRollouts:
            continue  # it is noted when its page is written
    every = max(1, math.ceil(rows * len(files) * FIGURE_BYTES_PER_ROW / FIGURES_BUDGET))
    kept = {file.step for file in files[-NEWEST_STEPS:]} | {files[0].step, run.best.step if run.best else -1}
    return every, [file for file in files if file.step % every == 0 or file.step in kept]


def list_names(record: StepRecord) -> list[str]:
    """Return the names of a step's data files."""
    texts = [f"texts_{record.step:06d}", *(f"texts_{record.step:06d}_{chunk}" for chunk in range(record.chunks))]
    return [f"step_{record.step:06d}", *(texts if record.level != "none" else [])]


def _write_figures(file: StepFile, folder: ReportFolder, old: Manifest, notes: list[str]) -> StepRecord | None:
    """Write a step's page of figures, unless it is there; None if the rollout file is damaged."""
    known = old.steps.get(file.step)
    if known is not None and known.stamp == file.stamp and (folder.path / DATA / f"step_{file.step:06d}.js").exists():
        return known
    try:
        groups = read_groups(file.path, texts=False)
    except UnreadableRollouts as error:
        notes.append(str(error))
        return None
    written = folder.write_data(f"step_{file.step:06d}", make_step_figures(file.step, groups))
    return StepRecord(
        step=file.step,
        stamp=file.stamp,
        rows=sum(len(group.rows) for group in groups),
        signal_rows=sum(len(group.rows) for group in groups if group.has_signal),
        figures_bytes=written,
        groups=tuple(summarize_group(group) for group in groups),
        slow=find_slowest(file.step, groups),
    )


def _write_all_texts(
    files: Mapping[int, StepFile],
    records: Mapping[int, StepRecord],
    levels: Mapping[int, Level],
    folder: ReportFolder,
    decoder: TokenTexts,
) -> dict[int, StepRecord]:
    """Write the texts of steps whose level changed, newest first, within the budget."""
    kept = {step: record for step, record in records.items() if record.level == levels[step]}
    used = sum(record.text_bytes for record in kept.values())
    for step in sorted(set(records) - set(kept), reverse=True):
        record = _write_texts(files[step], records[step], levels[step], TextWriter(folder, decoder, TEXT_BUDGET - used))
        used += record.text_bytes
        kept[step] = record
    return {step: kept[step] for step in sorted(kept)}


@dataclass(frozen=True)
class TextWriter:
    """Folder for texts, decoder of tokens, and the bytes that are left."""

    folder: ReportFolder
    decoder: TokenTexts
    room: int


def _write_texts(file: StepFile, record: StepRecord, level: Level, writer: TextWriter) -> StepRecord:
    """Write the texts of a step if there is room for them."""
    empty = replace(record, level="none", text_bytes=0, chunks=0)
    if level == "none":
        return empty
    try:
        groups = [group for group in read_groups(file.path) if level == "all" or group.has_signal]
    except UnreadableRollouts:
        return empty  # replaced or deleted since its figures were read: the next build sees it
    name = f"texts_{file.step:06d}"
    chunks = make_text_chunks(groups, writer.decoder, measure_json)
    sizes = [measure_json(chunk.content) for chunk in chunks]
    if sum(sizes) > writer.room:
        return empty
    written = sum(writer.folder.write_data(f"{name}_{number}", chunk.content) for number, chunk in enumerate(chunks))
    written += writer.folder.write_data(name, {"level": level, "chunks": [chunk.groups for chunk in chunks]})
    return replace(record, level=level, text_bytes=written, chunks=len(chunks))


def _write_group_index(records: Sequence[StepRecord], folder: ReportFolder) -> None:
    """Write the figures of all groups of all steps, for searches and for a problem through all steps."""
    placed = [(record.step, index, group) for record in records for index, group in enumerate(record.groups)]
    names = dict.fromkeys(group.question_id for _, _, group in placed)
    questions = {question_id: number for number, question_id in enumerate(names)}
    folder.write_data(
        "groups",
        {
            "questions": list(questions),
            "levels": {str(record.step): record.level for record in records},
            "step": [step for step, _, _ in placed],
            "group": [index for _, index, _ in placed],
            "question": [questions[group.question_id] for *_, group in placed],
            "passed": [group.passed for *_, group in placed],
            "size": make_column([group.size for *_, group in placed]),
            "mean": [group.mean_reward for *_, group in placed],
            "spread": [group.spread for *_, group in placed],
            "at_limit": [group.at_limit for *_, group in placed],
            "tokens": [group.mean_tokens for *_, group in placed],
            "trained": make_column([int(group.trained) for *_, group in placed]),
        },
    )
