"""What Ray makes of a generator's calls: cancelled with their caller, streamed as they finish, lost with the actor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import ray

from actors.generators.actor import EngineLost, GeneratorSettings, SampleRequest
from actors.generators.handle import RemoteGenerator
from actors.lifecycle import MemberLost
from learner.rollout import Completion
from tests.factories import completion

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
DEADLINE_S = 300.0


class WithoutEngine:
    """A generator actor that never answers question "held", and for "dead" finds its engine dead."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.held = 0

    async def generate(self, request: SampleRequest) -> Completion:
        if request.question_id == "dead":
            raise EngineLost("its engine died")
        if request.question_id == "held":
            await self._count(1)
            try:
                await asyncio.Event().wait()
            finally:
                await self._count(-1)
        return completion(question_id=request.question_id)

    async def sample_in_order(
        self, requests: Sequence[SampleRequest], seed: int
    ) -> AsyncIterator[tuple[int, Completion]]:
        for place, request in enumerate(requests):
            yield place, await self.generate(request)

    async def until_held(self, count: int) -> int:
        """Comes back when ``count`` requests are held; the actor's process id."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.held == count)
        return os.getpid()

    async def _count(self, change: int) -> None:
        async with self.changed:
            self.held += change
            self.changed.notify_all()


@contextmanager
def remote() -> Iterator[RemoteGenerator]:
    actor: Any = ray.remote(WithoutEngine).options(num_cpus=0.1, max_concurrency=16).remote()
    yield RemoteGenerator("generator 3", actor, SETTINGS)
    ray.kill(actor)


@pytest.fixture(scope="module")
def generator(cluster: None) -> Iterator[RemoteGenerator]:
    """For tests that it survives."""
    with remote() as generator:
        yield generator


def request(question: str) -> SampleRequest:
    return SampleRequest(
        question_id=question,
        sample_index=0,
        prompt_token_ids=np.array([5, 6], dtype=np.int32),
        max_tokens=8,
        temperature=1.0,
        top_p=1.0,
    )


async def ask(generator: RemoteGenerator, question: str, streamed: bool) -> None:
    """Ask for an answer, alone or as the second of an ordered batch."""
    if not streamed:
        await generator.generate(request(question))
        return
    async for _ in generator.sample_in_order([request("q"), request(question)], 1):
        pass


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_call_is_cancelled_in_the_actor(streamed: bool, generator: RemoteGenerator) -> None:
    async def cancelled() -> None:
        tasks = [asyncio.ensure_future(ask(generator, "held", streamed)) for _ in range(3)]
        for left in (3, 2, 1, 0):
            await generator.actor.until_held.remote(left)
            if left > 0:
                tasks[left - 1].cancel()
        assert all(task.cancelled() for task in tasks)

    asyncio.run(asyncio.wait_for(cancelled(), DEADLINE_S))


def test_an_ordered_batch_is_streamed(generator: RemoteGenerator) -> None:
    """The first completions come before the last is finished."""

    async def streamed() -> list[tuple[int, str]]:
        stream: Any = generator.sample_in_order([request("q0"), request("q1"), request("held")], 1)
        found = [await anext(stream), await anext(stream)]
        await stream.aclose()
        await generator.actor.until_held.remote(0)
        return [(place, one.question_id) for place, one in found]

    assert asyncio.run(asyncio.wait_for(streamed(), DEADLINE_S)) == [(0, "q0"), (1, "q1")]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_dead_engine_loses_the_member(streamed: bool, generator: RemoteGenerator) -> None:
    with pytest.raises(MemberLost, match=r"^generator 3: .*its engine died"):
        asyncio.run(asyncio.wait_for(ask(generator, "dead", streamed), DEADLINE_S))


def by_signal(generator: RemoteGenerator, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def by_pool(generator: RemoteGenerator, pid: int) -> None:
    generator.kill()


@pytest.mark.parametrize(("killed", "streamed"), [(by_signal, True), (by_pool, False)])
def test_a_dead_actor_loses_the_member(
    killed: Callable[[RemoteGenerator, int], Any], streamed: bool, cluster: None
) -> None:
    async def lost(generator: RemoteGenerator) -> None:
        task = asyncio.ensure_future(ask(generator, "held", streamed))
        killed(generator, await generator.actor.until_held.remote(1))
        with pytest.raises(MemberLost, match=r"^generator 3: \S"):
            await task

    with remote() as generator:
        asyncio.run(asyncio.wait_for(lost(generator), DEADLINE_S))
