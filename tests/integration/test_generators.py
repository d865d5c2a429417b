"""Two real engines in a pool: ordered batches are equal everywhere; cancelled requests end; deaths cost no request."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest

from actors.generators.actor import GeneratorSettings, SampleRequest
from actors.generators.handle import remote_generators
from actors.generators.pool import GeneratorPool
from actors.lifecycle import stop_all
from learner.rollout import Completion

T = TypeVar("T")
pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1200)]
START_S = 600.0
AT_ONCE = 8
SEED = 7


class Admission:
    """The driver's part in a restart: it lets a fresh engine in when told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.names: list[str] = []

    async def __call__(self, name: str, actor: Any) -> None:
        self.names.append(name)
        self.asked.set()
        await self.open.wait()


class Engines:
    """A pool of two, used in one event loop as a driver would."""

    def __init__(self, path: Path) -> None:
        settings = GeneratorSettings(
            model_path=str(path),
            dtype="float32",
            device="cpu",
            tensor_parallel=1,
            max_model_tokens=1024,
            max_sequences=AT_ONCE,
            kv_cache_gib=0.25,
            gpu_memory_fraction=0.5,
            threads=1,
            seed=0,
        )
        self.runner = asyncio.Runner()
        self.pool = GeneratorPool(2, remote_generators(["DEFAULT"] * 2, 0.5, 64, settings))
        self.admission = Admission()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 300.0) -> T:
        return self.runner.run(asyncio.wait_for(work, seconds))

    async def ordered(self, name: str, requests: list[SampleRequest]) -> list[Completion]:
        """An ordered batch of one engine."""
        found: dict[int, Completion] = {}
        async for place, completion in self.pool.members.live[name].sample_in_order(requests, SEED):
            assert place not in found
            found[place] = completion
        return [found[place] for place in range(len(requests))]

    async def in_order(self, requests: list[SampleRequest], seed: int) -> list[Completion]:
        return await asyncio.gather(*self.pool.sample_in_order(requests, seed))

    async def together(self, requests: list[SampleRequest]) -> list[Completion]:
        return await asyncio.gather(*(self.pool.generate(request) for request in requests))


@pytest.fixture(scope="module")
def engines(cluster: None, checkpoints: dict[str, Path]) -> Iterator[Engines]:
    engines = Engines(checkpoints["tied"])
    engines.run(engines.pool.start(START_S, engines.admission), START_S)
    yield engines
    engines.pool.close()
    stop_all(engines.pool.actors)
    engines.runner.close()


def requests(questions: int, samples: int, tokens: int) -> list[SampleRequest]:
    """Prompts of several blocks of the prefix cache, more than the engine decodes at once, of various lengths."""
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, 1000, size=40 + 11 * place).astype(np.int32) for place in range(questions)]
    return [
        SampleRequest(
            question_id=f"q{place}",
            sample_index=index,
            prompt_token_ids=prompt,
            max_tokens=tokens + 3 * place,
            temperature=0.9,
            top_p=1.0,
        )
        for place, prompt in enumerate(prompts)
        for index in range(samples)
    ]


def assert_same(left: list[Completion], right: list[Completion]) -> None:
    """Bit for bit."""
    for one, other in zip(left, right, strict=True):
        assert (one.question_id, one.sample_index) == (other.question_id, other.sample_index)
        np.testing.assert_array_equal(one.response_token_ids, other.response_token_ids)
        np.testing.assert_array_equal(one.sampler_logprobs.view(np.int32), other.sampler_logprobs.view(np.int32))


@pytest.fixture(scope="module")
def reference(engines: Engines) -> list[Completion]:
    """An ordered batch of the first engine, which did nothing before."""
    return engines.run(engines.ordered("generator 0", requests(6, 4, 40)))


def test_an_ordered_batch_is_the_same_in_another_process_and_after_other_requests(
    engines: Engines, reference: list[Completion]
) -> None:
    traffic = engines.run(engines.together(requests(5, 3, 30)))
    assert {completion.finish_reason for completion in traffic} <= {"length", "stop"}
    assert_same(reference, engines.run(engines.ordered("generator 1", requests(6, 4, 40))))
    assert_same(reference, engines.run(engines.ordered("generator 0", requests(6, 4, 40))))


def test_the_pool_deals_an_ordered_batch_out_the_same_way(engines: Engines) -> None:
    first = engines.run(engines.in_order(requests(5, 4, 30), 1))
    assert [completion.question_id for completion in first] == [one.question_id for one in requests(5, 4, 30)]
    assert_same(first, engines.run(engines.in_order(requests(5, 4, 30), 1)))
    other = engines.run(engines.in_order(requests(5, 4, 30), 2))
    assert any(
        not np.array_equal(one.response_token_ids, two.response_token_ids)
        for one, two in zip(first, other, strict=True)
    )
    # Questions 0 and 2 have their own prompts, but samples of one question draw apart from each other.
    assert len({completion.response_token_ids.tobytes() for completion in first}) == len(first)


def test_a_cancelled_request_stops_decoding(engines: Engines) -> None:
    """An engine that still decoded would compute for seconds, and an ordered batch waits until it is idle."""
    long = requests(2, AT_ONCE, 400)
    short = requests(2, 1, 4)

    async def to_idle_again(work: Coroutine[Any, Any, list[Completion]]) -> float:
        """CPU seconds of the engines from the cancellation of ``work`` until they are idle."""
        task = asyncio.ensure_future(work)
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        return await cpu_seconds(engines.in_order(short, 1))

    async def cpu_seconds(work: Coroutine[Any, Any, list[Completion]]) -> float:
        """CPU seconds that the engines spend on ``work``; unlike its wall time, they hold on a busy machine."""
        found = [await actor.processes.remote() for actor in engines.pool.live.values()]
        workers = [psutil.Process(worker) for _, *processes in found for worker in processes]
        before = sum(sum(worker.cpu_times()[:2]) for worker in workers)
        await work
        return sum(sum(worker.cpu_times()[:2]) for worker in workers) - before

    alone = engines.run(to_idle_again(engines.together(long)))
    ordered = engines.run(to_idle_again(engines.in_order(long, 1)))
    uncancelled = engines.run(cpu_seconds(engines.in_order(long, 1)))
    assert max(alone, ordered) < uncancelled / 3
    assert not engines.pool.routes.load and not engines.pool.routes.calls and not engines.pool.routes.places


def test_a_dead_engine_costs_no_request_and_is_replaced(engines: Engines, reference: list[Completion]) -> None:
    """Its process ends in mid-batch: all is answered; the fresh engine serves only once it has been let in."""
    pool = engines.pool
    admission = engines.admission
    asked = requests(8, 4, 120)

    async def kill_one() -> list[Completion]:
        work = asyncio.ensure_future(engines.together(asked))
        _, *workers = await pool.live["generator 0"].processes.remote()
        await asyncio.sleep(0.5)
        os.kill(workers[0], signal.SIGKILL)
        completions = await work
        assert list(pool.live) == ["generator 1"]
        return completions

    completions = engines.run(kill_one())
    assert [(one.question_id, one.sample_index) for one in completions] == [
        (one.question_id, one.sample_index) for one in asked
    ]
    assert pool.retried > 0
    assert pool.restarts == 1

    async def let_in() -> None:
        await admission.asked.wait()
        await engines.together(requests(4, 2, 4))
        assert list(pool.live) == ["generator 1"], "it has not been let in"
        admission.open.set()
        await pool.members.wait_for("generator 0")

    engines.run(let_in(), START_S)
    assert admission.names == ["generator 0"]
    assert [(event.name, event.what) for event in pool.events] == [
        ("generator 0", "removed"),
        ("generator 0", "replaced"),
    ]
    assert_same(reference, engines.run(engines.ordered("generator 0", requests(6, 4, 40))))


def test_a_dead_actor_is_noticed_without_a_request(engines: Engines) -> None:
    pool = engines.pool

    async def kill_one() -> list[psutil.Process]:
        actor, *workers = await pool.live["generator 1"].processes.remote()
        engine = [psutil.Process(worker) for worker in workers]
        os.kill(actor, signal.SIGKILL)
        ends = time.monotonic() + 120.0
        while "generator 1" in pool.live:
            assert time.monotonic() < ends, "its death was not noticed"
            await asyncio.sleep(0.05)
        assert list(pool.live) == ["generator 0"]
        return engine

    _, alive = psutil.wait_procs(engines.run(kill_one()), timeout=120.0)
    assert not alive, "the engine outlives its actor"
    assert len(engines.run(engines.together(requests(4, 2, 4)))) == 8
    assert pool.events[-1].name == "generator 1"
    assert "died" in pool.events[-1].reason
