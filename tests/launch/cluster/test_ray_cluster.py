"""Errors that are reported before a cluster is joined, and the start of a local cluster on an overloaded machine."""

from __future__ import annotations

import inspect
import subprocess

import pytest
import ray
import ray._private.node

from evaluator.errors import RunFailed
from launch.cluster.placement import PlacementError
from launch.cluster.ray_cluster import (
    LOCAL_START_ATTEMPTS,
    START_TIMED_OUT,
    find_job_config_errors,
    join_cluster,
    start_local_cluster,
)
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


class SlowStarts:
    """Replacement of ``ray.init`` whose first ``failures`` calls start a process and raise what Ray raises."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.started: list[subprocess.Popen[bytes]] = []

    def init(self, **_: object) -> None:
        self.started.append(subprocess.Popen(["sleep", "1000"]))
        if len(self.started) <= self.failures:
            raise Exception(f"The current node {START_TIMED_OUT}. This could happen because ...")


@pytest.fixture
def make_slow_starts(monkeypatch):
    made = []

    def make(failures):
        made.append(SlowStarts(failures))
        monkeypatch.setattr(ray, "init", made[0].init)
        return made[0]

    yield make
    for process in made[0].started:
        process.kill()
        process.wait()


def start_small_cluster():
    start_local_cluster(num_cpus=1, evaluator_slots=1, object_store_bytes=2**26)


def test_local_cluster_that_starts_too_slowly_is_ended_and_started_again(make_slow_starts):
    starts = make_slow_starts(failures=1)
    start_small_cluster()
    slow, running = starts.started
    assert slow.poll() is not None and running.poll() is None


def test_local_cluster_that_never_starts_is_an_error_and_leaves_no_process(make_slow_starts):
    starts = make_slow_starts(failures=LOCAL_START_ATTEMPTS)
    with pytest.raises(RunFailed, match="did not start within 30 s, 3 times: this machine is overloaded"):
        start_small_cluster()
    assert len(starts.started) == LOCAL_START_ATTEMPTS
    assert all(process.poll() is not None for process in starts.started)


def test_other_failures_of_the_start_are_raised_at_once(monkeypatch):
    def fail(**_):
        raise ValueError("no such option")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(ValueError, match="no such option"):
        start_small_cluster()


def test_ray_still_says_that_a_start_timed_out():
    assert START_TIMED_OUT in inspect.getsource(ray._private.node.Node)
