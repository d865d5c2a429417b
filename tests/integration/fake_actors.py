"""Fake actors of the integration tests.

They are apart from the tests because a Ray worker imports the module of its actor's class, and that of a test imports
torch, transformers and the whole training: ten CPU seconds for each worker.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence

import ray

from actors.generators.actor import EngineFailed, SampleRequest
from actors.weights.receiver import Connection, WeightReceiver, open_link
from learner.rollout import Completion
from tests.completions import make_completion


class RaisingActor:
    """Actor whose method ``fail`` raises the given error."""

    def fail(self, error):
        raise error


class FakeGeneratorActor:
    """Generator actor without an engine.

    It never answers question "held", and fails for question "dead" as if its engine had died.

    Attributes:
        held: number of unanswered calls for question "held".
        changed: notified after each change of ``held``.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.held = 0

    async def generate(self, request: SampleRequest) -> Completion:
        if request.question_id == "dead":
            raise EngineFailed("its engine died")
        if request.question_id == "held":
            await self._change_held(1)
            try:
                await asyncio.Event().wait()
            finally:
                await self._change_held(-1)
        return make_completion(question_id=request.question_id)

    async def sample_in_order(
        self, requests: Sequence[SampleRequest], seed: int
    ) -> AsyncIterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            yield index, await self.generate(request)

    async def wait_until_held(self, count: int) -> int:
        """Wait until ``count`` calls are held; return the actor's process id."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.held == count)
        return os.getpid()

    async def _change_held(self, change: int) -> None:
        async with self.changed:
            self.held += change
            self.changed.notify_all()


class FakeWeightReceiver:
    """Generator without an engine, with one of these behaviours when it loads weights.

    Behaviours: "load", "hang", "die" (exit after the first tensor), "die at once" and "raise at once" (before it
    receives anything), "raise" (after the first tensor), "wrong version" (report another version than it loaded),
    "wrong digest" (report another digest of a tensor).
    """

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour

    def locate(self) -> tuple[str, str]:
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def connect_weights(self, connection: Connection) -> list[str]:
        self.receiver = WeightReceiver(connection, open_link(connection))
        return [connection.receiver]

    def load_weights(self, version: int) -> int:
        if self.behaviour == "die at once":
            os._exit(1)
        if self.behaviour == "raise at once":
            raise RuntimeError("no room for the weights")
        tensors = self.receiver.receive_tensors(version)
        next(tensors)
        if self.behaviour == "raise":
            raise RuntimeError("no room for the weights")
        if self.behaviour == "hang":
            time.sleep(3600)
        if self.behaviour == "die":
            os._exit(1)
        for _ in tensors:
            pass
        return version + 1 if self.behaviour == "wrong version" else version

    def disconnect_weights(self) -> None:
        self.receiver.close()

    def weight_digests(self) -> list[dict[str, str]]:
        digests = self.receiver.digests
        return [digests | {"model.norm.weight": "0"} if self.behaviour == "wrong digest" else digests]
