"""Search for the directories of runs."""

import pytest

from launch.records.run_path import RECORDS, RunDirectoryError, find_run, find_runs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("runs/a", "runs/b", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_is_a_path_or_a_name(folder):
    assert find_run("a").samefile(folder / "runs/a")
    assert find_runs(["b", "runs/a", str(folder / "elsewhere")]) == [*map(find_run, ["b", "a"]), folder / "elsewhere"]


def test_unknown_run_is_an_error(folder):
    with pytest.raises(RunDirectoryError, match="run=c: no such run"):
        find_runs(["a", "c"])


def test_run_that_is_named_twice_is_an_error(folder):
    with pytest.raises(RunDirectoryError, match="runs/a is in the list twice"):
        find_runs(["a", "b", "runs/a"])


def test_message_names_runs_only_for_a_relative_path(folder):
    with pytest.raises(RunDirectoryError, match=r"neither c nor runs/c has a config.yaml in it"):
        find_run("c")
    with pytest.raises(RunDirectoryError, match=f"no such run: {folder}/c has no config.yaml in it"):
        find_run(str(folder / "c"))


@pytest.mark.parametrize("name", RECORDS)
def test_any_record_makes_a_directory_one_to_report_on(folder, name):
    (folder / "runs" / "c").mkdir()
    with pytest.raises(RunDirectoryError, match=r"config.yaml or metrics.jsonl or rollouts"):
        find_runs(["a", "c"], RECORDS)
    (folder / "runs" / "c" / name).mkdir()
    assert find_runs(["a", "c"], RECORDS)[1].samefile(folder / "runs" / "c")
