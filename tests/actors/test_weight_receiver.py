"""Where a receiver's tensors lie, and when their bucket goes back, without any transport."""

from __future__ import annotations

import numpy as np
import torch

from actors.weight_buckets import Header, Model, bucket_bytes, make_header, plan_buckets
from actors.weight_links import Endpoint
from actors.weight_receiver import Connection, WeightReceiver

MODEL = Model(tuple("abcdefgh"), ((10,),) * 7 + ((60,),), torch.float32)
CAPACITY = 100  # two tensors to a bucket; the last is cut into three


class Buckets:
    """A link that has all buckets, each in a buffer of its own."""

    def __init__(self, version: int = 1) -> None:
        self.plan = plan_buckets(MODEL.sizes, CAPACITY)
        self.buffers = [np.full(CAPACITY, index, np.uint8) for index in range(len(self.plan))]
        self.version, self.given, self.released = version, 0, []

    def begin(self, lengths: list[int]) -> None:
        assert lengths == [bucket_bytes(bucket) for bucket in self.plan]

    def receive(self, ends: float) -> tuple[Header, np.ndarray, int]:
        slot = self.given
        self.given += 1
        array = self.buffers[slot][: bucket_bytes(self.plan[slot])]
        return make_header(self.version, slot, torch.from_numpy(array), True), array, slot

    def release(self, slot: int) -> None:
        self.released.append(slot)

    def holds(self, tensor: torch.Tensor) -> bool:
        return any(np.shares_memory(tensor.numpy(), buffer) for buffer in self.buffers)


def receiver_over(link: Buckets) -> WeightReceiver:
    endpoint = Endpoint("shared_memory", "nowhere", 0)
    return WeightReceiver(Connection(endpoint, "r", "localhost", MODEL, CAPACITY, 5.0, False), link)


def test_tensors_lie_in_their_buckets_but_the_first_after_one_that_is_still_held():
    """The loader's loop still has a bucket's last tensor when it asks for the first of the next."""
    link = Buckets()
    receiver = receiver_over(link)
    found = {}
    for name, tensor in receiver.tensors(1):
        found[name] = link.holds(tensor)
    del tensor
    receiver.finish()
    assert found == {"a": True, "b": True, "c": False, "d": True, "e": False, "f": True, "g": False, "h": False}
    assert link.released == list(range(len(link.plan)))


def test_a_loader_that_keeps_tensors_holds_one_bucket_at_most():
    link = Buckets()
    receiver = receiver_over(link)
    everything = dict(receiver.tensors(1))
    assert link.released == list(range(1, len(link.plan)))
    assert [name for name, tensor in everything.items() if link.holds(tensor)] == ["a", "b"]
    everything.clear()
    receiver.finish()
    assert link.released[-1] == 0


def test_a_view_of_a_tensor_keeps_the_bucket_too():
    link = Buckets()
    receiver = receiver_over(link)
    tensors = receiver.tensors(1)
    part = next(tensors)[1].view(torch.uint8)[4:8]
    for _ in tensors:
        pass
    assert 0 not in link.released
    assert part.tolist() == [0, 0, 0, 0]
    del part
    receiver.finish()
    assert 0 in link.released


def test_a_connection_survives_the_way_to_the_worker():
    connection = receiver_over(Buckets()).connection
    assert Connection.from_plain(connection.to_plain()) == connection
