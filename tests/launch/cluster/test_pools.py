"""What is refused before a cluster is joined, and what a node says of files that it does not see."""

import pytest

from launch.cluster.placement import PlacementError
from launch.cluster.pools import job_problems, join_cluster
from launch.cluster.shared_files import unseen
from tests.factories import config


def test_a_job_joins_its_cluster_and_writes_where_its_files_stay():
    address, root = job_problems(config())
    assert address.endswith("set cluster.address=auto")
    assert root.startswith("run.root=runs is relative inside a Ray job") and root.endswith("give an absolute path")
    assert job_problems(config("cluster.address=auto", "run.root=/shared/runs")) == []


def test_ray_client_is_refused():
    with pytest.raises(PlacementError, match=r"ray://head:10001: Ray Client is not supported; submit a job"):
        join_cluster("ray://head:10001")


@pytest.mark.parametrize("address", ["head", "http://127.0.0.1:1"])
def test_an_address_that_is_none(address):
    with pytest.raises(PlacementError, match=f"cluster.address={address}: no Ray cluster answers there"):
        join_cluster(address)


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
