"""Weight transfer from a learner to fake generators: failed generators are dropped and can reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.learner_group import LearnerGroup
from actors.lifecycle import stop_all
from actors.weights.transfer import TransferSettings, WeightTransfer, WeightTransferError, open_transfer
from learner.rollout import TrainBatch, TrainSequence
from tests.integration.fake_actors import FakeWeightReceiver
from tests.tiny_learner import make_learner_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
DEADLINE_S = 20.0


def start_fake_generator(behaviour: str) -> Any:
    """Start a fake generator and wait until its process runs, which may take longer than the transfer's deadline."""
    actor: Any = ray.remote(FakeWeightReceiver).options(num_cpus=0, max_concurrency=4).remote(behaviour)
    ray.get(actor.locate.remote(), timeout=300)
    return actor


@dataclass
class TransferHarness:
    """Transfer between two learner ranks and "sound", a generator that always loads.

    Attributes:
        version: weight version published last.
    """

    learner: LearnerGroup
    transfer: WeightTransfer
    version: int = 0

    def publish(self, to: list[str] | None = None, again: bool = False) -> dict[str, str]:
        """Publish the learner's weights; return the reason for each dropped generator, by name.

        Args:
            to: names of the generators; None for all.
            again: publish the current version again instead of the next one.
        """
        self.version += not again
        return dict(asyncio.run(self.transfer.publish(self.version, to)).dropped)

    def connect(self, name: str, behaviour: str) -> Any:
        """Start a fake generator and connect it to the transfer."""
        actor = start_fake_generator(behaviour)
        asyncio.run(self.transfer.connect({name: actor}))
        return actor

    def train(self) -> None:
        """Update the learner, so that its weights change."""
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
    group = LearnerGroup(["DEFAULT"] * 2, 0.5, 1, make_learner_settings(checkpoints["tied"]))
    asyncio.run(group.start(600.0, None))
    yield group
    stop_all(group.actors)


@pytest.fixture(scope="module", params=["shared_memory", "gloo"])
def harness(request: pytest.FixtureRequest, learner: LearnerGroup) -> Iterator[TransferHarness]:
    settings = TransferSettings(dtype="float32", bucket_mb=1, checksum=True, deadline_s=DEADLINE_S, compare=True)
    sound = {"sound": start_fake_generator("load")}
    transfer = asyncio.run(open_transfer(learner.actors, sound, request.param, ("cpu", "cpu"), settings))
    yield TransferHarness(learner, transfer)
    transfer.close()


def test_every_tensor_of_two_ranks_arrives_in_every_publication(harness: TransferHarness) -> None:
    """``publish`` compares the digests of all tensors."""
    for _ in range(3):
        assert harness.publish() == {}
        harness.train()
    before = asyncio.run(_read_digests(harness))
    assert harness.publish() == {}
    after = asyncio.run(_read_digests(harness))
    assert before.keys() == after.keys()
    assert before != after


@pytest.mark.faults
@pytest.mark.parametrize("behaviour", ["hang", "die"])
def test_failed_generator_is_dropped_and_reconnects_at_the_current_version(
    harness: TransferHarness, behaviour: str
) -> None:
    failing = harness.connect("failing", behaviour)
    assert harness.publish().keys() == {"failing"}
    assert harness.publish() == {}  # the dropped generator is ignored
    ray.kill(failing)

    replacement = harness.connect("failing", "load")
    assert harness.publish(to=["failing"], again=True) == {}
    assert harness.publish() == {}
    asyncio.run(harness.transfer.disconnect("failing"))
    ray.kill(replacement)


def reopen_sender(harness: TransferHarness) -> None:
    """Open the sender again, with the settings that the transfer has now."""
    ray.get(harness.learner.actors[0].close_weights.remote(), timeout=60)
    asyncio.run(harness.transfer.connect({"sound": harness.transfer.generators["sound"]}))


@pytest.mark.faults
@pytest.mark.parametrize("behaviour", ["raise at once", "raise", "die at once"])
def test_generator_that_fails_inside_a_publication_does_not_hold_it_up(
    harness: TransferHarness, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    """A rank that waited for the failed generator would hang this test: its deadline is longer than any test."""
    monkeypatch.setattr(harness.transfer, "settings", replace(harness.transfer.settings, deadline_s=3600.0))
    reopen_sender(harness)
    failing = harness.connect("failing", behaviour)
    dropped = harness.publish()
    assert dropped.keys() == {"failing"}
    expected = "ActorDiedError" if behaviour == "die at once" else "no room for the weights"
    assert expected in dropped["failing"]
    assert harness.publish() == {}
    ray.kill(failing)
    monkeypatch.undo()
    reopen_sender(harness)


@pytest.mark.faults
def test_publishing_an_outdated_version_again_raises(harness: TransferHarness) -> None:
    harness.publish()
    harness.train()
    with pytest.raises(ValueError, match="the learner has been updated since"):
        harness.publish(again=True)
    assert harness.publish() == {}


@pytest.mark.faults
def test_generator_that_reports_another_version_is_dropped(harness: TransferHarness) -> None:
    mistaken = harness.connect("mistaken", "wrong version")
    assert harness.publish() == {"mistaken": f"it serves version {harness.version + 1}"}
    ray.kill(mistaken)


@pytest.mark.faults
def test_generator_with_a_differing_tensor_is_dropped(harness: TransferHarness) -> None:
    corrupted = harness.connect("corrupted", "wrong digest")
    assert harness.publish() == {"corrupted": "1 tensors differ from the learner's, among them model.norm.weight"}
    ray.kill(corrupted)


@pytest.mark.faults
def test_generator_that_cannot_connect_is_named_in_the_error(harness: TransferHarness) -> None:
    dead = start_fake_generator("load")
    ray.kill(dead)
    with pytest.raises(WeightTransferError, match="dead generator"):
        asyncio.run(harness.transfer.connect({"dead generator": dead}))
    with pytest.raises(WeightTransferError, match="not connected: dead generator"):
        harness.publish(to=["dead generator"])
    assert harness.publish() == {}


@pytest.mark.faults
def test_publication_that_no_generator_loads_raises(harness: TransferHarness) -> None:
    alone = harness.connect("alone", "die")
    with pytest.raises(WeightTransferError, match="no generator serves weights version"):
        harness.publish(to=["alone"])
    ray.kill(alone)


async def _read_digests(harness: TransferHarness) -> dict[str, str]:
    (digests,) = await harness.transfer.generators["sound"].weight_digests.remote()
    return digests
