"""The NCCL sender, with fakes in place of CUDA and of vLLM's broadcast: order of its steps and groups of receivers."""

import contextlib
import sys
from types import ModuleType, SimpleNamespace

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
    """NCCL group that records what happens to it in ``events``."""

    def __init__(self, events, rendezvous):
        self.events = events
        self.name = f"group of {rendezvous['world_size']}"
        events.append(f"{self.name} created")

    def broadcast(self, tensor, src):
        self.events.append(f"{self.name} got {tensor.dtype} {tensor.numel()}")

    def destroy(self):
        self.events.append(f"{self.name} destroyed")


@pytest.fixture
def events(monkeypatch):
    """Replace CUDA's streams and vLLM's broadcast by fakes; return the list of what they do."""
    events: list[str] = []

    def broadcast(iterator, group, src, post_iter_func, buffer_size_bytes):
        events.append("broadcast")
        for item in iterator:
            group.broadcast(post_iter_func(item), src=src)

    @contextlib.contextmanager
    def use_stream(stream):
        events.append("own stream")
        yield

    packed = SimpleNamespace(packed_nccl_broadcast_producer=broadcast)
    common = SimpleNamespace(trainer_init=lambda rendezvous: FakeGroup(events, rendezvous))
    folder = "vllm.distributed.weight_transfer"
    for name in ("vllm", "vllm.distributed", folder):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, f"{folder}.packed_tensor", packed)
    monkeypatch.setitem(sys.modules, f"{folder}.nccl_common", common)
    stream = SimpleNamespace(synchronize=lambda: events.append("waited for the optimizer"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "stream", use_stream)
    return events


def send(sender, recipients, connected):
    tensors = iter([("a", torch.zeros(2)), ("b", torch.zeros(3))])
    return sender.send(tensors, 1, recipients, connected)


def test_sender_waits_for_the_optimizer_before_it_reads_parameters(events):
    send(NcclSender(LAYOUT, SETTINGS, "host"), [FIRST], [FIRST])
    assert events == [
        "waited for the optimizer",
        "own stream",
        "group of 2 created",
        "broadcast",
        "group of 2 got torch.bfloat16 2",
        "group of 2 got torch.bfloat16 3",
    ]


def test_groups_are_kept_until_their_receivers_are_disconnected(events):
    sender = NcclSender(LAYOUT, SETTINGS, "host")
    assert send(sender, [FIRST, SECOND], [FIRST, SECOND]).bytes == 10
    events.clear()
    send(sender, [SECOND], [SECOND])
    assert "group of 2 destroyed" in events
    assert not any("created" in event for event in events)
    sender.close()
    assert events[-1] == "group of 3 destroyed"
