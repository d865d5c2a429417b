"""What each fact about a node says about a run, and what to do about it."""

from dataclasses import replace
from typing import Any

import pytest

from launch.cluster.doctor.checks import (
    Needs,
    check_any_gpu,
    check_node,
    check_versions,
    find_needs,
)
from launch.cluster.doctor.facts import NodeFacts
from launch.cluster.doctor.gpus import GpuFacts
from launch.cluster.model_shape import estimate_shape
from launch.cluster.placement import plan_roles
from tests.factories import make_config

GPU = GpuFacts(name="NVIDIA H100 80GB HBM3", total_gib=79.1, free_gib=78.6, error="")
NODE = NodeFacts(
    name="gpu1",
    python="3.11.9",
    machine="x86_64",
    packages={"torch": "2.13.0+cu130", "vllm": "0.32.0"},
    cuda="13.0",
    driver="580.65.06",
    gpus=(GPU, GPU),
    compiler="/usr/bin/gcc",
    has_python_headers=True,
    shared_memory_gib=64.0,
    locked_memory_mib=None,
    free_gib=500.0,
    path_errors=(),
    missing_fences=(),
    sandbox_error="",
)
NEEDS = Needs(
    on_gpus=True,
    gpu_gib=68.0,
    host_gib=12.0,
    shared_memory_gib=9.0,
    between_nodes=True,
    compiles=True,
    strict_sandbox=False,
)


def find(state, needs=NEEDS, **changes):
    """Return {subject: check} of the checks of a changed node that are in ``state``."""
    checks = check_node(replace(NODE, **changes), needs)
    return {check.subject: check for check in checks if check.state == state}


def test_sound_node_has_nothing_missing():
    checks = check_node(NODE, NEEDS)
    assert {check.state for check in checks} == {"ok"}
    assert {check.subject for check in checks} == {
        "machine",
        "compiler",
        "host memory",
        "paths",
        "driver",
        "GPU 0",
        "GPU 1",
        "/dev/shm",
        "memlock",
        "sandbox",
    }
    assert all(check.remedy == "" and check.node == "gpu1" for check in checks)


@pytest.mark.parametrize(
    ("changes", "subject", "remedy"),
    [
        ({"driver": "550.54.15"}, "driver", "update the driver to 580 or later"),
        ({"driver": "520.61", "cuda": "12.8"}, "driver", "update the driver to 525 or later"),
        ({"cuda": None, "gpus": ()}, "driver", "make venv-gpu"),
        ({"gpus": ()}, "GPUs", "CUDA_VISIBLE_DEVICES"),
        ({"gpus": (replace(GPU, free_gib=40.0),)}, "GPU 0", "end the process that uses it"),
        ({"gpus": (replace(GPU, error="CUDA error: out of memory"),)}, "GPU 0", "the GPU's memory is full"),
        (
            {"gpus": (GPU, replace(GPU, error="CUDA-capable device(s) is/are busy or unavailable"))},
            "GPU 1",
            "another process uses this GPU",
        ),
        ({"gpus": (replace(GPU, error="3 of 9 entries of a matrix product are wrong"),)}, "GPU 0", "nvidia-smi -q"),
        ({"gpus": (replace(GPU, total_gib=24.0, free_gib=23.9),)}, "GPU 0", "cluster.gpu_memory_gib"),
        ({"compiler": None}, "compiler", "install gcc"),
        ({"has_python_headers": False}, "compiler", "python3.11-dev"),
        ({"shared_memory_gib": 0.06}, "/dev/shm", "--shm-size=16g"),
        ({"free_gib": 3.0}, "host memory", "larger node"),
        ({"machine": "aarch64"}, "machine", "x86-64"),
        ({"sandbox_error": "no user namespaces", "missing_fences": None}, "sandbox", "docs/evaluator.md"),
    ],
)
def test_missing_thing_is_found_with_what_to_do(changes, subject, remedy):
    missing = find("missing", **changes)
    assert list(missing) == [subject]
    assert remedy in missing[subject].remedy


def test_path_that_the_node_cannot_access_is_missing():
    error = "node gpu1 does not see the model at /m: put a copy there"
    assert find("missing", path_errors=(error,))["paths"].detail == error


def test_gpus_of_other_jobs_are_not_examined():
    note = find("note", gpus=(), reserved_gpus=8)["GPUs"]
    assert note.detail == "8 GPUs are reserved by other jobs, so they were not examined"


def test_newer_driver_and_minor_versions_are_accepted():
    for driver, cuda in (("581.2", "13.0"), ("580.65.06", "12.8"), ("525.60.13", "12.4"), ("unknown", "13.0")):
        assert "driver" in find("ok", driver=driver, cuda=cuda)


def test_locked_memory_matters_between_nodes_only():
    assert "ulimit -l unlimited" in find("note", locked_memory_mib=8.0)["memlock"].remedy
    assert find("note", replace(NEEDS, between_nodes=False), locked_memory_mib=8.0) == {}


def test_incomplete_isolation_is_missing_only_if_it_is_required():
    fences = ("landlock",)
    assert "does not support landlock" in find("note", missing_fences=fences)["sandbox"].detail
    strict = replace(NEEDS, strict_sandbox=True)
    assert "evaluator.strict=false" in find("missing", strict, missing_fences=fences)["sandbox"].remedy


def test_evaluator_node_needs_no_compiler_and_no_gpu():
    changes = {"gpus": (), "driver": None, "cuda": None, "compiler": None, "free_gib": 2.0, "locked_memory_mib": 8.0}
    assert find("missing", **changes) == {}
    assert find("ok", **changes).keys() == {"/dev/shm", "sandbox"}


def test_run_on_cpu_needs_no_gpu():
    on_cpu = replace(NEEDS, on_gpus=False, compiles=False, between_nodes=False)
    changes: dict[str, Any] = {"gpus": (), "driver": None, "cuda": None, "compiler": None}
    assert find("missing", on_cpu, **changes) == {}
    assert check_any_gpu([replace(NODE, **changes)], on_cpu) == []


def test_cluster_without_any_gpu_is_reported_once():
    bare = replace(NODE, gpus=(), driver=None)
    (check,) = check_any_gpu([bare, bare], NEEDS)
    assert (check.state, check.detail) == ("missing", "there is no NVIDIA driver")
    assert check_any_gpu([bare, NODE], NEEDS) == []


def test_versions_must_be_equal_on_all_nodes():
    assert [check.state for check in check_versions([NODE, NODE])] == ["ok"]
    other = replace(NODE, name="gpu2", python="3.11.7", packages={"torch": "2.12.0+cu130"})
    details = [check.detail for check in check_versions([NODE, other])]
    assert details == [
        "torch 2.13.0+cu130 on gpu1, 2.12.0+cu130 on gpu2",
        "vllm 0.32.0 on gpu1, absent on gpu2",
        "Python 3.11.9 on gpu1, 3.11.7 on gpu2",
    ]


def test_needs_follow_from_the_configuration():
    config = make_config("cluster.gpu_memory_gib=80", experiment="lcb_v6")
    shape = estimate_shape(4_022_000_000)
    needs = find_needs(config, plan_roles(config, shape, 80.0), shape, 1)
    assert needs.on_gpus and needs.compiles and not needs.between_nodes
    assert needs.gpu_gib == pytest.approx(68.0)
    assert needs.host_gib == pytest.approx(4 * (1.6 + 0.8) + 7.49, abs=0.01)
    assert needs.shared_memory_gib == 9.0
    quickstart = make_config(experiment="quickstart")
    needs = find_needs(quickstart, plan_roles(quickstart, shape, 80.0), shape, 1)
    assert (needs.on_gpus, needs.compiles, needs.gpu_gib) == (False, False, 0.0)
