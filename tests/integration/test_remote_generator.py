"""Calls of a remote generator through Ray: cancellation, streaming, and failures of engine and actor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import ray

from actors.generators.actor import GeneratorSettings, SampleRequest
from actors.generators.handle import RemoteGenerator
from actors.lifecycle import MemberFailed
from tests.integration.fake_actors import FakeGeneratorActor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
SETTINGS = GeneratorSettings(
    model_path="model",
    dtype="float32",
    device="cpu",
    tensor_parallel=1,
    max_model_tokens=64,
    max_sequences=4,
    kv_cache_gib=0.1,
    gpu_memory_fraction=0.1,
    threads=1,
    seed=0,
)
DEADLINE_S = 600.0


@contextmanager
def start_generator() -> Iterator[RemoteGenerator]:
    """Start a fake generator actor; kill it on exit."""
    actor: Any = ray.remote(FakeGeneratorActor).options(num_cpus=0.1, max_concurrency=16).remote()
    yield RemoteGenerator("generator 3", actor, SETTINGS)
    ray.kill(actor)


@pytest.fixture(scope="module")
def generator(cluster: None) -> Iterator[RemoteGenerator]:
    """Start a generator that is shared by the tests that do not kill it."""
    with start_generator() as generator:
        yield generator


def make_request(question: str) -> SampleRequest:
    return SampleRequest(
        claim=0,
        question_id=question,
        sample_index=0,
        prompt_token_ids=np.array([5, 6], dtype=np.int32),
        max_tokens=8,
        temperature=1.0,
        top_p=1.0,
    )


async def sample(generator: RemoteGenerator, question: str, streamed: bool) -> None:
    """Sample a completion, alone or, if ``streamed``, as the second of an ordered batch."""
    if not streamed:
        await generator.generate(make_request(question))
        return
    async for _ in generator.sample_in_order([make_request("q"), make_request(question)], 1):
        pass


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelled_call_is_cancelled_in_the_actor(streamed: bool, generator: RemoteGenerator) -> None:
    async def cancel_calls_one_by_one() -> None:
        tasks = [asyncio.ensure_future(sample(generator, "held", streamed)) for _ in range(3)]
        for remaining in (3, 2, 1, 0):
            await generator.actor.wait_until_held.remote(remaining)
            if remaining > 0:
                tasks[remaining - 1].cancel()
        assert all(task.cancelled() for task in tasks)

    asyncio.run(asyncio.wait_for(cancel_calls_one_by_one(), DEADLINE_S))


def test_ordered_batch_is_streamed(generator: RemoteGenerator) -> None:
    """The first completions arrive before the last one is finished."""

    async def sample_batch() -> list[tuple[int, str]]:
        stream: Any = generator.sample_in_order([make_request("q0"), make_request("q1"), make_request("held")], 1)
        completions = [await anext(stream), await anext(stream)]
        await stream.aclose()
        await generator.actor.wait_until_held.remote(0)
        return [(index, completion.question_id) for index, completion in completions]

    assert asyncio.run(asyncio.wait_for(sample_batch(), DEADLINE_S)) == [(0, "q0"), (1, "q1")]


@pytest.mark.parametrize("streamed", [False, True])
def test_dead_engine_raises_member_failed(streamed: bool, generator: RemoteGenerator) -> None:
    with pytest.raises(MemberFailed, match=r"^generator 3: .*its engine died"):
        asyncio.run(asyncio.wait_for(sample(generator, "dead", streamed), DEADLINE_S))


def kill_by_signal(generator: RemoteGenerator, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_through_handle(generator: RemoteGenerator, pid: int) -> None:
    generator.kill()


@pytest.mark.parametrize(("kill", "streamed"), [(kill_by_signal, True), (kill_through_handle, False)])
def test_dead_actor_raises_member_failed(
    kill: Callable[[RemoteGenerator, int], Any], streamed: bool, cluster: None
) -> None:
    async def kill_while_sampling(generator: RemoteGenerator) -> None:
        task = asyncio.ensure_future(sample(generator, "held", streamed))
        kill(generator, await generator.actor.wait_until_held.remote(1))
        with pytest.raises(MemberFailed, match=r"^generator 3: \S"):
            await task

    with start_generator() as generator:
        asyncio.run(asyncio.wait_for(kill_while_sampling(generator), DEADLINE_S))
