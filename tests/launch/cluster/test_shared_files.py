"""What a node reports of files that it does not see."""

from launch.cluster.shared_files import unseen


def test_a_node_that_sees_everything_leaves_nothing_behind(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    mark = tmp_path / ".seen-1"
    mark.write_text(mark.name)
    assert unseen(tmp_path, mark) == []
    assert unseen(tmp_path, None) == []
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", ".seen-1"}


def test_a_node_that_sees_another_run_directory(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    mark = tmp_path / ".seen-1"
    (sentence,) = unseen(tmp_path, mark)
    assert f"cannot write the run directory {tmp_path} (" in sentence and "No such file" in sentence
    mark.write_text("other")
    (sentence,) = unseen(tmp_path, mark)
    assert "(another file is there): set run.root" in sentence
