"""Search for the directories of runs."""

import pytest

from launch.records.run_path import RunDirectoryError, find_run, find_runs


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
