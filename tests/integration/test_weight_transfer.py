"""A learner and stand-ins for generators: who fails is dropped, and comes back with the current version."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.learner_group import LearnerGroup
from actors.lifecycle import stop_all
from actors.weights.receiver import Connection, WeightReceiver, open_link
from actors.weights.transfer import TransferSettings, WeightTransfer, WeightTransferError, open_transfer
from learner.rollout import TrainBatch, TrainSequence
from tests.tiny_learner import learner_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
DEADLINE_S = 8.0


class StandIn:
    """A generator without an engine, which loads, hangs or dies when weights come, or says something false."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour

    def node(self) -> tuple[str, str]:
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def connect_weights(self, connection: Connection) -> list[str]:
        self.receiver = WeightReceiver(connection, open_link(connection))
        return [connection.receiver]

    def load_weights(self, version: int) -> int:
        tensors = self.receiver.tensors(version)
        next(tensors)
        if self.behaviour == "hang":
            time.sleep(3600)
        if self.behaviour == "die":
            os._exit(1)
        for _ in tensors:
            pass
        return version + 1 if self.behaviour == "lie" else version

    def disconnect_weights(self) -> None:
        self.receiver.close()

    def weight_digests(self) -> list[dict[str, str]]:
        digests = self.receiver.digests
        return [digests | {"model.norm.weight": "0"} if self.behaviour == "garble" else digests]


def start_stand_in(behaviour: str) -> Any:
    """Start one and wait until its process runs, which on a busy machine may take longer than the transfer may."""
    actor: Any = ray.remote(StandIn).options(num_cpus=0, max_concurrency=4).remote(behaviour)
    ray.get(actor.node.remote(), timeout=300)
    return actor


@dataclass
class Setting:
    """Two learner ranks and one generator that always loads."""

    learner: LearnerGroup
    transfer: WeightTransfer
    version: int = 0

    def publish(self, to: list[str] | None = None, again: bool = False) -> dict[str, str]:
        """Publish; returns the dropped generators, each with the reason."""
        self.version += not again
        return dict(asyncio.run(self.transfer.publish(self.version, to)).dropped)

    def connect(self, name: str, behaviour: str) -> Any:
        actor = start_stand_in(behaviour)
        asyncio.run(self.transfer.connect({name: actor}))
        return actor

    def train(self) -> None:
        tokens = np.arange(5, 17)
        logprobs = np.full(8, -7.0, np.float32)
        sequences = tuple(
            TrainSequence(
                token_ids=tokens, prompt_length=4, sampler_logprobs=logprobs, temperature=1.0, advantage=advantage
            )
            for advantage in (1.0, -0.5)
        )
        asyncio.run(self.learner.update(TrainBatch((sequences,)), 300.0))


@pytest.fixture(scope="module")
def learner(cluster: None, checkpoints: dict[str, Path]) -> Iterator[LearnerGroup]:
    group = LearnerGroup(["DEFAULT"] * 2, 0.5, 1, learner_settings(checkpoints["tied"]))
    asyncio.run(group.start(600.0, None))
    yield group
    stop_all(group.actors)


@pytest.fixture(scope="module", params=["shared_memory", "gloo"])
def setting(request: pytest.FixtureRequest, learner: LearnerGroup) -> Iterator[Setting]:
    settings = TransferSettings(dtype="float32", bucket_mb=1, checksum=True, deadline_s=DEADLINE_S, compare=True)
    sound = {"sound": start_stand_in("load")}
    transfer = asyncio.run(open_transfer(learner.actors, sound, request.param, ("cpu", "cpu"), settings))
    yield Setting(learner, transfer)
    transfer.close()


def test_every_tensor_of_two_ranks_arrives_version_after_version(setting: Setting) -> None:
    """Compared by digest in ``publish``."""
    for _ in range(3):
        assert setting.publish() == {}
        setting.train()
    before = asyncio.run(_digests(setting))
    assert setting.publish() == {}
    after = asyncio.run(_digests(setting))
    assert before.keys() == after.keys()
    assert before != after


@pytest.mark.faults
@pytest.mark.parametrize("behaviour", ["hang", "die"])
def test_who_fails_is_dropped_and_comes_back_with_the_current_version(setting: Setting, behaviour: str) -> None:
    failing = setting.connect("failing", behaviour)
    assert setting.publish().keys() == {"failing"}
    assert setting.publish() == {}  # it is not asked again
    ray.kill(failing)

    again = setting.connect("failing", "load")
    assert setting.publish(to=["failing"], again=True) == {}
    assert setting.publish() == {}
    asyncio.run(setting.transfer.disconnect("failing"))
    ray.kill(again)


@pytest.mark.faults
def test_a_version_that_the_learner_has_left_is_not_published_again(setting: Setting) -> None:
    setting.publish()
    setting.train()
    with pytest.raises(ValueError, match="the learner has been updated since"):
        setting.publish(again=True)
    assert setting.publish() == {}


@pytest.mark.faults
def test_an_echo_of_another_version_is_no_acknowledgement(setting: Setting) -> None:
    liar = setting.connect("liar", "lie")
    assert setting.publish() == {"liar": f"it serves version {setting.version + 1}"}
    ray.kill(liar)


@pytest.mark.faults
def test_a_tensor_unlike_the_learners_is_named(setting: Setting) -> None:
    garbling = setting.connect("garbling", "garble")
    assert setting.publish() == {"garbling": "1 tensors differ from the learner's, among them model.norm.weight"}
    ray.kill(garbling)


@pytest.mark.faults
def test_who_cannot_join_is_named(setting: Setting) -> None:
    dead = start_stand_in("load")
    ray.kill(dead)
    with pytest.raises(WeightTransferError, match="dead one"):
        asyncio.run(setting.transfer.connect({"dead one": dead}))
    with pytest.raises(WeightTransferError, match="not connected: dead one"):
        setting.publish(to=["dead one"])
    assert setting.publish() == {}


@pytest.mark.faults
def test_a_publication_that_nobody_takes_is_an_error(setting: Setting) -> None:
    alone = setting.connect("alone", "die")
    with pytest.raises(WeightTransferError, match="nobody serves weights version"):
        setting.publish(to=["alone"])
    ray.kill(alone)


async def _digests(setting: Setting) -> dict[str, str]:
    (digests,) = await setting.transfer.generators["sound"].weight_digests.remote()
    return digests
