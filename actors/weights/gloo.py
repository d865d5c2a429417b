"""Transport of buckets over gloo, across nodes.

Each receiver has its own process group of two with the sender, so that a slow receiver cannot block another. The groups
initialize at a TCP store that the sender serves. A bucket is two messages, its header and its bytes. The receiver posts
the receive of the next bucket before it reads the current one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Work

from actors.weights.layout import HEADER_BYTES, Header
from actors.weights.links import BUFFER_COUNT, MIN_WAIT_S, Endpoint, LinkError

Group: Any = dist.ProcessGroupGloo
"""Untyped, because PyTorch's stub is missing send, recv and the constructor's options."""
SENDER = 0
RECEIVER = 1
POLL_S = 0.005
JOINING = "joining/"
"""Prefix of the key in the store that a receiver sets before it joins its group."""
DROPPED = "dropped/"
"""Prefix of the key in the store that tells the sender that a receiver will not join."""


def _time_left(deadline: float) -> timedelta:
    return timedelta(seconds=max(deadline - time.monotonic(), MIN_WAIT_S))


def _join_group(store: dist.Store, receiver: str, *, rank: int, host: str, deadline: float) -> Any:
    """Join the process group of ``receiver`` and the sender. Raises RuntimeError if the other end does not join."""
    options = Group._Options()
    options._devices = [Group.create_device(hostname=host)]
    options._timeout = _time_left(deadline)
    store = dist.PrefixStore(receiver, store)
    store.set_timeout(_time_left(deadline))
    return Group(store, rank, 2, options)


def _allocate_buffers(capacity: int) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(capacity, dtype=torch.uint8) for _ in range(BUFFER_COUNT))


class GlooSendBuffers:
    """Sender's buffers, and the TCP store at which receivers connect."""

    def __init__(self, capacity: int, host: str) -> None:
        self.buffers = _allocate_buffers(capacity)
        self.host = host
        self.store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)
        self.endpoint = Endpoint("gloo", host, self.store.port)

    def open_link(self, receiver: str, deadline: float) -> GlooSender:
        try:
            self._wait_until_joining(receiver, deadline)
            group = _join_group(self.store, receiver, rank=SENDER, host=self.host, deadline=deadline)
        except RuntimeError as error:
            raise LinkError(f"did not join the process group: {_first_line(error)}") from error
        return GlooSender(group, self.buffers)

    def _wait_until_joining(self, receiver: str, deadline: float) -> None:
        """Wait until the receiver joins its group. Raises LinkError at the deadline, or if the receiver was dropped."""
        while not self.store.check([JOINING + receiver]):
            if self.store.check([DROPPED + receiver]):
                raise LinkError("failed before it received anything")
            if time.monotonic() > deadline:
                raise LinkError("did not join the process group before the deadline")
            time.sleep(POLL_S)

    def drop(self, receiver: str) -> None:
        self.store.set(DROPPED + receiver, "")

    def close(self) -> None:
        del self.store


class GlooSender:
    """Sender's end of the link to one receiver."""

    def __init__(self, group: Any, buffers: tuple[Tensor, ...]) -> None:
        self.group = group
        self.buffers = buffers
        self.in_transit: dict[int, tuple[Work, Work, Tensor]] = {}  # by slot: sends of header and bytes, packed header

    def reserve(self, slot: int, deadline: float) -> None:
        if slot not in self.in_transit:
            return
        header, payload, _ = self.in_transit.pop(slot)
        try:
            header.wait(_time_left(deadline))
            payload.wait(_time_left(deadline))
        except RuntimeError as error:
            raise LinkError(f"did not accept a bucket: {_first_line(error)}") from error

    def send(self, header: Header, slot: int, deadline: float) -> None:
        packed = torch.frombuffer(bytearray(header.pack()), dtype=torch.uint8)
        try:
            header_work = self.group.send([packed], RECEIVER, 0)
            payload_work = self.group.send([self.buffers[slot][: header.length]], RECEIVER, 1)
        except RuntimeError as error:
            raise LinkError(f"did not accept a bucket: {_first_line(error)}") from error
        self.in_transit[slot] = header_work, payload_work, packed

    def close(self) -> None:
        # The connections close when the group is freed, that is, when the last reference to it is dropped.
        self.in_transit.clear()
        self.group = None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _PendingBucket:
    """Bucket whose receive was posted. ``works`` are the receives of header and bytes."""

    slot: int
    length: int
    header: Tensor
    works: tuple[Work, Work]


class GlooReceiver:
    """Receiver's end of the link. ``host`` is this node's address, ``capacity`` the bytes of a bucket."""

    def __init__(self, endpoint: Endpoint, receiver: str, host: str, capacity: int, deadline: float) -> None:
        self.receiver = receiver
        self.host = host
        self.buffers = _allocate_buffers(capacity)
        self.free_slots = list(range(BUFFER_COUNT))
        self.pending: _PendingBucket | None = None
        self.group: Any = None
        try:
            self.store = dist.TCPStore(endpoint.address, endpoint.port, is_master=False, timeout=_time_left(deadline))
        except RuntimeError as error:
            raise LinkError(f"cannot reach the weight sender at {endpoint.address}:{endpoint.port}: {error}") from error

    def begin(self, lengths: Sequence[int]) -> None:
        self.lengths = list(reversed(lengths))  # the next length is popped from the end

    def receive(self, deadline: float) -> tuple[Header, np.ndarray, int]:
        try:
            if self.group is None:
                self.store.set(JOINING + self.receiver, "")
                self.group = _join_group(self.store, self.receiver, rank=RECEIVER, host=self.host, deadline=deadline)
            self._post_receive(self.group)
            bucket = self.pending
            self.pending = None
            assert bucket is not None  # the caller holds at most one of the slots, so there was a free one
            for work in bucket.works:
                work.wait(_time_left(deadline))
            self._post_receive(self.group)
        except RuntimeError as error:
            raise LinkError(f"no bucket arrived from the weight sender: {_first_line(error)}") from error
        # A new array object, which lives exactly as long as a tensor that uses it.
        payload = self.buffers[bucket.slot].numpy()[: bucket.length]
        return Header.unpack(bucket.header.numpy().tobytes()), payload, bucket.slot

    def _post_receive(self, group: Any) -> None:
        """Post the receive of the next bucket, unless one is posted or no slot is free."""
        if self.pending is not None or not self.lengths or not self.free_slots:
            return
        slot = self.free_slots.pop()
        length = self.lengths.pop()
        header = torch.zeros(HEADER_BYTES, dtype=torch.uint8)
        works = group.recv([header], SENDER, 0), group.recv([self.buffers[slot][:length]], SENDER, 1)
        self.pending = _PendingBucket(slot=slot, length=length, header=header, works=works)

    def release(self, slot: int) -> None:
        self.free_slots.append(slot)

    def close(self) -> None:
        self.pending = None
        self.group = None


def _first_line(error: RuntimeError) -> str:
    return str(error).splitlines()[0]
