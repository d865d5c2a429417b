"""Driver on a running cluster of two Ray nodes: error messages, placement of actors, and Ray jobs."""

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
from actors.generators.handle import make_generator_factory
from actors.generators.pool import GeneratorPool
from launch.cluster.model_shape import estimate_shape
from launch.cluster.placement import PlacementError, plan_roles
from launch.cluster.reservation import list_nodes, reserve
from launch.cluster.shared_files import check_shared_paths
from tests.factories import make_config
from tests.integration.ray_nodes import (
    ROOT,
    RayNodes,
    command_environment,
    find_free_port,
    run_ray_command,
    start_two_nodes,
    wait_until,
)

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
    "temperature.kind=fixed",
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with start_two_nodes() as nodes:
        yield nodes


def run_driver(*overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the driver's command to its end, with ``variables`` added to its environment."""
    command = [sys.executable, "-m", "launch.driver", "+experiment=quickstart", *overrides]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=command_environment() | {"COLUMNS": "150"} | variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def join_lines(text: str) -> str:
    """Return ``text`` with each run of white space replaced by a space."""
    return " ".join(text.split())


@pytest.mark.slow
def test_missing_cluster_is_reported() -> None:
    address = f"127.0.0.1:{find_free_port()}"
    done = run_driver(f"cluster.address={address}", "dry_run=true")
    assert done.returncode == 2
    assert f"cluster.address={address}: no Ray cluster answers there" in done.stdout
    assert "ray start --head" in done.stdout


@pytest.mark.slow
def test_wrong_token_is_reported(nodes: RayNodes) -> None:
    done = run_driver(
        f"cluster.address={nodes.address}", "dry_run=true", RAY_AUTH_TOKEN="0" * 64, RAY_AUTH_MODE="token"
    )
    assert done.returncode == 2
    assert "does not let this driver in" in done.stdout and "~/.ray/auth_token" in done.stdout


def test_request_for_more_gpus_than_the_cluster_has_is_reported(nodes: RayNodes) -> None:
    done = run_driver(f"cluster.address={nodes.address}", "learner.ranks=3", "learner.device=cuda", "run.root=/nowhere")
    assert done.returncode == 2
    assert f"the plan needs 3 GPUs, but the cluster at {nodes.address} has 2" in done.stdout


def test_dry_run_shows_nodes_and_placement(nodes: RayNodes) -> None:
    """``device=auto`` uses GPUs because the cluster has some, although the driver's node has none."""
    overrides = ("generator.device=auto", "learner.device=auto", "model.path=some/model")
    done = run_driver(f"cluster.address={nodes.address}", "dry_run=true", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [join_lines(line.replace("│", " ")) for line in done.stdout.splitlines() if "│" in line]
    assert any(row.startswith("generator 1 cuda 0.5 1 ") for row in rows)
    (worker,) = [row for row in rows if "4 of 4" in row and "2 of 2" in row]
    (placement,) = [row for row in rows if row.endswith("generator 0, learner rank 0")]
    assert placement.split()[1] == worker.split()[1], "the actors are not placed on the node with GPUs"


def test_actors_run_on_their_reserved_nodes_until_release(
    nodes: RayNodes, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    roles = plan_roles(make_config("generator.cpus=2", "learner.cpus=2"), estimate_shape(2**20), 80.0)

    async def reserve_and_place() -> None:
        reservation = await reserve(roles, 30.0)
        await check_shared_paths(reservation, checkpoints["tied"], tmp_path)
        with pytest.raises(PlacementError, match=r"node \S+ does not see the model at /nowhere: ") as caught:
            await check_shared_paths(reservation, Path("/nowhere"), tmp_path)
        assert len(str(caught.value).splitlines()) == 1, "expected one line, for one node"
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
        pool = GeneratorPool(1, make_generator_factory(reservation.generator_strategies, 2, 4, settings))
        (node_id,) = ray.get([actor.__ray_call__.remote(_get_node_id) for actor in pool.actors], timeout=300)
        (worker,) = [node.id for node in list_nodes() if node.total["CPU"] == 4]
        assert (
            node_id
            == reservation.nodes_by_actor()["generator 0"]
            == reservation.nodes_by_actor()["learner rank 0"]
            == worker
        )
        reservation.release()

    asyncio.run(reserve_and_place())
    assert not list(tmp_path.iterdir())
    wait_until(
        lambda: sum(node.free.get("CPU", 0) for node in list_nodes()) == 5,
        "the release of the reservation",
        DEADLINE_S,
    )


def _get_node_id(actor: object) -> str:
    return str(ray.get_runtime_context().get_node_id())


def test_reservation_that_fits_no_node_fails_at_its_deadline(nodes: RayNodes) -> None:
    with pytest.raises(PlacementError) as caught:
        asyncio.run(
            asyncio.wait_for(
                reserve(plan_roles(make_config("generator.cpus=4.25"), estimate_shape(2**20), 80.0), 3.0), DEADLINE_S
            )
        )
    assert "CPU: generator 0 takes 4.25 on one node, no node has more than 4 free" in str(caught.value)
    assert "CPU 1 of 1 free" in str(caught.value) and "CPU 4 of 4 free" in str(caught.value)
    assert sum(node.free["CPU"] for node in list_nodes()) == 5, "CPUs are still reserved"


def submit_job(nodes: RayNodes, name: str, *overrides: str, wait: bool = True) -> subprocess.CompletedProcess[str]:
    """Run ``ray job submit`` as described in docs/cluster.md; with ``wait``, until the job has ended."""
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
    return run_ray_command("job", "submit", *submit, "--", *command, check=False, timeout=DEADLINE_S)


def get_job_status(nodes: RayNodes, name: str) -> str:
    return JobSubmissionClient(nodes.dashboard).get_job_status(name).value


def find_live_actors(nodes: RayNodes) -> set[str]:
    """Return the classes of this project's live actors on ``nodes``.

    The address is explicit, because Ray's default is the cluster started last on this machine.
    """
    alive = list_actors(nodes.dashboard, filters=[("state", "!=", "DEAD")], limit=1000)
    return {actor.class_name for actor in alive} & ROLES


def test_job_with_a_relative_run_root_fails(nodes: RayNodes) -> None:
    done = submit_job(nodes, "relative", "run.root=runs")
    assert done.returncode == 1
    assert "run.root=runs is relative inside a Ray job" in join_lines(done.stdout)
    assert get_job_status(nodes, "relative") == "FAILED"


@pytest.mark.slow
@pytest.mark.engine
def test_job_trains_and_writes_a_complete_run_directory(nodes: RayNodes, model: Path, tmp_path: Path) -> None:
    done = submit_job(nodes, "trains", f"model.path={model}", f"run.root={tmp_path}", "run.name=small")
    assert done.returncode == 0, done.stdout + done.stderr
    assert get_job_status(nodes, "trains") == "SUCCEEDED"
    (row,) = (json.loads(line) for line in (tmp_path / "small" / "metrics.jsonl").read_text().splitlines())
    assert row["step"] == 0 and row["mismatch/ratio_max"] < 1.001
    for file in (
        "config.yaml",
        "environment.json",
        "rollouts/step_000000.parquet",
        "checkpoints/step_000001/config.json",
        "report/index.html",
    ):
        assert (tmp_path / "small" / file).is_file()
    assert not list((tmp_path / "small").glob(".seen-*"))
    wait_until(lambda: not find_live_actors(nodes), "the end of the job's actors", DEADLINE_S)


@pytest.mark.slow
@pytest.mark.engine
def test_stopped_job_leaves_no_process(nodes: RayNodes, model: Path, tmp_path: Path) -> None:
    """The job is stopped when its engine starts, or while it trains: it has too many steps to end by itself."""
    overrides = (f"model.path={model}", f"run.root={tmp_path}", "run.name=small", "run.steps=1000")
    submit_job(nodes, "stopped", *overrides, wait=False)
    wait_until(lambda: bool(find_engines(nodes)), "the start of an engine", DEADLINE_S)
    started = find_engines(nodes)
    assert find_live_actors(nodes) == ROLES
    run_ray_command("job", "stop", "--address", nodes.dashboard, "stopped", timeout=DEADLINE_S)
    wait_until(lambda: get_job_status(nodes, "stopped") == "STOPPED", "the stop of the job", DEADLINE_S)
    wait_until(lambda: not find_live_actors(nodes), "the end of its actors", DEADLINE_S)
    _, alive = psutil.wait_procs(started | find_engines(nodes), timeout=DEADLINE_S)
    assert not alive, f"engine processes of the stopped job are still alive: {alive}"


def find_engines(nodes: RayNodes) -> set[psutil.Process]:
    """Return the engine processes on the nodes."""
    engines = set()
    for process in nodes.descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "VLLM" in process.name():
                engines.add(process)
    return engines
