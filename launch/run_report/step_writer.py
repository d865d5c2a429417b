"""Writing of the pages of steps: figures of all completions, texts of the chosen ones, the index of groups.

    manifest of the last build ─► figures of new rollout files ─► texts as chosen by text_selection ─► manifest

The manifest is also written after the figures and from time to time while texts are written, so that the next build
continues one that was killed or reached its deadline.
A rollout file is read again only if it is new, was written again, or if texts of it are wanted that the report lacks.
Sizes are bounded: pages that would exceed a budget are left out, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from launch.run_report.report_folder import DATA, ReportFolder, encode_json
from launch.run_report.rollout_rows import UnreadableRollouts, count_rows, read_groups
from launch.run_report.run_files import RecordedSettings, RunFiles, StepFile, find_tokenizer
from launch.run_report.step_pages import Json, make_column, make_step_figures, make_text_chunks
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

FIGURES_BUDGET = 60_000_000
"""Bytes of the pages of figures, the index of groups and the manifest."""
TEXT_BUDGET = 230_000_000
"""Bytes of the pages of texts."""
FIGURE_BYTES_PER_ROW = 100
"""Estimate of a completion's figures: in its step's page, in the index of groups and in the manifest."""
SAVE_INTERVAL = 50
"""The manifest is written each time that the texts of this many steps were."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPages:
    """Result of writing the pages of all steps.

    Attributes:
        records: records in step order.
        every: figures are written of every ``every``-th step, a power of two.
        notes: what could not be read, or was left out.
        names: names of all data files written.
    """

    records: tuple[StepRecord, ...]
    every: int
    notes: tuple[str, ...]
    names: tuple[str, ...]


def write_step_pages(run: RunFiles, folder: ReportFolder) -> StepPages:
    """Write or update the pages of all steps of a run."""
    tokenizer = find_tokenizer(run)
    source = None if tokenizer is None else tokenizer.name  # not its path: checkpoints come and go
    old = read_manifest(folder.path / DATA / "manifest.json")
    known = {step: _check_files(record, folder, old.tokenizer == source) for step, record in old.steps.items()}
    every, records, notes = _write_all_figures(run, folder, known, old.every)
    if every > 1:
        notes.append(
            f"of one step in {every} only, besides the first, the best and the newest, are there figures and texts, "
            "since those of all steps would take too much room"
        )
    decoder = TokenTexts(tokenizer)
    if decoder.note and records:
        notes.append(decoder.note)

    def save(records: Mapping[int, StepRecord]) -> None:
        folder.write(f"{DATA}/manifest.json", encode_manifest(Manifest(source, every, dict(records))))

    save(records)
    files = {file.step: file for file in run.rollouts}
    writer = TextWriter(files=files, folder=folder, decoder=decoder, save=save)
    records = writer.write_all(records, None if run.best is None else run.best.step)
    save(records)
    folder.write_data("groups", make_group_index(list(records.values())))
    names = ["groups", *(name for record in records.values() for name in list_names(record))]
    return StepPages(records=tuple(records.values()), every=every, notes=tuple(notes), names=tuple(names))


def choose_steps(run: RunFiles, every: int) -> list[StepFile]:
    """Return the rollout files of the steps whose figures are shown, if these are one in ``every``."""
    files = run.rollouts
    kept = {file.step for file in files[-NEWEST_STEPS:]} | {run.best.step if run.best else -1}
    kept |= {file.step for file in files[:1]}
    return [file for file in files if file.step % every == 0 or file.step in kept]


def list_names(record: StepRecord) -> list[str]:
    """Return the names of a step's data files."""
    return [f"step_{record.step:06d}", *_list_text_names(record)]


def _list_text_names(record: StepRecord) -> list[str]:
    if record.level == "none":
        return []
    name = f"texts_{record.step:06d}"
    return [name, *(f"{name}_{chunk}" for chunk in range(record.chunks))]


def _check_files(record: StepRecord, folder: ReportFolder, same_tokenizer: bool) -> StepRecord:
    """Return a record without those of its files that a build that was killed replaced, or that are gone."""
    sizes = {name: folder.get_size(name) for name in list_names(record)}
    if sizes[f"step_{record.step:06d}"] != record.figures_bytes:
        record = replace(record, stamp=(0, 0))
    if not same_tokenizer:
        return replace(record, level="none", chunks=0, all_bytes=None, signal_bytes=None)
    if sum(sizes[name] for name in _list_text_names(record)) != record.text_bytes:
        return replace(record, level="none", chunks=0)
    return record


def _write_all_figures(
    run: RunFiles, folder: ReportFolder, known: Mapping[int, StepRecord], least_every: int
) -> tuple[int, dict[int, StepRecord], list[str]]:
    """Write the pages of figures of all steps, or of as many as the budget allows.

    Args:
        run: the run.
        folder: folder of the report.
        known: records of the last build.
        least_every: distance between steps of the last build. It is never reduced, which could mean to read most
            rollout files of a long run again and again.

    Returns:
        Distance between the steps, records by step, notes on files that could not be read.
    """
    every = max(least_every, _estimate_distance(run.rollouts, known))
    while True:
        notes: list[str] = []
        files = choose_steps(run, every)
        records = {
            file.step: record
            for file in files
            if (record := _write_figures(file, folder, known, notes, config=run.config)) is not None
        }
        if not files or every > files[-1].step or _measure_figures(every, records) <= FIGURES_BUDGET:
            return every, records, notes
        known = {**known, **records}
        every *= 2


def _estimate_distance(files: Sequence[StepFile], known: Mapping[int, StepRecord]) -> int:
    """Return the smallest power of two for which the pages of figures probably fit."""
    rows = 0
    for file in reversed(files):
        record = known.get(file.step)
        try:
            rows = record.rows if record is not None and record.stamp == file.stamp else count_rows(file.path)
            break
        except UnreadableRollouts:
            continue  # it is noted when its page is written
    every = 1
    while rows * len(files) * FIGURE_BYTES_PER_ROW > every * FIGURES_BUDGET and every < len(files):
        every *= 2
    return every


def _measure_figures(every: int, records: Mapping[int, StepRecord]) -> int:
    index = encode_json(make_group_index(list(records.values())))
    manifest = encode_manifest(Manifest(None, every, dict(records)))
    return sum(record.figures_bytes for record in records.values()) + len(index) + len(manifest)


def _write_figures(
    file: StepFile,
    folder: ReportFolder,
    known: Mapping[int, StepRecord],
    notes: list[str],
    *,
    config: RecordedSettings,
) -> StepRecord | None:
    """Write a step's page of figures, unless it is there; None if the rollout file is damaged."""
    record = known.get(file.step)
    if record is not None and record.stamp == file.stamp:
        return record
    try:
        groups = read_groups(file.path, texts=False)
    except UnreadableRollouts as error:
        notes.append(str(error))
        return None
    written = folder.write_data(f"step_{file.step:06d}", make_step_figures(file.step, groups, config))
    return StepRecord(
        step=file.step,
        stamp=file.stamp,
        rows=sum(len(group.rows) for group in groups),
        signal_rows=sum(len(group.rows) for group in groups if group.has_signal),
        figures_bytes=written,
        groups=tuple(summarize_group(group) for group in groups),
        slow=find_slowest(file.step, groups),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TextWriter:
    """Writer of the pages of texts.

    Attributes:
        files: rollout files by step.
        folder: folder of the report.
        decoder: texts of tokens.
        save: function that writes the manifest of these records.
    """

    files: Mapping[int, StepFile]
    folder: ReportFolder
    decoder: TokenTexts
    save: Callable[[Mapping[int, StepRecord]], None]

    def write_all(self, records: Mapping[int, StepRecord], best: int | None) -> dict[int, StepRecord]:
        """Write the texts of steps whose level changed, so that all texts fit the budget; return all records.

        The sizes of texts are known only when they are written. So the choice is repeated until it does not change:
        each time more sizes are known.
        """
        records = dict(records)
        unreadable: set[int] = set()
        updates = 0
        if records and all(record.all_bytes is None and record.signal_bytes is None for record in records.values()):
            self._update(records, max(records), "all", unreadable)  # shows how large texts are
        while True:
            sizes = [record.size for step, record in records.items() if step not in unreadable]
            levels = choose_levels(sizes, best, TEXT_BUDGET)
            pending = [step for step, level in levels.items() if records[step].level != level]
            if not pending:
                return records
            pending.sort(key=lambda step: levels[step] != "none")  # first make room
            used = sum(record.text_bytes for record in records.values())
            for step in pending:
                used -= records[step].text_bytes
                self._update(records, step, levels[step], unreadable)
                used += records[step].text_bytes
                updates += 1
                if updates % SAVE_INTERVAL == 0:
                    self.save(records)
                if used > TEXT_BUDGET:
                    break

    def _update(self, records: dict[int, StepRecord], step: int, level: Level, unreadable: set[int]) -> None:
        """Write the texts of a step and replace its record."""
        try:
            records[step] = self._write(records[step], level)
        except UnreadableRollouts:  # replaced or deleted since its figures were read: the next build sees it
            unreadable.add(step)
            records[step] = replace(records[step], level="none", chunks=0)

    def _write(self, record: StepRecord, level: Level) -> StepRecord:
        """Write the texts of a step, unless ``level`` is "none". Raises UnreadableRollouts."""
        if level == "none":
            return replace(record, level="none", chunks=0)
        groups = []
        if level == "all" or record.signal_rows:
            groups = read_groups(self.files[record.step].path)
        shown = [group for group in groups if level == "all" or group.has_signal]
        name = f"texts_{record.step:06d}"
        chunks = make_text_chunks(shown, self.decoder)
        written = sum(
            self.folder.write_compressed(f"{name}_{number}", chunk.content) for number, chunk in enumerate(chunks)
        )
        written += self.folder.write_data(name, {"level": level, "chunks": [chunk.groups for chunk in chunks]})
        if level == "all":
            return replace(record, level=level, all_bytes=written, chunks=len(chunks))
        return replace(record, level=level, signal_bytes=written, chunks=len(chunks))


def make_group_index(records: Sequence[StepRecord]) -> Json:
    """Return the figures of all groups of all steps, for searches and for a problem through all steps."""
    placed = [(record.step, index, group) for record in records for index, group in enumerate(record.groups)]
    names = dict.fromkeys(group.question_id for _, _, group in placed)
    questions = {question_id: number for number, question_id in enumerate(names)}
    return {
        "questions": list(questions),
        "levels": {str(record.step): record.level for record in records},
        "step": [step for step, _, _ in placed],
        "group": [index for _, index, _ in placed],
        "question": [questions[group.question_id] for *_, group in placed],
        "passed": [group.passed for *_, group in placed],
        "judged": make_column([group.judged for *_, group in placed]),
        "size": make_column([group.size for *_, group in placed]),
        "mean": [group.mean_reward for *_, group in placed],
        "spread": [group.spread for *_, group in placed],
        "at_limit": [group.at_limit for *_, group in placed],
        "tokens": [group.mean_tokens for *_, group in placed],
        "trained": make_column([int(group.trained) for *_, group in placed]),
    }
