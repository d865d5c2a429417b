"""Errors that are reported before a cluster is joined."""

import pytest

from launch.cluster.placement import PlacementError
from launch.cluster.ray_cluster import find_job_config_errors, join_cluster
from tests.factories import make_config


def test_ray_job_needs_a_cluster_address_and_an_absolute_run_root():
    address, root = find_job_config_errors(make_config())
    assert address.endswith("set cluster.address=auto")
    assert root.startswith("run.root=runs is relative inside a Ray job") and root.endswith("give an absolute path")
    assert find_job_config_errors(make_config("cluster.address=auto", "run.root=/shared/runs")) == []


def test_ray_client_address_is_rejected():
    with pytest.raises(PlacementError, match=r"ray://head:10001: Ray Client is not supported; submit a job"):
        join_cluster("ray://head:10001")


@pytest.mark.parametrize("address", ["head", "http://127.0.0.1:1"])
def test_address_without_cluster_is_rejected(address):
    with pytest.raises(PlacementError, match=f"cluster.address={address}: no Ray cluster answers there"):
        join_cluster(address)
