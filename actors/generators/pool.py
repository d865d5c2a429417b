"""The vLLM engines behind one call: routed by outstanding tokens, and retried when an engine dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

import numpy as np

from actors.activity import Activity
from actors.generators.actor import SampleRequest
from actors.generators.handle import RemoteGenerator
from actors.generators.members import Admit, Create, GeneratorMembers
from actors.generators.routing import StickyRoutes
from actors.lifecycle import MemberEvent, MemberLost
from evaluator.errors import RunFailed
from learner.rollout import Completion

Share = Sequence[tuple[SampleRequest, asyncio.Future[Completion]]]
RETRIES = 2  # of one request; one that ends every engine it is given to must not end them all


class GenerationFailed(RunFailed, RuntimeError):
    """Completions lost their generator too often; the message names them."""


class GeneratorPool:
    """vLLM engines. ``retried`` counts requests that were sent again because their engine died."""

    def __init__(self, count: int, create: Create) -> None:
        self.members = GeneratorMembers(count, create)
        self.routes: StickyRoutes[RemoteGenerator] = StickyRoutes()
        self.activity = Activity()
        self.shares: set[asyncio.Task[None]] = set()
        self.retried = 0

    @property
    def actors(self) -> list[Any]:
        """The newest actor of each name, in the order of names; it may be starting or dead."""
        return [member.actor for member in self.members.newest.values()]

    @property
    def live(self) -> dict[str, Any]:
        """The actors that serve requests, by name."""
        return {name: member.actor for name, member in self.members.live.items()}

    @property
    def restarts(self) -> int:
        """How many actors were started in place of another."""
        return sum(self.members.restarts.values())

    @property
    def events(self) -> Sequence[MemberEvent]:
        """The latest changes among the members, oldest first."""
        return self.members.events

    async def start(self, deadline_s: float, admit: Admit | None = None) -> None:
        """Start the engines, all at once; returns when they are ready.

        An engine that dies later is replaced in the background; the new one has ``deadline_s`` to start and serves
        nothing until ``admit(name, actor)`` has come back, which gives it the current weights.
        """
        await self.members.start(deadline_s, admit)

    def replace(self, name: str, reason: str) -> None:
        """Kill this member, and start another in its place. No effect if it does not serve."""
        if name in self.members.live:
            self.members.replace(self.members.live[name], reason)

    def close(self) -> None:
        """Replace nothing from here on, and end ordered batches. Call it before the actors are stopped."""
        self.members.close()
        for task in self.shares:
            task.cancel()

    async def generate(self, request: SampleRequest) -> Completion:
        """One completion from the engine with the fewest outstanding tokens, or the one that has its question.

        Waits while no engine lives: bound it by a deadline. When the caller is cancelled, the engine stops decoding.
        Raises GenerationFailed when it lost its engine more than RETRIES times, NoMemberLeft when none will live.
        """
        reasons = []
        for attempt in range(RETRIES + 1):
            live = (await self.members.wait_for_any()).values()
            self.retried += attempt > 0
            with self.routes.acquire(live, request.question_id, request.max_tokens) as member:
                self.activity.begin(member.name)
                try:
                    return await member.generate(request)
                except MemberLost as error:
                    self.members.replace(member, error.reason)
                    reasons.append(str(error))
                finally:
                    self.activity.end(member.name)
        raise GenerationFailed(f"completion {request.name} lost its generator {len(reasons)} times: {reasons}")

    def sample_in_order(self, requests: Sequence[SampleRequest], seed: int) -> list[asyncio.Future[Completion]]:
        """The completions of ``requests`` to come, in this order; the same for the same weights, requests and seed.

        The place of a question among the questions of ``requests`` decides which engine samples it. An engine that dies
        is waited for, and samples its share anew: the same again. Submit nothing else until the last has finished.
        A completion raises as that of ``generate`` does.
        """
        loop = asyncio.get_running_loop()
        completions: list[asyncio.Future[Completion]] = [loop.create_future() for _ in requests]
        for index, places in enumerate(places_by_question(requests, len(self.members.names))):
            share = [(requests[place], completions[place]) for place in places]
            task = loop.create_task(self._sample_share(index, share, seed))
            self.shares.add(task)
            task.add_done_callback(self.shares.discard)
            task.add_done_callback(partial(_pass_on_error, share))
            for _, completion in share:
                completion.add_done_callback(partial(_end_if_unwanted, share, task))
        return completions

    async def _sample_share(self, index: int, share: Share, seed: int) -> None:
        """What one engine samples of an ordered batch."""
        if not share:
            return
        engine_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
        reasons = []
        requests = [request for request, _ in share]
        for attempt in range(RETRIES + 1):
            member = await self.members.wait_for(self.members.names[index])
            self.retried += len(share) if attempt > 0 else 0
            self.activity.begin(member.name)
            try:
                async for place, completion in member.sample_in_order(requests, engine_seed):
                    future = share[place][1]
                    if not future.done():
                        future.set_result(completion)
                return
            except MemberLost as error:
                self.members.replace(member, error.reason)
                reasons.append(str(error))
            finally:
                self.activity.end(member.name)
        missing = ", ".join(request.name for request, future in share if not future.done())
        raise GenerationFailed(f"completions {missing} lost their generator {len(reasons)} times: {reasons}")


def _end_if_unwanted(share: Share, task: asyncio.Task[None], completion: asyncio.Future[Completion]) -> None:
    """The engine stops when the last completion that somebody waited for is cancelled."""
    if completion.cancelled() and all(one.done() for _, one in share):
        task.cancel()


def _pass_on_error(share: Share, task: asyncio.Future[None]) -> None:
    """Where its completions are awaited: what ended ``task``; a cancelled one cancels them."""
    error = None if task.cancelled() else task.exception()
    for _, completion in share:
        if error is not None and not completion.done():
            completion.set_exception(error)
        else:
            completion.cancel()  # without effect where it is there


def places_by_question(requests: Sequence[SampleRequest], count: int) -> list[list[int]]:
    """Which requests each of ``count`` engines gets: all of a question the same one, questions dealt out in turn."""
    dealt: dict[str, int] = {}
    places: list[list[int]] = [[] for _ in range(count)]
    for place, request in enumerate(requests):
        places[dealt.setdefault(request.question_id, len(dealt)) % count].append(place)
    return places


def in_order(
    generators: GeneratorPool, requests: Sequence[SampleRequest], seed: int | None, draw: Sequence[int]
) -> list[Awaitable[Completion]]:
    """Each request's completion; with a ``seed`` as deterministic mode asks, numbers drawn as (seed, draw) say."""
    if seed is None:
        return [generators.generate(request) for request in requests]
    of_call = int(np.random.SeedSequence([seed, *draw]).generate_state(1)[0])
    return [*generators.sample_in_order(requests, of_call)]
