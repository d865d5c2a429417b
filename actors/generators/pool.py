"""Pool of vLLM engines: routes requests by outstanding tokens, and retries them when an engine dies.

    generate(request) ──► StickyRouter ──► RemoteGenerator ──► GeneratorActor ──► Completion
             ▲                                   │ actor or engine died
             └── at most MAX_RETRIES times ◄─────┴──► GeneratorMembers restarts it in the background

Who waits for whom: ``generate`` waits while no engine is live, and then for its engine. A restarted engine serves only
after ``admit`` has returned, which loads the current weights. ``sample_in_order`` assigns each request to a fixed
engine and waits for that engine's restart instead of moving the request. There are no deadlines on requests here:
callers set their own.

Covered: actors and engines that die. Not covered: engines that hang; a caller that detects one calls ``replace``, as
``LearnerClient.publish`` does for engines that do not load the weights in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

import numpy as np

from actors.activity import Activity, PoolCounts
from actors.generators.actor import SampleRequest
from actors.generators.handle import RemoteGenerator
from actors.generators.members import AdmitGenerator, CreateGenerator, GeneratorMembers
from actors.generators.routing import StickyRouter
from actors.lifecycle import MemberEvent, MemberFailed
from evaluator.errors import RunFailed
from learner.rollout import Completion

EngineShare = Sequence[tuple[SampleRequest, asyncio.Future[Completion]]]
"""Requests of an ordered batch that are assigned to one engine, each with the future of its completion."""
MAX_RETRIES = 2  # per request; a request that crashes its engine must not crash all engines, one after the other


class GenerationFailed(RunFailed, RuntimeError):
    """A completion's engines died too often; the message names the completion(s)."""


class GeneratorPool:
    """Pool of ``count`` vLLM engines, created by ``create``.

    ``retried`` counts requests that were sent again because their engine died.
    """

    def __init__(self, count: int, create: CreateGenerator) -> None:
        self.members = GeneratorMembers(count, create)
        self.router: StickyRouter[RemoteGenerator] = StickyRouter()
        self.activity = Activity()
        self.share_tasks: set[asyncio.Task[None]] = set()
        self.retried = 0

    @property
    def actors(self) -> list[Any]:
        """Newest actor of each name, in the order of the names; it may be starting or dead."""
        return [member.actor for member in self.members.newest.values()]

    @property
    def live(self) -> dict[str, Any]:
        """Actors that serve requests, by name."""
        return {name: member.actor for name, member in self.members.live.items()}

    @property
    def restarts(self) -> int:
        """Number of actors that were started to replace another."""
        return sum(self.members.restarts.values())

    def count_members(self) -> PoolCounts:
        """Return the number of engines by state, without side effects. Other threads may call this."""
        members = self.members
        live = members.live.copy()
        busy = len(self.activity.busy_members() & live.keys())
        dead = len(members.restarting) + len(members.given_up)
        return PoolCounts(
            busy=busy,
            idle=len(live) - busy,
            dead=dead,
            starting=max(0, len(members.names) - len(live) - dead),
            restarts=self.restarts,
        )

    @property
    def events(self) -> Sequence[MemberEvent]:
        """Latest changes of the membership, oldest first."""
        return self.members.events

    async def start(self, deadline_s: float, admit: AdmitGenerator | None = None) -> None:
        """Start all engines concurrently; return when they are ready.

        An engine that dies later is replaced in the background. Its replacement has ``deadline_s`` seconds to start and
        to be admitted: it serves no request until ``admit(name, actor)`` has returned, which loads the current weights.
        """
        await self.members.start(deadline_s, admit)

    def replace(self, name: str, reason: str) -> None:
        """Kill the member called ``name`` and start a replacement. No effect if it is not live."""
        if name in self.members.live:
            self.members.replace(self.members.live[name], reason)

    def close(self) -> None:
        """Stop restarting members, and cancel ordered batches. Call it before the actors are stopped."""
        self.members.close()
        for task in self.share_tasks:
            task.cancel()

    async def generate(self, request: SampleRequest) -> Completion:
        """Sample one completion on the engine that already samples its problem, or else on the least busy one.

        The least busy engine has the fewest outstanding tokens. Waits while no engine is live, so callers should set a
        deadline. When the caller is cancelled, the engine stops
        decoding.

        Raises:
            GenerationFailed: engines died on all MAX_RETRIES + 1 attempts.
            NoLiveMember: no engine is live and none is being restarted.
        """
        reasons = []
        for attempt in range(MAX_RETRIES + 1):
            live = (await self.members.wait_for_any()).values()
            self.retried += attempt > 0
            with self.router.acquire(live, request.question_id, request.max_tokens) as member:
                self.activity.begin(member.name)
                try:
                    return await member.generate(request)
                except MemberFailed as error:
                    self.members.replace(member, error.reason)
                    reasons.append(str(error))
                finally:
                    self.activity.end(member.name)
        raise GenerationFailed(
            f"completion {request.name}: {len(reasons)} engines died while sampling it: {'; '.join(reasons)}"
        )

    def sample_in_order(self, requests: Sequence[SampleRequest], seed: int) -> list[asyncio.Future[Completion]]:
        """Sample ``requests`` deterministically: weights, requests and ``seed`` fix the result bit for bit.

        A question's position among the distinct questions of ``requests`` decides which engine samples it. If an engine
        dies, its replacement samples the same share again, with the same result. The caller must submit no other
        requests until the last has finished.

        Returns:
            Futures of the completions, in the order of ``requests``. They raise the errors that ``generate`` raises.
        """
        loop = asyncio.get_running_loop()
        completions: list[asyncio.Future[Completion]] = [loop.create_future() for _ in requests]
        for index, indices in enumerate(assign_by_question(requests, len(self.members.names))):
            share = [(requests[position], completions[position]) for position in indices]
            task = loop.create_task(self._sample_share(index, share, seed))
            self.share_tasks.add(task)
            task.add_done_callback(self.share_tasks.discard)
            task.add_done_callback(partial(_propagate_end, share))
            for _, completion in share:
                completion.add_done_callback(partial(_cancel_if_abandoned, share, task))
        return completions

    async def _sample_share(self, index: int, share: EngineShare, seed: int) -> None:
        """Sample an engine's share of an ordered batch; ``index`` is the engine's index in the pool."""
        if not share:
            return
        engine_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
        reasons = []
        requests = [request for request, _ in share]
        for attempt in range(MAX_RETRIES + 1):
            member = await self.members.wait_for(self.members.names[index])
            self.retried += len(share) if attempt > 0 else 0
            self.activity.begin(member.name)
            try:
                async for position, completion in member.sample_in_order(requests, engine_seed):
                    future = share[position][1]
                    if not future.done():
                        future.set_result(completion)
                return
            except MemberFailed as error:
                self.members.replace(member, error.reason)
                reasons.append(str(error))
            finally:
                self.activity.end(member.name)
        missing = ", ".join(request.name for request, future in share if not future.done())
        raise GenerationFailed(
            f"completions {missing}: {len(reasons)} engines died while sampling them: {'; '.join(reasons)}"
        )


def _cancel_if_abandoned(share: EngineShare, task: asyncio.Task[None], completion: asyncio.Future[Completion]) -> None:
    """Cancel the share's ``task`` when ``completion`` was cancelled and nobody waits for another one of the share."""
    if completion.cancelled() and all(future.done() for _, future in share):
        task.cancel()


def _propagate_end(share: EngineShare, task: asyncio.Future[None]) -> None:
    """Fail the share's unfinished completions with the error of ``task``, or cancel them if it has none."""
    error = None if task.cancelled() else task.exception()
    for _, completion in share:
        if error is not None and not completion.done():
            completion.set_exception(error)
        else:
            completion.cancel()  # no effect if it is finished


def assign_by_question(requests: Sequence[SampleRequest], count: int) -> list[list[int]]:
    """Return the indices into ``requests`` that each of ``count`` engines gets.

    All requests of a question go to the same engine; questions are assigned round-robin.
    """
    numbers: dict[str, int] = {}  # question id -> its position among the distinct questions
    assigned: list[list[int]] = [[] for _ in range(count)]
    for position, request in enumerate(requests):
        assigned[numbers.setdefault(request.question_id, len(numbers)) % count].append(position)
    return assigned


def request_completions(
    generators: GeneratorPool, requests: Sequence[SampleRequest], seed: int | None, stream_key: Sequence[int]
) -> list[Awaitable[Completion]]:
    """Return an awaitable completion for each request.

    Args:
        generators: started engines.
        requests: requests of one call.
        seed: None to send each request at once. With a seed (deterministic mode) all requests are sampled in order, and
            the random numbers are a function of ``seed`` and ``stream_key``.
        stream_key: integers unique to this call.
    """
    if seed is None:
        return [generators.generate(request) for request in requests]
    call_seed = int(np.random.SeedSequence([seed, *stream_key]).generate_state(1)[0])
    return [*generators.sample_in_order(requests, call_seed)]
