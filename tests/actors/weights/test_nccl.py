"""The NCCL sender, with fakes in place of CUDA and of vLLM's broadcast: order of its steps and groups of receivers."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch

from actors.weights.layout import WeightLayout
from actors.weights.links import Endpoint, ReceiverGroup
from actors.weights.nccl import NcclSender
from actors.weights.sender import SenderSettings

LAYOUT = WeightLayout(("a", "b"), ((2,), (3,)), torch.bfloat16)
SETTINGS = SenderSettings(backend="nccl", dtype="bfloat16", bucket_bytes=64, checksum=False, deadline_s=5.0)
FIRST = ReceiverGroup(Endpoint("nccl", "host", 1), ("generator 0 #1/0",))
SECOND = ReceiverGroup(Endpoint("nccl", "host", 2), ("generator 1 #2/0", "generator 1 #2/1"))


class FakeGroup:
    """NCCL group that records what happens to it in ``events``; a broadcast to a receiver that failed never returns.

    Class attributes:
        events: what all groups did, in order.
        failed: ports of engines that fail while they receive, of which ``waiting`` is set then.
        absent: ports of engines that fail before they join, likewise.
        refused: ports at which no group can be created.
    """

    events: ClassVar[list[str]] = []
    failed: ClassVar[set[int]] = set()
    absent: ClassVar[set[int]] = set()
    refused: ClassVar[set[int]] = set()
    waiting = threading.Event()

    def __init__(self, rendezvous):
        self.port = rendezvous["master_port"]
        self.aborted = threading.Event()
        if self.port in self.refused:
            raise OSError("address already in use")
        if self.port in self.absent:
            self.waiting.set()
            self.aborted.wait(600)
        self.events.append(f"group {self.port} created for {rendezvous['world_size']}")

    def broadcast(self, tensor, src):
        assert not self.aborted.is_set(), "NCCL would crash: this group is being aborted"
        self.events.append(f"group {self.port} got {tensor.dtype} {tensor.numel()}")
        if self.port in self.failed:
            self.waiting.set()
            assert self.aborted.wait(600)

    def destroy(self):
        self.aborted.set()
        time.sleep(0.2)  # an abort takes a while, in which the sender goes on
        self.events.append(f"group {self.port} destroyed")


@pytest.fixture
def events(monkeypatch):
    """Replace CUDA's streams and vLLM's broadcast by fakes; return the list of what they do."""
    events = FakeGroup.events
    events.clear()
    FakeGroup.waiting.clear()

    def broadcast(iterator, group, src, post_iter_func, buffer_size_bytes):
        events.append("broadcast")
        for item in iterator:
            group.broadcast(post_iter_func(item), src=src)

    folder = "vllm.distributed.weight_transfer"
    for name in ("vllm", "vllm.distributed", folder):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    packed = SimpleNamespace(packed_nccl_broadcast_producer=broadcast)
    monkeypatch.setitem(sys.modules, f"{folder}.packed_tensor", packed)
    monkeypatch.setitem(sys.modules, f"{folder}.nccl_common", SimpleNamespace(trainer_init=FakeGroup))
    stream = SimpleNamespace(synchronize=lambda: events.append("waited for the optimizer"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    return events


def send(sender, recipients, connected):
    tensors = iter([("a", torch.zeros(2)), ("b", torch.zeros(3))])
    result = sender.send(tensors, 1, recipients, connected)
    assert list(tensors) == []
    return result


def test_sender_waits_for_the_optimizer_before_it_reads_parameters(events):
    assert send(NcclSender(LAYOUT, SETTINGS, "host"), [FIRST], [FIRST]).failed == {}
    assert events == [
        "waited for the optimizer",
        "group 1 created for 2",
        "broadcast",
        "group 1 got torch.bfloat16 2",
        "group 1 got torch.bfloat16 3",
    ]


def test_groups_are_kept_until_their_receivers_are_disconnected(events):
    sender = NcclSender(LAYOUT, SETTINGS, "host")
    assert send(sender, [FIRST, SECOND], [FIRST, SECOND]).bytes == 10
    events.clear()
    send(sender, [SECOND], [SECOND])
    assert "group 1 destroyed" in events
    assert not any("created" in event for event in events)
    sender.close()
    assert events[-1] == "group 2 destroyed"


@pytest.mark.faults
@pytest.mark.parametrize("where", ["failed", "absent"])
def test_receiver_that_fails_does_not_hold_up_the_others(events, monkeypatch, where):
    """Without ``drop``, the broadcast or the creation of the group would wait for longer than this test may take."""
    monkeypatch.setattr(FakeGroup, where, {1})
    sender = NcclSender(LAYOUT, SETTINGS, "host")
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, sender, [FIRST, SECOND], [FIRST, SECOND])
        assert FakeGroup.waiting.wait(60)
        sender.drop(FIRST.names)
        assert sending.result(60).failed.keys() == set(FIRST.names)
    assert [event for event in events if event.startswith("group 2")] == [
        "group 2 created for 3",
        "group 2 got torch.bfloat16 2",
        "group 2 got torch.bfloat16 3",
    ]


def test_group_that_cannot_be_created_fails_its_engine_only(events, monkeypatch):
    monkeypatch.setattr(FakeGroup, "refused", {1})
    result = send(NcclSender(LAYOUT, SETTINGS, "host"), [FIRST, SECOND], [FIRST, SECOND])
    assert result.failed == {"generator 0 #1/0": "no NCCL group with it: address already in use"}
    assert "group 2 got torch.bfloat16 3" in events
