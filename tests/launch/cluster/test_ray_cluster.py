"""Errors before a cluster is joined."""

import pytest

from launch.cluster.placement import PlacementError
from launch.cluster.ray_cluster import job_problems, join_cluster
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
