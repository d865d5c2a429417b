"""Errors that a node reports about files it cannot access."""

from launch.cluster.shared_files import find_path_errors


def test_accessible_paths_give_no_error_and_stay_unchanged(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    probe = tmp_path / ".seen-1"
    probe.write_text(probe.name)
    assert find_path_errors(tmp_path, probe) == []
    assert find_path_errors(tmp_path, None) == []
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", ".seen-1"}


def test_other_run_directory_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    probe = tmp_path / ".seen-1"
    (message,) = find_path_errors(tmp_path, probe)
    assert f"cannot write the run directory {tmp_path} (" in message and "No such file" in message
    probe.write_text("other")
    (message,) = find_path_errors(tmp_path, probe)
    assert "(another file is there): set run.root" in message
