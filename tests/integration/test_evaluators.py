"""Evaluator actors on real Ray clusters: deaths, hangs, scaling, and placement on nodes."""

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
from actors.evaluators.actor import EVALUATOR_RESOURCE, EvaluatorActor, EvaluatorHandle, EvaluatorSettings
from actors.evaluators.autoscaling import Bounds
from actors.evaluators.members import PoolTimeouts
from actors.evaluators.pool import MAX_ATTEMPTS, EvaluatorPool
from actors.lifecycle import stop_all
from evaluator.problem import ProblemTest
from evaluator.sandbox import Limits
from evaluator.verdict import Status
from launch.cluster.scaling import accept_scaling_requests
from tests.factories import make_problem

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
SETTINGS = EvaluatorSettings(
    limits=Limits(wall_s=20.0, cpu_s=6.0),
    workers=1,
    policy="judge",
    adaptive_timeout=False,
    strict=False,
    all_tests=False,
)
TIMEOUTS = PoolTimeouts(call_s=60.0, start_s=60.0, ping_s=60.0, no_actor_s=8.0, tick_s=0.2)
ADDITION = "print(sum(map(int, input().split())))"


def answer(sleep_s: float = 0.0, program: str = ADDITION) -> str:
    """Return an answer whose program sleeps for ``sleep_s`` and then runs ``program``.

    Give each answer a different ``sleep_s`` where it must be judged separately: equal answers share a verdict.
    """
    return f"```python\nimport time\ntime.sleep({sleep_s})\n{program}\n```"


def run_scenario(
    scenario: Callable[[EvaluatorPool], Awaitable[None]],
    bounds: Bounds,
    create: Callable[[str], EvaluatorHandle] = lambda name: EvaluatorHandle(SETTINGS, 1),
    timeouts: PoolTimeouts = TIMEOUTS,
) -> None:
    """Start a pool, run ``scenario(pool)`` and stop the pool; check that no process of its actors is left.

    Args:
        scenario: coroutine function.
        bounds: smallest and largest number of actors.
        create: creates an actor with the given name and returns its handle.
        timeouts: timeouts of the pool.
    """

    async def main() -> None:
        pool = EvaluatorPool(create, sandboxes=SETTINGS.workers, cpus=1, bounds=bounds, timeouts=timeouts)
        try:
            await pool.start(300.0)
            await scenario(pool)
        finally:
            actors = pool.actors
            await pool.stop()
            stop_all(actors)

    asyncio.run(main())
    wait_until(lambda: not find_evaluator_processes())


def find_evaluator_processes() -> set[int]:
    """Return the process ids of the evaluator actors on clusters that this process has started."""
    pids = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())  # a zombie has no command line
            if "EvaluatorActor" in line or "DoomedActor" in line:
                pids.add(process.pid)
    return pids


def wait_until(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Wait until ``condition()`` is true, for at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was still false after {seconds:g} s"
        time.sleep(0.05)


async def wait_until_async(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Wait until ``condition()`` is true, for at most ``seconds``, while the event loop runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was still false after {seconds:g} s"
        await asyncio.sleep(0.05)


async def find_actor_process(actor: Any) -> psutil.Process:
    (pid,) = await actor.process_ids.remote()
    return psutil.Process(pid)


def _is_running_program(actor: psutil.Process) -> bool:
    return len(actor.children(recursive=True)) >= 4


async def wait_for_programs(*processes: psutil.Process) -> list[psutil.Process]:
    """Wait until each of these actors runs a program; return the actors and all their descendants."""
    tree = []
    for process in processes:
        await wait_until_async(functools.partial(_is_running_program, process))
        tree += [process, *process.children(recursive=True)]
    await asyncio.sleep(0.3)
    return tree


@pytest.mark.faults
def test_completion_of_an_actor_killed_while_judging_is_retried(cluster: None) -> None:
    async def scenario(pool: EvaluatorPool) -> None:
        processes = [await find_actor_process(actor) for actor in pool.actors]
        problem = make_problem()
        answers = [asyncio.ensure_future(pool.judge(problem, answer(2.0 + n))) for n in range(len(processes))]
        actor_tree = await wait_for_programs(processes[0])
        os.kill(processes[0].pid, signal.SIGKILL)
        judgements = await asyncio.gather(*answers)
        assert [judgement.verdict.status for judgement in judgements] == [Status.PASSED] * 2
        load = pool.load()
        assert (load.retried, load.unjudged) == (1, 0)
        await wait_until_async(lambda: not any(process.is_running() for process in actor_tree))
        await wait_until_async(lambda: pool.load().actors == 2)

    run_scenario(scenario, Bounds(2, 2))


@pytest.mark.faults
def test_actor_that_hangs_is_killed_and_its_completion_retried(cluster: None) -> None:
    async def scenario(pool: EvaluatorPool) -> None:
        (process,) = [await find_actor_process(actor) for actor in pool.actors]
        judgement = asyncio.ensure_future(pool.judge(make_problem(), answer(1.0)))
        await wait_for_programs(process)
        process.suspend()
        assert (await judgement).verdict.status is Status.PASSED
        assert pool.load().retried == 1
        await wait_until_async(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)

    run_scenario(scenario, Bounds(1, 1), timeouts=replace(TIMEOUTS, ping_s=10.0))


@pytest.mark.faults
def test_program_that_kills_every_actor_is_a_sandbox_error(cluster: None) -> None:
    created = 0

    class DoomedActor(EvaluatorActor):  # a local class is pickled by value, so actors need not import this file
        """Evaluator actor that dies whenever it judges a program."""

        async def judge(self, problem: Any, text: str) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    def create(name: str) -> EvaluatorHandle:
        nonlocal created
        created += 1
        handle = EvaluatorHandle.__new__(EvaluatorHandle)
        role: Any = ray.remote(DoomedActor)
        handle.actor = role.options(num_cpus=1, resources={EVALUATOR_RESOURCE: 1}, max_concurrency=8).remote(SETTINGS)
        return handle

    async def scenario(pool: EvaluatorPool) -> None:
        judgement = await pool.judge(make_problem(), answer())
        assert judgement.verdict.status is Status.SANDBOX_ERROR
        assert "evaluator 0: ActorDiedError: The actor died unexpectedly" in judgement.verdict.detail
        assert judgement.verdict.detail.count("ActorDiedError") == MAX_ATTEMPTS <= created
        load = pool.load()
        assert (load.retried, load.unjudged) == (MAX_ATTEMPTS - 1, 1)

    run_scenario(scenario, Bounds(1, 1), create, replace(TIMEOUTS, no_actor_s=60.0))


def test_pool_grows_with_its_queue_and_shrinks_again(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoscaling, "IDLE_S", 1.0)

    async def scenario(pool: EvaluatorPool) -> None:
        problem = replace(
            make_problem(), public_tests=tuple(ProblemTest(f"1 {'0 ' * 50_000}{n}", f"{n + 1}") for n in range(3))
        )
        answers = [asyncio.ensure_future(pool.judge(problem, answer(0.4 + n / 1000))) for n in range(16)]
        await wait_until_async(lambda: pool.load().actors == 3)
        assert {judgement.verdict.status for judgement in await asyncio.gather(*answers)} == {Status.PASSED}
        load = pool.load()
        assert load.busy_share > 0.5
        assert (load.retried, load.unjudged) == (0, 0)
        await wait_until_async(lambda: len(pool.actors) == 1)
        assert (await pool.judge(problem, answer(program="print(0)"))).verdict.status is Status.WRONG_ANSWER

    run_scenario(scenario, Bounds(1, 3))


def run_scale_command(path: Path, evaluators: object) -> subprocess.CompletedProcess[str]:
    """Run ``launch.scale`` for the run directory ``path`` and return its exit status and output."""
    arguments = [sys.executable, "-m", "launch.scale", f"run={path}", f"evaluators={evaluators}", "deadline_s=300"]
    # As in another shell, without the variable that Ray has set in this process.
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_scale_command_resizes_a_live_pool(cluster: None, tmp_path: Path) -> None:
    path = tmp_path / "live"
    path.mkdir()
    (path / "config.yaml").write_text("{}")

    async def scenario(pool: EvaluatorPool) -> None:
        with accept_scaling_requests(path, pool):
            assert set(json.loads((path / "cluster.json").read_text())) == {"address", "namespace", "name", "auth_mode"}
            done = await asyncio.to_thread(run_scale_command, path, 2)
            assert (done.returncode, done.stdout.strip()) == (0, f"run {path}: evaluators 1 -> 2"), done.stderr
            assert pool.load().actors == 2
            rejected = await asyncio.to_thread(run_scale_command, path, 9)
            assert rejected.returncode == 2, rejected.stdout + rejected.stderr
            assert "evaluators=9: " in rejected.stdout
            assert "the cluster has room for 3 in all: each takes 1 CPUs and 1 of the resource" in rejected.stdout
            judgements = await asyncio.gather(*(pool.judge(make_problem(), answer()) for _ in range(4)))
            assert {judgement.verdict.status for judgement in judgements} == {Status.PASSED}
        assert not (path / "cluster.json").exists()

    run_scenario(scenario, Bounds(1, 1))


@pytest.mark.slow
@pytest.mark.faults
def test_evaluators_run_on_nodes_with_their_resource_and_survive_node_loss() -> None:
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 2**27})
    try:
        nodes = [
            cluster.add_node(num_cpus=1, resources={EVALUATOR_RESOURCE: 1}, object_store_memory=2**27) for _ in range(2)
        ]
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)

        async def scenario(pool: EvaluatorPool) -> None:
            def get_node_id(_: object) -> str:
                node_id: str = ray.get_runtime_context().get_node_id()
                return node_id

            node_ids = {await actor.__ray_call__.remote(get_node_id) for actor in pool.actors}
            assert node_ids == {node.node_id for node in nodes}
            problem = make_problem()
            answers = [asyncio.ensure_future(pool.judge(problem, answer(4.0 + n))) for n in range(len(nodes))]
            await wait_for_programs(*[await find_actor_process(actor) for actor in pool.actors])
            cluster.remove_node(nodes[0], allow_graceful=False)
            judgements = await asyncio.gather(*answers)
            assert [judgement.verdict.status for judgement in judgements] == [Status.PASSED] * 2
            assert pool.load().retried == 1
            unjudged = [asyncio.ensure_future(pool.judge(problem, answer(4.1 + n / 1000))) for n in range(4)]
            await asyncio.sleep(1.0)
            cluster.remove_node(nodes[1], allow_graceful=False)
            for judgement in await asyncio.gather(*unjudged):
                assert judgement.verdict.status is Status.SANDBOX_ERROR
                assert judgement.verdict.detail.endswith("no evaluator has run for 8 s")

        run_scenario(scenario, Bounds(2, 2))
    finally:
        ray.shutdown()
        cluster.shutdown()
