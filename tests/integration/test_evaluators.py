"""Evaluator actors on real Ray clusters: killed, hung, more and fewer of them, and on nodes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from actors.evaluators import autoscaling
from actors.evaluators.actor import RESOURCE, EvaluatorActor, EvaluatorHandle, EvaluatorSettings
from actors.evaluators.autoscaling import Bounds
from actors.evaluators.pool import TRIES, EvaluatorPool
from actors.evaluators.roster import PoolTimeouts
from actors.lifecycle import stop_all
from evaluator.problem import ProblemTest
from evaluator.sandbox import Limits
from evaluator.verdict import Status
from launch.cluster.scaling import open_to_scaling
from tests.factories import problem

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
SETTINGS = EvaluatorSettings(
    limits=Limits(wall_s=20.0, cpu_s=6.0), workers=1, policy="judge", adaptive_timeout=False, strict=False
)
TIMEOUTS = PoolTimeouts(call_s=60.0, start_s=60.0, ping_s=20.0, alone_s=8.0, tick_s=0.2)
ADDITION = "print(sum(map(int, input().split())))"


def answer(sleep_s: float = 0.0, program: str = ADDITION) -> str:
    """Those that are to be judged each by itself must differ."""
    return f"```python\nimport time\ntime.sleep({sleep_s})\n{program}\n```"


def play(
    scenario: Callable[[EvaluatorPool], Awaitable[None]],
    bounds: Bounds,
    create: Callable[[], EvaluatorHandle] = lambda: EvaluatorHandle(SETTINGS, 1),
    timeouts: PoolTimeouts = TIMEOUTS,
) -> None:
    """Start a pool, play ``scenario`` with it, end it: no process of its actors may be left."""

    async def main() -> None:
        pool = EvaluatorPool(create, sandboxes=SETTINGS.workers, cpus=1, bounds=bounds, timeouts=timeouts)
        try:
            await pool.start(300.0)
            await scenario(pool)
        finally:
            last = pool.actors
            await pool.stop()
            stop_all(last)

    asyncio.run(main())
    eventually(lambda: not evaluator_processes())


def evaluator_processes() -> set[int]:
    """Actors on the clusters that this process has started."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())  # empty for a zombie
            if "EvaluatorActor" in line or "DoomedActor" in line:
                found.add(process.pid)
    return found


def eventually(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


async def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        await asyncio.sleep(0.05)


async def process_of(actor: Any) -> psutil.Process:
    (pid,) = await actor.processes.remote()
    return psutil.Process(pid)


def _runs_a_program(actor: psutil.Process) -> bool:
    return len(actor.children(recursive=True)) >= 4


async def in_sandboxes(*processes: psutil.Process) -> list[psutil.Process]:
    """Wait until each of these actors has a program that runs; returns all processes of theirs."""
    families = []
    for process in processes:
        await until(functools.partial(_runs_a_program, process))
        families += [process, *process.children(recursive=True)]
    await asyncio.sleep(0.3)
    return families


@pytest.mark.faults
def test_an_actor_killed_in_mid_test_loses_no_completion(cluster: None) -> None:
    async def scenario(pool: EvaluatorPool) -> None:
        processes = [await process_of(actor) for actor in pool.actors]
        one = problem()
        answers = [asyncio.ensure_future(pool.judge(one, answer(2.0 + n))) for n in range(len(processes))]
        family = await in_sandboxes(processes[0])
        os.kill(processes[0].pid, signal.SIGKILL)
        judgements = await asyncio.gather(*answers)
        assert [judgement.verdict.status for judgement in judgements] == [Status.PASSED] * 2
        load = pool.load()
        assert (load.retried, load.lost) == (1, 0)
        await until(lambda: not any(process.is_running() for process in family))
        await until(lambda: pool.load().actors == 2)

    play(scenario, Bounds(2, 2))


@pytest.mark.faults
def test_an_actor_that_hangs_is_ended_and_its_completion_judged_by_another(cluster: None) -> None:
    async def scenario(pool: EvaluatorPool) -> None:
        (process,) = [await process_of(actor) for actor in pool.actors]
        waiting = asyncio.ensure_future(pool.judge(problem(), answer(1.0)))
        await in_sandboxes(process)
        process.suspend()
        assert (await waiting).verdict.status is Status.PASSED
        assert pool.load().retried == 1
        await until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)

    play(scenario, Bounds(1, 1), timeouts=replace(TIMEOUTS, ping_s=3.0))


@pytest.mark.faults
def test_what_kills_every_actor_is_a_sandbox_error(cluster: None) -> None:
    created = 0

    class DoomedActor(EvaluatorActor):  # in here, so that actors need not import this file
        """Dies over every program."""

        async def judge(self, problem: Any, text: str) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    def create() -> EvaluatorHandle:
        nonlocal created
        created += 1
        handle = EvaluatorHandle.__new__(EvaluatorHandle)
        role: Any = ray.remote(DoomedActor)
        handle.actor = role.options(num_cpus=1, resources={RESOURCE: 1}, max_concurrency=8).remote(SETTINGS)
        return handle

    async def scenario(pool: EvaluatorPool) -> None:
        judgement = await pool.judge(problem(), answer())
        assert judgement.verdict.status is Status.SANDBOX_ERROR
        assert "evaluator 0: ActorDiedError: The actor died unexpectedly" in judgement.verdict.detail
        assert judgement.verdict.detail.count("ActorDiedError") == TRIES <= created
        load = pool.load()
        assert (load.retried, load.lost) == (TRIES - 1, 1)

    play(scenario, Bounds(1, 1), create, replace(TIMEOUTS, alone_s=60.0))


def test_the_pool_grows_with_its_queue_and_shrinks_again(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoscaling, "IDLE_S", 1.0)

    async def scenario(pool: EvaluatorPool) -> None:
        one = replace(problem(), public_tests=tuple(ProblemTest(f"1 {'0 ' * 50_000}{n}", f"{n + 1}") for n in range(3)))
        answers = [asyncio.ensure_future(pool.judge(one, answer(0.4 + n / 1000))) for n in range(16)]
        await until(lambda: pool.load().actors == 3)
        assert {judgement.verdict.status for judgement in await asyncio.gather(*answers)} == {Status.PASSED}
        load = pool.load()
        assert load.busy_share > 0.5
        assert (load.retried, load.lost) == (0, 0)
        await until(lambda: len(pool.actors) == 1)
        assert (await pool.judge(one, answer(program="print(0)"))).verdict.status is Status.WRONG_ANSWER

    play(scenario, Bounds(1, 3))


def command(path: Path, evaluators: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "launch.scale", f"run={path}", f"evaluators={evaluators}", "deadline_s=120"]
    # As in another shell: what Ray has put into this process's environment is not there.
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_another_process_scales_a_live_pool(cluster: None, tmp_path: Path) -> None:
    path = tmp_path / "live"
    path.mkdir()
    (path / "config.yaml").write_text("{}")

    async def scenario(pool: EvaluatorPool) -> None:
        with open_to_scaling(path, pool):
            assert set(json.loads((path / "cluster.json").read_text())) == {"address", "namespace", "name", "auth_mode"}
            done = await asyncio.to_thread(command, path, 2)
            assert (done.returncode, done.stdout.strip()) == (0, f"run {path}: evaluators 1 -> 2"), done.stderr
            assert pool.load().actors == 2
            refused = await asyncio.to_thread(command, path, 9)
            assert refused.returncode == 2, refused.stdout + refused.stderr
            assert "evaluators=9: " in refused.stdout
            assert "the cluster has room for 3 in all: each takes 1 CPUs and 1 of the resource" in refused.stdout
            judgements = await asyncio.gather(*(pool.judge(problem(), answer()) for _ in range(4)))
            assert {judgement.verdict.status for judgement in judgements} == {Status.PASSED}
        assert not (path / "cluster.json").exists()

    play(scenario, Bounds(1, 1))


@pytest.mark.slow
@pytest.mark.faults
def test_evaluators_live_on_the_nodes_that_declare_them_and_nodes_may_go() -> None:
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 2**27})
    try:
        nodes = [cluster.add_node(num_cpus=1, resources={RESOURCE: 1}, object_store_memory=2**27) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)

        async def scenario(pool: EvaluatorPool) -> None:
            def node_of(_: object) -> str:
                found: str = ray.get_runtime_context().get_node_id()
                return found

            places = {await actor.__ray_call__.remote(node_of) for actor in pool.actors}
            assert places == {node.node_id for node in nodes}
            one = problem()
            answers = [asyncio.ensure_future(pool.judge(one, answer(4.0 + n))) for n in range(len(nodes))]
            await in_sandboxes(*[await process_of(actor) for actor in pool.actors])
            cluster.remove_node(nodes[0], allow_graceful=False)
            judgements = await asyncio.gather(*answers)
            assert [judgement.verdict.status for judgement in judgements] == [Status.PASSED] * 2
            assert pool.load().retried == 1
            last = [asyncio.ensure_future(pool.judge(one, answer(4.1 + n / 1000))) for n in range(4)]
            await asyncio.sleep(1.0)
            cluster.remove_node(nodes[1], allow_graceful=False)
            for judgement in await asyncio.gather(*last):
                assert judgement.verdict.status is Status.SANDBOX_ERROR
                assert judgement.verdict.detail.endswith("no evaluator runs, for 8 s")

        play(scenario, Bounds(2, 2))
    finally:
        ray.shutdown()
        cluster.shutdown()
