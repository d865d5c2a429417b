"""Sender and receivers over each transport, in processes of their own: what arrives, and what a failure does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch

from actors.weights.links import Backend
from actors.weights.sender import WeightSender
from tests.actors.weights.fake_receivers import Receiver, connection_of, receiver_group_of, sender_of, tensors_of

# A test that waited for a deadline of PATIENT seconds would be ended by its own limit first.
PATIENT = 600.0
IMPATIENT = 5.0
# Of a receiver that closes its link while a bucket is under way, a sender over gloo may learn at its deadline only.
CLOSING = 20.0
pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]


@dataclass
class Setting:
    """A sender and its receivers."""

    sender: WeightSender
    deadline_s: float
    receivers: dict[str, Receiver] = field(default_factory=dict)

    def join(self, name: str) -> Receiver:
        endpoint = self.sender.send_buffers.endpoint
        self.receivers[name] = Receiver(connection_of(endpoint, name, self.deadline_s))
        return self.receivers[name]

    def send(self, version: int, *names: str, connected: tuple[str, ...] | None = None):
        endpoint = self.sender.send_buffers.endpoint
        everybody = [receiver_group_of(endpoint, name) for name in (connected or names)]
        to = [receiver_group_of(endpoint, name) for name in names]
        return self.sender.send(iter(tensors_of(version)), version, to, everybody)


@pytest.fixture(params=["shared_memory", "gloo"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def setting(backend: Backend) -> Iterator[Setting]:
    yield from started(backend, PATIENT)


@pytest.fixture
def closing(backend: Backend) -> Iterator[Setting]:
    yield from started(backend, CLOSING)


@pytest.fixture
def impatient(backend: Backend) -> Iterator[Setting]:
    yield from started(backend, IMPATIENT)


def started(backend: Backend, deadline_s: float) -> Iterator[Setting]:
    found = Setting(sender_of(backend, deadline_s), deadline_s)
    yield found
    for receiver in found.receivers.values():
        receiver.end()
    found.sender.close()


def assert_is(received, version):
    expected = tensors_of(version)
    assert not isinstance(received, str), received
    assert [name for name, _ in received] == [name for name, _ in expected]
    for (_, found), (_, wanted) in zip(received, expected, strict=True):
        assert torch.equal(found, wanted)


def test_two_receivers_get_every_tensor_again_and_again(setting):
    """Also one that keeps tensors until others have come, for more publications than there are buffers."""
    first = setting.join("a")
    second = setting.join("b")
    for version in range(5):
        first.tell("load", version)
        second.tell("load, keeping layers", version)
        assert setting.send(version, "a", "b").failed == {}
        assert_is(first.answer(), version)
        assert_is(second.answer(), version)


def test_one_who_joins_later_is_sent_to_alone(setting):
    first = setting.join("a")
    first.tell("load", 1)
    assert setting.send(1, "a").failed == {}
    assert_is(first.answer(), 1)
    second = setting.join("b")
    second.tell("load", 1)
    assert setting.send(1, "b", connected=("a", "b")).failed == {}
    assert_is(second.answer(), 1)
    for receiver in (first, second):
        receiver.tell("load", 2)
    assert setting.send(2, "a", "b").failed == {}
    assert_is(first.answer(), 2)
    assert_is(second.answer(), 2)


@pytest.mark.faults
def test_one_who_dies_in_the_middle_is_dropped_at_once(setting, backend):
    first = setting.join("a")
    second = setting.join("b")
    first.tell("load", 1)
    second.tell("die in the middle", 1)
    failed = setting.send(1, "a", "b").failed.keys()
    # gloo hands what is left of a small model to the network before it notices.
    assert failed == {"b"} or (backend == "gloo" and not failed)
    assert_is(first.answer(), 1)
    second.process.join()
    first.tell("load", 2)
    assert setting.send(2, *{"a", "b"} - failed).failed.keys() == {"b"} - failed
    assert_is(first.answer(), 2)


@pytest.mark.faults
def test_one_who_hangs_is_dropped_at_the_deadline_and_can_come_back(impatient):
    first = impatient.join("a")
    second = impatient.join("b")
    first.tell("load", 1)
    second.tell("hang")
    sent = impatient.send(1, "a", "b")
    assert sent.failed.keys() == {"b"}
    assert sent.seconds > 0.9 * IMPATIENT
    assert_is(first.answer(), 1)
    second.kill()
    again = impatient.join("b again")
    again.tell("load", 1)
    assert impatient.send(1, "b again", connected=("a", "b again")).failed == {}
    assert_is(again.answer(), 1)


@pytest.mark.faults
def test_another_version_than_the_announced_one_is_refused(closing):
    receiver = closing.join("a")
    receiver.tell("load", 8)
    closing.send(7, "a")
    assert "of weights version 7" in receiver.answer()


@pytest.mark.faults
def test_a_byte_changed_under_way_is_seen(closing, monkeypatch):
    from actors.weights import sender as weight_sender

    whole = weight_sender.make_header

    def then_change(version, index, payload, checksum):
        header = whole(version, index, payload, checksum)
        if index == 2:
            payload[100] ^= 1
        return header

    monkeypatch.setattr(weight_sender, "make_header", then_change)
    receiver = closing.join("a")
    receiver.tell("load", 1)
    closing.send(1, "a")
    assert "bucket 2 of weights version 1: its bytes are not those" in receiver.answer()


@pytest.mark.faults
def test_a_receiver_notices_that_the_sender_is_gone(setting):
    receiver = setting.join("a")
    receiver.tell("load", 1)
    setting.send(1, "a")
    assert_is(receiver.answer(), 1)
    receiver.tell("load", 2)
    time.sleep(0.2)
    for link in setting.sender.links.values():
        link.close()
    assert receiver.answer(timeout=30).startswith("LinkError")


def test_all_tensors_are_used_up_for_nobody(setting):
    """The learner's other ranks gather with the first: it must not stop early."""
    used = iter(tensors_of(1))
    setting.sender.send(used, 1, [], [])
    assert list(used) == []


def test_another_model_than_the_announced_one_is_refused(setting):
    with pytest.raises(ValueError, match="parameter tensor 1"):
        setting.sender.send(iter(tensors_of(1)[1:]), 1, [], [])
