"""A running cluster of two nodes: what it refuses and says, where actors land, and the driver as a job on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from ray.job_submission import JobSubmissionClient
from ray.util.state import list_actors

from actors.generators.actor import GeneratorSettings
from actors.generators.handle import remote_generators
from actors.generators.pool import GeneratorPool
from launch.cluster.placement import PlacementError, plan
from launch.cluster.reservation import cluster_nodes, reserve
from launch.cluster.shared_files import check_shared_paths
from tests.factories import config
from tests.integration.ray_nodes import ROOT, RayNodes, environment, free_port, ray_command, two_nodes, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
DEADLINE_S = 600.0
ROLES = {"GeneratorActor", "EvaluatorActor", "LearnerActor"}
SMALL = (
    "run.steps=1",
    "algorithm.group_size=4",
    "algorithm.train_batch_size=4",
    "algorithm.mini_batch_size=2",
    "generator.max_response_tokens=48",
    "evaluation.samples=0",
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with two_nodes() as started:
        yield started


def driver(*overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The driver's command, to its end."""
    command = [sys.executable, "-m", "launch.driver", "+experiment=quickstart", *overrides]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment() | {"COLUMNS": "150"} | variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def on_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
def test_no_cluster_at_the_address() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = driver(f"cluster.address={address}", "dry_run=true")
    assert done.returncode == 2
    assert f"cluster.address={address}: no Ray cluster answers there" in done.stdout
    assert "ray start --head" in done.stdout


@pytest.mark.slow
def test_a_wrong_token(nodes: RayNodes) -> None:
    done = driver(f"cluster.address={nodes.address}", "dry_run=true", RAY_AUTH_TOKEN="0" * 64, RAY_AUTH_MODE="token")
    assert done.returncode == 2
    assert "does not let this driver in" in done.stdout and "~/.ray/auth_token" in done.stdout


def test_more_than_the_cluster_has(nodes: RayNodes) -> None:
    done = driver(f"cluster.address={nodes.address}", "learner.ranks=3", "learner.device=cuda", "run.root=/nowhere")
    assert done.returncode == 2
    assert f"3 GPUs are asked for, 2 are in the cluster at {nodes.address}" in done.stdout


def test_a_dry_run_shows_nodes_and_room(nodes: RayNodes) -> None:
    """``device=auto`` is the cluster's GPUs, of which the driver's machine has none."""
    overrides = ("generator.device=auto", "learner.device=auto", "model.path=some/model")
    done = driver(f"cluster.address={nodes.address}", "dry_run=true", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [on_one_line(line.replace("│", " ")) for line in done.stdout.splitlines() if "│" in line]
    assert any(row.startswith("generator 1 cuda 0.5 1 ") for row in rows)
    (worker,) = [row for row in rows if "4 of 4" in row and "2 of 2" in row]
    (room,) = [row for row in rows if row.endswith("generator 0, learner rank 0")]
    assert room.split()[1] == worker.split()[1], "the room is on the node with GPUs"


def test_actors_land_in_their_room_and_leave_it(nodes: RayNodes, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    parts = plan(config("generator.cpus=2", "learner.cpus=2"), 2**20)

    async def land() -> None:
        reservation = await reserve(parts, 30.0)
        await check_shared_paths(reservation, checkpoints["tied"], tmp_path)
        with pytest.raises(PlacementError, match=r"node \S+ does not see the model at /nowhere: ") as told:
            await check_shared_paths(reservation, Path("/nowhere"), tmp_path)
        assert len(str(told.value).splitlines()) == 1, "one node, one complaint"
        settings = GeneratorSettings(
            model_path="unused",
            dtype="float32",
            device="cpu",
            tensor_parallel=1,
            max_model_tokens=64,
            max_sequences=4,
            kv_cache_gib=0.1,
            gpu_memory_fraction=0.5,
            threads=1,
            seed=0,
        )
        pool = GeneratorPool(1, remote_generators(reservation.engines, 2, 4, settings))
        (where,) = ray.get([actor.__ray_call__.remote(_node) for actor in pool.actors], timeout=60)
        (worker,) = [node.id for node in cluster_nodes() if node.total["CPU"] == 4]
        assert where == reservation.nodes()["generator 0"] == reservation.nodes()["learner rank 0"] == worker
        reservation.release()

    asyncio.run(land())
    assert not list(tmp_path.iterdir())
    wait_until(
        lambda: sum(node.free.get("CPU", 0) for node in cluster_nodes()) == 5, "the release of the room", DEADLINE_S
    )


def _node(actor: object) -> str:
    return str(ray.get_runtime_context().get_node_id())


def test_room_that_is_nowhere_is_named_by_the_deadline(nodes: RayNodes) -> None:
    with pytest.raises(PlacementError) as told:
        asyncio.run(asyncio.wait_for(reserve(plan(config("generator.cpus=4.25"), 2**20), 3.0), DEADLINE_S))
    assert "CPU: generator 0 takes 4.25 on one node, no node has more than 4 free" in str(told.value)
    assert "CPU 1 of 1 free" in str(told.value) and "CPU 4 of 4 free" in str(told.value)
    assert sum(node.free["CPU"] for node in cluster_nodes()) == 5, "nothing stays reserved"


def job(nodes: RayNodes, name: str, *overrides: str, wait: bool = True) -> subprocess.CompletedProcess[str]:
    """``ray job submit`` as docs/cluster.md has it."""
    submit: tuple[str, ...] = (
        "--address",
        nodes.dashboard,
        "--submission-id",
        name,
        "--runtime-env",
        "launch/cluster/runtime_env.yaml",
    )
    command = ("python", "-m", "launch.driver", "+experiment=quickstart", "cluster.address=auto", *SMALL, *overrides)
    submit += () if wait else ("--no-wait",)
    return ray_command("job", "submit", *submit, "--", *command, check=False, timeout=DEADLINE_S)


def status(nodes: RayNodes, name: str) -> str:
    return JobSubmissionClient(nodes.dashboard).get_job_status(name).value


def living_actors(nodes: RayNodes) -> set[str]:
    """Classes of our actors on these nodes that have not ended; without an address Ray asks the latest cluster here."""
    alive = list_actors(nodes.dashboard, filters=[("state", "!=", "DEAD")], limit=1000)
    return {one.class_name for one in alive} & ROLES


def test_a_job_needs_an_absolute_run_root(nodes: RayNodes) -> None:
    done = job(nodes, "relative", "run.root=runs")
    assert done.returncode == 1
    assert "run.root=runs is relative inside a Ray job" in on_one_line(done.stdout)
    assert status(nodes, "relative") == "FAILED"


@pytest.mark.engine
def test_a_job_trains_and_leaves_a_complete_run(nodes: RayNodes, model: Path, tmp_path: Path) -> None:
    done = job(nodes, "trains", f"model.path={model}", f"run.root={tmp_path}", "run.name=small")
    assert done.returncode == 0, done.stdout + done.stderr
    assert status(nodes, "trains") == "SUCCEEDED"
    (row,) = (json.loads(line) for line in (tmp_path / "small" / "metrics.jsonl").read_text().splitlines())
    assert row["step"] == 0 and row["mismatch/ratio_max"] < 1.001
    for file in (
        "config.yaml",
        "environment.json",
        "rollouts/step_000000.parquet",
        "checkpoints/step_000001/config.json",
    ):
        assert (tmp_path / "small" / file).is_file()
    assert not list((tmp_path / "small").glob(".seen-*"))
    wait_until(lambda: not living_actors(nodes), "the end of the job's actors", DEADLINE_S)


@pytest.mark.slow
@pytest.mark.engine
def test_a_stopped_job_leaves_nothing_behind(nodes: RayNodes, model: Path, tmp_path: Path) -> None:
    """Stopped while its engine starts."""
    job(nodes, "stopped", f"model.path={model}", f"run.root={tmp_path}", "run.name=small", wait=False)
    wait_until(lambda: bool(engines(nodes)), "the start of an engine", DEADLINE_S)
    started = engines(nodes)
    assert living_actors(nodes) == ROLES
    ray_command("job", "stop", "--address", nodes.dashboard, "stopped", timeout=DEADLINE_S)
    wait_until(lambda: status(nodes, "stopped") == "STOPPED", "the job's stop", DEADLINE_S)
    wait_until(lambda: not living_actors(nodes), "its actors' end", DEADLINE_S)
    _, alive = psutil.wait_procs(started | engines(nodes), timeout=DEADLINE_S)
    assert not alive, "its engine goes on"


def engines(nodes: RayNodes) -> set[psutil.Process]:
    """Engine processes on the nodes."""
    found = set()
    for process in nodes.descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "VLLM" in process.name():
                found.add(process)
    return found
