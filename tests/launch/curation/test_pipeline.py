"""The stages together, with stand-ins for their functions: files, numbers, resuming, the same bytes in any order."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from evaluator.errors import RunFailed
from launch.curation import blocks
from launch.curation.pipeline import Pipeline, StageSettings, curate, lock_folder
from launch.curation.progress import CurationProgress
from tests.launch.curation.stand_ins import FUNCTIONS

ROOT = Path(__file__).parents[3]
SETTINGS = StageSettings(collect=["a", "b"], process={"max_tests": 15}, filter=[], verify={}, recorded={})
DATA_FILES = ("problems.parquet", "needs_checker.parquet", "dropped.parquet")


@pytest.fixture
def files(tmp_path):
    """Two sources: numbers 0 to 59, of which the last two rows are bad; 100 to 139, which repeat 0 to 39, and 110."""
    first = tmp_path / "a.json"
    second = tmp_path / "b.json"
    first.write_text(json.dumps([*range(60), None, "x"]))
    second.write_text(json.dumps([*range(100, 140), 110]))
    return [first, second]


def run(output, files, *, functions=FUNCTIONS, settings=SETTINGS, execute=map, strict=False):
    """Curate; return the manifest as JSON and the printed lines."""
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    with CurationProgress(console) as progress:
        stages = Pipeline(work=output / "work", execute=execute, progress=progress, strict=strict)
        curate(output, files, functions, settings, stages)
    return json.loads((output / "manifest.json").read_text()), printed.getvalue().splitlines()


def read_data(output):
    return [(output / name).read_bytes() for name in DATA_FILES]


def test_files_and_numbers_of_a_data_set(tmp_path, files):
    manifest, lines = run(tmp_path / "out", files)
    dropped = {stage: totals["dropped"] for stage, totals in manifest["stages"].items()}
    # Of 0..59, multiples of 7: 9. Of 100..139: 105, 112, 119, 126, 133. 110 is in two rows.
    # Statements are numbers modulo 100: of 100..139, those remain whose number modulo 100 is a multiple of 7.
    assert dropped["collect"] == {"bad_row": 2}
    assert dropped["process"] == {"image": 14}
    assert dropped["filter"]["duplicate_id"] == 1 and dropped["filter"]["overlap"] == 3
    assert dropped["verify"] == {"flaky": 1, "needs_checker": 1}
    ids = pq.read_table(tmp_path / "out" / "problems.parquet")["question_id"].to_pylist()
    first = [f"a/{n}" for n in range(60) if n % 7 and n not in (5, 6, 11, 12)]
    assert ids == [*first, *(f"b/{n}" for n in range(100, 140) if n % 7 and n % 100 % 7 == 0)]
    assert manifest["overlap"] == {"a": {"first": 1, "second": 2}, "b": {"second": 1}}
    rows_in = 62 + 41
    for totals in manifest["stages"].values():
        assert totals["in"] == rows_in == totals["out"] + sum(totals["dropped"].values())
        rows_in = totals["out"]
    assert rows_in == len(ids)
    assert pq.read_table(tmp_path / "out" / "dropped.parquet").num_rows == 62 + 41 - len(ids)
    assert lines[0] == "collect: 103 rows, 101 kept, 2 dropped (bad_row 2)"
    assert [line.partition(":")[0] for line in lines] == ["collect", "process", "filter", "verify"]
    assert lines[-1].endswith(f"{len(ids)} kept, 2 dropped (flaky 1, needs_checker 1)")


def test_card_has_the_numbers_of_the_manifest(tmp_path, files):
    manifest, _ = run(tmp_path, files)
    card = (tmp_path / "README.md").read_text()
    total = manifest["stages"]["verify"]["out"]
    assert card.startswith("---\npretty_name: ") and f"\n{total:,} problems with tests, from 2 sources" in card
    assert "| collect | 103 | 101 | 2 |" in card and "| verify | needs_checker | 1 |" in card
    quality = manifest["test_quality"]["a"]
    assert quality["weak_tests"] == 1 and quality["true_negative"]["rate"] == 0.9
    assert f"| {quality['problems']} | 1 | 50.0% of " in card


@pytest.mark.heavy
def test_order_of_blocks_does_not_change_a_byte(tmp_path, files, monkeypatch):
    monkeypatch.setattr(blocks, "MAX_PART_ROWS", 7)
    run(tmp_path / "first", files)
    run(tmp_path / "second", files, execute=lambda function, numbers: map(function, reversed(numbers)))
    assert read_data(tmp_path / "first") == read_data(tmp_path / "second")


class Killed(BaseException):
    """End of the process in the middle of a run."""


@pytest.mark.heavy
@pytest.mark.faults
@pytest.mark.parametrize("blocks_until_kill", [0, 1, 4, 9, 14, 19, 24])
def test_killed_run_goes_on_where_it_was(tmp_path, files, monkeypatch, blocks_until_kill):
    monkeypatch.setattr(blocks, "MAX_PART_ROWS", 20)
    executed = []

    def execute(function, numbers):
        for number in numbers:
            executed.append((function.__self__.folder.name, number))
            yield function(number)

    def execute_until_kill(function, numbers):
        for outcome in execute(function, numbers):
            if len(executed) > blocks_until_kill:
                raise Killed
            yield outcome

    run(tmp_path / "whole", files, execute=execute)
    all_blocks = list(executed)
    executed.clear()
    try:
        run(tmp_path / "killed", files, execute=execute_until_kill)
    except Killed:
        assert not (tmp_path / "killed" / "manifest.json").exists()
    run(tmp_path / "killed", files, execute=execute)
    assert sorted(executed) == sorted(all_blocks)
    assert read_data(tmp_path / "killed") == read_data(tmp_path / "whole")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("change", "repeated"),
    [
        ({}, []),
        ({"verify": 1}, ["verify"]),
        ({"filter": 1}, ["examine", "duplicates", "filter", "verify"]),
        ({"process": 1}, ["process", "examine", "duplicates", "filter", "verify"]),
        ({"collect": 1}, ["collect", "process", "examine", "duplicates", "filter", "verify"]),
    ],
)
def test_changed_settings_repeat_their_stage_and_those_after_it(tmp_path, files, change, repeated):
    run(tmp_path, files)
    executed = []

    def execute(function, numbers):
        executed.append(function.__self__.folder.name)
        return map(function, numbers)

    run(tmp_path, files, settings=replace(SETTINGS, **change), execute=execute)
    assert executed == repeated


def test_full_disk_is_reported_and_the_same_command_goes_on(tmp_path, files, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blocks.os, "fsync", fail)
    with pytest.raises((RunFailed, OSError), match="No space left on device"):
        run(tmp_path, files)
    monkeypatch.undo()
    manifest, _ = run(tmp_path, files)
    assert manifest["stages"]["collect"]["in"] == 103


def test_strict_ends_the_run_at_the_first_bad_row(tmp_path, files):
    with pytest.raises(RunFailed, match=r"^strict=true: a/a.json:61: bad_row: for the test$"):
        run(tmp_path, files, strict=True)


@pytest.mark.heavy
def test_second_run_in_the_same_folder_is_refused(tmp_path):
    program = "import sys; from pathlib import Path; from launch.curation.pipeline import lock_folder\n"
    program += "with lock_folder(Path(sys.argv[1])): print('locked', flush=True); input()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RunFailed, match="another run is curating into it"), lock_folder(tmp_path):
            pass
        other.communicate("\n")
    with lock_folder(tmp_path):
        pass
