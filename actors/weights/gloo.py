"""Buckets through gloo, across nodes: a process group of two for each receiver, so that none can hold up another.

The groups meet at a store that the sender serves. Each bucket is two messages, its header and its bytes; the receiver
has asked for the next bucket before it reads the present one.
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
from actors.weights.links import LEAST_WAIT_S, SLOTS, Endpoint, LinkError

Group: Any = dist.ProcessGroupGloo
"""Without types: the stub lacks send, recv and the options of its constructor."""
SENDER = 0
RECEIVER = 1


def _left(ends: float) -> timedelta:
    return timedelta(seconds=max(ends - time.monotonic(), LEAST_WAIT_S))


def _join(store: dist.Store, receiver: str, rank: int, host: str, ends: float) -> Any:
    """The group of ``receiver`` and its sender. Raises RuntimeError when the other does not come."""
    options = Group._Options()
    options._devices = [Group.create_device(hostname=host)]
    options._timeout = _left(ends)
    store = dist.PrefixStore(receiver, store)
    store.set_timeout(_left(ends))
    return Group(store, rank, 2, options)


def _buffers(capacity: int) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(capacity, dtype=torch.uint8) for _ in range(SLOTS))


class GlooSendBuffers:
    """The sender's buffers, and the store at which receivers connect."""

    def __init__(self, capacity: int, host: str) -> None:
        self.buffers = _buffers(capacity)
        self.host = host
        self.store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)
        self.endpoint = Endpoint("gloo", host, self.store.port)

    def link(self, receiver: str, ends: float) -> GlooSender:
        try:
            return GlooSender(_join(self.store, receiver, SENDER, self.host, ends), self.buffers)
        except RuntimeError as error:
            raise LinkError(f"did not join the group: {_first_line(error)}") from error

    def close(self) -> None:
        del self.store


class GlooSender:
    """The sender's end of the link to one receiver."""

    def __init__(self, group: Any, buffers: tuple[Tensor, ...]) -> None:
        self.group = group
        self.buffers = buffers
        self.under_way: dict[int, tuple[Work, Work, Tensor]] = {}

    def reserve(self, slot: int, ends: float) -> None:
        if slot not in self.under_way:
            return
        header, payload, _ = self.under_way.pop(slot)
        try:
            header.wait(_left(ends))
            payload.wait(_left(ends))
        except RuntimeError as error:
            raise LinkError(f"did not take a bucket: {_first_line(error)}") from error

    def send(self, header: Header, slot: int, ends: float) -> None:
        packed = torch.frombuffer(bytearray(header.pack()), dtype=torch.uint8)
        try:
            first = self.group.send([packed], RECEIVER, 0)
            second = self.group.send([self.buffers[slot][: header.length]], RECEIVER, 1)
        except RuntimeError as error:
            raise LinkError(f"did not take a bucket: {_first_line(error)}") from error
        self.under_way[slot] = first, second, packed

    def close(self) -> None:
        # Its connections end with the group, and the group with the last that refers to it.
        self.under_way.clear()
        self.group = None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Expected:
    """A bucket that was asked for."""

    slot: int
    length: int
    header: Tensor
    works: tuple[Work, Work]


class GlooReceiver:
    """The receiver's end; ``host``: this node's address."""

    def __init__(self, endpoint: Endpoint, receiver: str, host: str, capacity: int, ends: float) -> None:
        self.receiver = receiver
        self.host = host
        self.buffers = _buffers(capacity)
        self.free = list(range(SLOTS))
        self.expected: _Expected | None = None
        self.group: Any = None
        try:
            self.store = dist.TCPStore(endpoint.address, endpoint.port, is_master=False, timeout=_left(ends))
        except RuntimeError as error:
            raise LinkError(f"no sender of weights at {endpoint.address}:{endpoint.port}: {error}") from error

    def begin(self, lengths: Sequence[int]) -> None:
        self.lengths = list(reversed(lengths))

    def receive(self, ends: float) -> tuple[Header, np.ndarray, int]:
        try:
            if self.group is None:
                self.group = _join(self.store, self.receiver, RECEIVER, self.host, ends)
            self._expect(self.group)
            found, self.expected = self.expected, None
            assert found is not None  # one slot at most is kept, one is expected: there was a free one
            for work in found.works:
                work.wait(_left(ends))
            self._expect(self.group)
        except RuntimeError as error:
            raise LinkError(f"no bucket came: {_first_line(error)}") from error
        # An array of its own, which lives exactly as long as a tensor over it.
        payload = self.buffers[found.slot].numpy()[: found.length]
        return Header.unpack(found.header.numpy().tobytes()), payload, found.slot

    def _expect(self, group: Any) -> None:
        if self.expected is not None or not self.lengths or not self.free:
            return
        slot = self.free.pop()
        length = self.lengths.pop()
        header = torch.zeros(HEADER_BYTES, dtype=torch.uint8)
        works = group.recv([header], SENDER, 0), group.recv([self.buffers[slot][:length]], SENDER, 1)
        self.expected = _Expected(slot=slot, length=length, header=header, works=works)

    def release(self, slot: int) -> None:
        self.free.append(slot)

    def close(self) -> None:
        self.expected = None
        self.group = None


def _first_line(error: RuntimeError) -> str:
    return str(error).splitlines()[0]
