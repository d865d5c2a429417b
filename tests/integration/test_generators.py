"""Two real engines in a pool: reproducible ordered batches, cancellation, and retries after the death of an engine."""

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
from actors.generators.handle import make_generator_factory
from actors.generators.pool import GeneratorPool
from actors.lifecycle import stop_all
from actors.log_files import ActorFailed
from learner.rollout import Completion
from tests.factories import CHECKPOINT_VOCABULARY

T = TypeVar("T")
pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1200)]
START_S = 600.0
MAX_SEQUENCES = 8
SEED = 7


class FakeAdmission:
    """Fake of the driver's admission of restarted engines, which waits for the test.

    Attributes:
        requested: set when an engine asks to be admitted.
        granted: the test sets it to admit engines.
        names: names of the engines that asked, in order.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.granted = asyncio.Event()
        self.names: list[str] = []

    async def __call__(self, name: str, actor: Any) -> None:
        self.names.append(name)
        self.requested.set()
        await self.granted.wait()


def make_settings(path: Path, kv_cache_gib: float = 0.25) -> GeneratorSettings:
    return GeneratorSettings(
        model_path=str(path),
        dtype="float32",
        device="cpu",
        tensor_parallel=1,
        max_model_tokens=1024,
        max_sequences=MAX_SEQUENCES,
        kv_cache_gib=kv_cache_gib,
        gpu_memory_fraction=0.5,
        threads=1,
        seed=0,
    )


class Engines:
    """A pool of two engines and the event loop in which it is used."""

    def __init__(self, path: Path) -> None:
        settings = make_settings(path)
        self.runner = asyncio.Runner()
        self.pool = GeneratorPool(2, make_generator_factory(["DEFAULT"] * 2, 0.5, 64, settings))
        self.admission = FakeAdmission()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 300.0) -> T:
        """Run ``work`` in the event loop of the pool, for at most ``seconds``."""
        return self.runner.run(asyncio.wait_for(work, seconds))

    async def sample_batch_on(self, name: str, requests: list[SampleRequest]) -> list[Completion]:
        """Sample an ordered batch on the engine ``name``."""
        completions: dict[int, Completion] = {}
        async for index, completion in self.pool.members.live[name].sample_in_order(requests, SEED):
            assert index not in completions
            completions[index] = completion
        return [completions[index] for index in range(len(requests))]

    async def sample_batch(self, requests: list[SampleRequest], seed: int) -> list[Completion]:
        """Sample an ordered batch on all engines."""
        return await asyncio.gather(*self.pool.sample_in_order(requests, seed))

    async def generate(self, requests: list[SampleRequest]) -> list[Completion]:
        """Sample independent requests concurrently."""
        return await asyncio.gather(*(self.pool.generate(request) for request in requests))


@pytest.fixture(scope="module")
def engines(cluster: None, checkpoints: dict[str, Path]) -> Iterator[Engines]:
    engines = Engines(checkpoints["tied"])
    engines.run(engines.pool.start(START_S, engines.admission), START_S)
    yield engines
    engines.pool.close()
    stop_all(engines.pool.actors)
    engines.runner.close()


def make_requests(questions: int, samples: int, tokens: int) -> list[SampleRequest]:
    """Return requests with prompts of different lengths, each several blocks of the prefix cache long.

    Args:
        questions: number of prompts.
        samples: requests per prompt.
        tokens: response length limit for the first prompt; it grows by three tokens from prompt to prompt.
    """
    rng = np.random.default_rng(0)
    prompts = [
        rng.integers(3, CHECKPOINT_VOCABULARY, size=40 + 11 * question).astype(np.int32)
        for question in range(questions)
    ]
    return [
        SampleRequest(
            claim=0,
            question_id=f"q{question}",
            sample_index=index,
            prompt_token_ids=prompt,
            max_tokens=tokens + 3 * question,
            temperature=0.9,
            top_p=1.0,
        )
        for question, prompt in enumerate(prompts)
        for index in range(samples)
    ]


def assert_identical(left: list[Completion], right: list[Completion]) -> None:
    """Check that the completions are equal bit for bit."""
    for first, second in zip(left, right, strict=True):
        assert (first.question_id, first.sample_index) == (second.question_id, second.sample_index)
        np.testing.assert_array_equal(first.response_token_ids, second.response_token_ids)
        np.testing.assert_array_equal(first.sampler_logprobs.view(np.int32), second.sampler_logprobs.view(np.int32))


@pytest.fixture(scope="module")
def reference(engines: Engines) -> list[Completion]:
    """Sample an ordered batch on the first engine before any other request."""
    return engines.run(engines.sample_batch_on("generator 0", make_requests(6, 4, 40)))


def test_ordered_batch_is_identical_on_another_engine_and_after_other_requests(
    engines: Engines, reference: list[Completion]
) -> None:
    other_completions = engines.run(engines.generate(make_requests(5, 3, 30)))
    assert {completion.finish_reason for completion in other_completions} <= {"length", "stop"}
    assert_identical(reference, engines.run(engines.sample_batch_on("generator 1", make_requests(6, 4, 40))))
    assert_identical(reference, engines.run(engines.sample_batch_on("generator 0", make_requests(6, 4, 40))))


def test_ordered_batch_of_the_pool_is_reproducible(engines: Engines) -> None:
    first = engines.run(engines.sample_batch(make_requests(5, 4, 30), 1))
    assert [completion.question_id for completion in first] == [
        request.question_id for request in make_requests(5, 4, 30)
    ]
    assert_identical(first, engines.run(engines.sample_batch(make_requests(5, 4, 30), 1)))
    other_seed = engines.run(engines.sample_batch(make_requests(5, 4, 30), 2))
    assert any(
        not np.array_equal(left.response_token_ids, right.response_token_ids)
        for left, right in zip(first, other_seed, strict=True)
    )
    # No two completions are equal: samples of the same question use different random numbers.
    assert len({completion.response_token_ids.tobytes() for completion in first}) == len(first)


def test_cancelled_request_stops_decoding(engines: Engines) -> None:
    """An ordered batch waits until the engines are idle, so it measures how long they keep decoding."""
    long = make_requests(2, MAX_SEQUENCES, 400)
    short = make_requests(2, 1, 4)

    async def cpu_seconds_after_cancellation(work: Coroutine[Any, Any, list[Completion]]) -> float:
        """Cancel ``work`` after a second; return the CPU seconds of the engines from then until they are idle."""
        task = asyncio.ensure_future(work)
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        return await cpu_seconds(engines.sample_batch(short, 1))

    async def cpu_seconds(work: Coroutine[Any, Any, list[Completion]]) -> float:
        """Return the CPU seconds that the engines spend on ``work``. Wall time would depend on machine load."""
        process_ids = [await actor.process_ids.remote() for actor in engines.pool.live.values()]
        workers = [psutil.Process(worker) for _, *pids in process_ids for worker in pids]
        before = sum(sum(worker.cpu_times()[:2]) for worker in workers)
        await work
        return sum(sum(worker.cpu_times()[:2]) for worker in workers) - before

    cancelled_requests = engines.run(cpu_seconds_after_cancellation(engines.generate(long)))
    cancelled_batch = engines.run(cpu_seconds_after_cancellation(engines.sample_batch(long, 1)))
    uncancelled = engines.run(cpu_seconds(engines.sample_batch(long, 1)))
    assert max(cancelled_requests, cancelled_batch) < uncancelled / 3
    assert not engines.pool.router.load and not engines.pool.router.calls and not engines.pool.router.assignments


def test_requests_of_a_killed_engine_are_retried_and_it_is_replaced(
    engines: Engines, reference: list[Completion]
) -> None:
    """Kill an engine's process during sampling: all requests are answered; the new engine serves once admitted."""
    pool = engines.pool
    admission = engines.admission
    requests = make_requests(8, 4, 120)

    async def kill_engine() -> list[Completion]:
        work = asyncio.ensure_future(engines.generate(requests))
        _, *workers = await pool.live["generator 0"].process_ids.remote()
        await asyncio.sleep(0.5)
        os.kill(workers[0], signal.SIGKILL)
        completions = await work
        assert list(pool.live) == ["generator 1"]
        return completions

    completions = engines.run(kill_engine())
    assert [(completion.question_id, completion.sample_index) for completion in completions] == [
        (request.question_id, request.sample_index) for request in requests
    ]
    assert pool.retried > 0
    assert pool.restarts == 1

    async def admit() -> None:
        await admission.requested.wait()
        await engines.generate(make_requests(4, 2, 4))
        assert list(pool.live) == ["generator 1"], "generator 0 serves without admission"
        admission.granted.set()
        await pool.members.wait_for("generator 0")

    engines.run(admit(), START_S)
    assert admission.names == ["generator 0"]
    assert [(event.name, event.change) for event in pool.events] == [
        ("generator 0", "removed"),
        ("generator 0", "replaced"),
    ]
    assert_identical(reference, engines.run(engines.sample_batch_on("generator 0", make_requests(6, 4, 40))))


def test_death_of_an_idle_actor_is_noticed(engines: Engines) -> None:
    pool = engines.pool

    async def kill_actor() -> list[psutil.Process]:
        actor, *workers = await pool.live["generator 1"].process_ids.remote()
        engine = [psutil.Process(worker) for worker in workers]
        os.kill(actor, signal.SIGKILL)
        deadline = time.monotonic() + 120.0
        while "generator 1" in pool.live:
            assert time.monotonic() < deadline, "the death of generator 1 was not noticed within 120 s"
            await asyncio.sleep(0.05)
        assert list(pool.live) == ["generator 0"]
        return engine

    _, alive = psutil.wait_procs(engines.run(kill_actor()), timeout=300)
    assert not alive, f"engine processes outlive their actor: {alive}"
    assert len(engines.run(engines.generate(make_requests(4, 2, 4)))) == 8
    assert pool.events[-1].name == "generator 1"
    assert "died" in pool.events[-1].reason


def test_engine_that_cannot_start_is_reported_with_its_cause_and_its_log(
    cluster: None, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """The cause is only in the output of vLLM's process, below the actor: the actor's own error does not have it."""
    settings = make_settings(checkpoints["tied"], kv_cache_gib=0.0001)
    pool = GeneratorPool(1, make_generator_factory(["DEFAULT"], 0.5, 64, settings, tmp_path))
    try:
        with pytest.raises(
            ActorFailed, match=r"generator 0: the engine has too little memory for the KV cache"
        ) as caught:
            asyncio.run(asyncio.wait_for(pool.start(START_S, None), START_S))
    finally:
        stop_all(pool.actors)
    path = tmp_path / "generator_0.log"
    assert "raise generator.gpu_memory_fraction" in str(caught.value) and f"its log: {path}" in str(caught.value)
    assert "No available memory for the cache blocks" in path.read_text()
