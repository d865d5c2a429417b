"""Blocks of a stage: resuming, full disks, bad rows, and parts of limited size."""

import errno
import os
from collections.abc import Iterator

import pytest

from evaluator.errors import RunFailed
from launch.curation import blocks
from launch.curation.blocks import StageFolder, StageWork, add_counts, replace_file, run_stage
from launch.curation.candidate_rows import CANDIDATE_ROWS, read_candidates, read_rows
from launch.curation.candidates import Candidate, Dropped
from tests.launch.curation.stand_ins import make_candidate


def execute_here(function, numbers):
    """Run blocks one by one in this process, the last one first, since their order must not matter."""
    return map(function, reversed(numbers))


def drop(candidate, reason):
    return Dropped(
        question_id=candidate.problem.question_id, source=candidate.source, stage="process", reason=reason, detail="x"
    )


def drop_odd(block: list[Candidate]) -> Iterator[Candidate | Dropped]:
    for candidate in block:
        yield drop(candidate, "odd") if int(candidate.source_id) % 2 else candidate


def make_work(path, *, process=drop_odd, count=4, strict=False, settings_hash="1"):
    candidates = [make_candidate(str(number), source="ab"[number % 3 == 0]) for number in range(5 * count)]
    chunks = [candidates[5 * block : 5 * block + 5] for block in range(count)]
    return StageWork(
        stage="process",
        folder=StageFolder(path, "process", settings_hash),
        blocks=chunks,
        process=process,
        rows=CANDIDATE_ROWS,
        strict=strict,
    )


def run(work, execute=execute_here):
    """Run a stage; return its records and the ids of its kept and of its dropped rows, in order."""
    records = run_stage(work, execute, lambda block, record: None)
    numbers = range(len(records))
    kept = [c.source_id for n in numbers for path in work.folder.list_kept(n) for c in read_candidates(path)]
    dropped = [row["question_id"] for n in numbers for path in work.folder.list_dropped(n) for row in read_rows(path)]
    return records, kept, dropped


def list_files(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*.parquet")}


def test_rows_keep_their_order_and_are_counted_by_source_and_reason(tmp_path):
    records, kept, dropped = run(make_work(tmp_path))
    assert kept == [str(number) for number in range(0, 20, 2)]
    assert dropped == [f"{'ab'[number % 3 == 0]}/{number}" for number in range(1, 20, 2)]
    counts = add_counts(records)
    assert {source: (entry.kept, entry.dropped) for source, entry in counts.items()} == {
        "a": (6, {"odd": 7}),
        "b": (4, {"odd": 3}),
    }


class Killed(BaseException):
    """End of the process in the middle of a block."""


def test_killed_run_is_continued_with_the_same_bytes(tmp_path):
    done = run(make_work(tmp_path / "whole"))
    work = make_work(tmp_path / "killed")

    def execute_until_killed(function, numbers):
        yield function(numbers[0])
        yield function(numbers[1])
        raise Killed

    with pytest.raises(Killed):
        run(work, execute=execute_until_killed)
    executed = []

    def execute_rest(function, numbers):
        executed.extend(numbers)
        return map(function, numbers)

    assert run(work, execute=execute_rest)[1:] == done[1:]
    assert executed == [2, 3]
    assert list_files(tmp_path / "killed") == list_files(tmp_path / "whole")


@pytest.mark.faults
def test_block_killed_between_its_files_is_done_again(tmp_path, monkeypatch):
    work = make_work(tmp_path, count=1)

    def kill(*arguments):
        raise Killed

    monkeypatch.setattr(StageFolder, "write_record", kill)
    with pytest.raises(Killed):
        run(work)
    monkeypatch.undo()
    assert list_files(tmp_path) and not work.folder.is_done(0)
    _, kept, _ = run(work)
    assert kept == ["0", "2", "4"]


def test_other_settings_start_anew(tmp_path):
    run(make_work(tmp_path))
    executed = []

    def execute(function, numbers):
        executed.extend(numbers)
        return map(function, numbers)

    run(make_work(tmp_path), execute=execute)
    assert executed == []
    _, kept, _ = run(make_work(tmp_path, count=2, settings_hash="2"), execute=execute)
    assert executed == [0, 1] and len(kept) == 5
    assert len(list_files(tmp_path)) == 4  # none of the first run's other blocks


@pytest.mark.faults
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_ends_the_run_and_leaves_no_unfinished_file(tmp_path, monkeypatch, call):
    work = make_work(tmp_path)
    work.folder.open()

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(blocks.os, call, fail)
    with pytest.raises(RunFailed, match=r"^process, block 3: .*No space left on device"):
        run(work)
    monkeypatch.undo()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(run(work)[1]) == 10


def test_file_that_fails_keeps_its_old_content(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replace_file(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_row_that_cannot_be_stored_is_dropped(tmp_path):
    def break_id(block):
        for candidate in block:
            is_bad = candidate.source_id == "2"
            yield make_candidate("2", source="a", question_id="a/\ud800") if is_bad else candidate

    records, kept, dropped = run(make_work(tmp_path, process=break_id, count=1))
    assert kept == ["0", "1", "3", "4"] and dropped == ["a/\ufffd"]
    assert add_counts(records)["a"].dropped == {"bad_row": 1}


def test_row_beyond_the_limit_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "MAX_ROW_BYTES", 2000)

    def grow(block):
        yield from (make_candidate(c.source_id, content="x" * 600 * int(c.source_id)) for c in block)

    records, kept, _ = run(make_work(tmp_path, process=grow, count=1))
    assert kept == ["0", "1", "2"]
    assert add_counts(records)["set"].dropped == {"too_large": 2}


def test_strict_ends_the_run_at_a_bad_row_only(tmp_path):
    def drop_bad(block):
        yield from (drop(candidate, "bad_row") for candidate in block)

    assert len(run(make_work(tmp_path / "unwanted", strict=True))[2]) == 10
    with pytest.raises(RunFailed, match=r"^strict=true: a/19: bad_row: x$"):
        run(make_work(tmp_path / "bad", process=lambda block: reversed([*drop_bad(block)]), strict=True))


def test_strict_also_ends_at_a_bad_row_of_an_earlier_run(tmp_path):
    def drop_bad(block):
        yield from (drop(candidate, "bad_row") for candidate in block)

    run(make_work(tmp_path, process=drop_bad))
    with pytest.raises(RunFailed, match=r"^strict=true: a: bad_row: see .*dropped/00000-000.parquet$"):
        run(make_work(tmp_path, process=drop_bad, strict=True))


@pytest.mark.parametrize(("limit", "value"), [("MAX_PART_ROWS", 2), ("MAX_PART_BYTES", 700)])
def test_parts_are_limited(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(blocks, limit, value)
    work = make_work(tmp_path, process=iter, count=1)
    records, kept, _ = run(work)
    assert kept == ["0", "1", "2", "3", "4"]
    assert records[0].kept_parts >= 3
    assert len([*read_rows(work.folder.list_kept(0)[0])]) <= 2
