"""The receiver of weights, in an engine's worker: whole tensors out of buckets, one at a time and in order."""

from __future__ import annotations

import itertools
import time
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actors.weights.gloo import GlooReceiver
from actors.weights.layout import WeightLayout, bucket_bytes, check_bucket, plan_buckets, tensor_digest
from actors.weights.links import Endpoint, ReceivingLink
from actors.weights.shared_memory import SharedMemoryReceiver
from actors.weights.spare_thread import read_ahead

AHEAD = 2
"""Buckets received ahead of the one whose tensors are loaded: the time until a sleeping sender runs is hidden."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """All that a receiver must know: whom it meets where, under which name, and what will come."""

    endpoint: Endpoint
    receiver: str
    host: str
    """Address of the receiver's node."""
    layout: WeightLayout
    capacity: int
    """Bytes of a bucket."""
    deadline_s: float
    """The sender gives up on a receiver after so many seconds, so a receiver waits a little longer."""
    compare: bool
    """Keep a digest of every tensor received."""

    def to_plain(self) -> dict[str, Any]:
        """As lists, numbers and strings: nothing else crosses vLLM's ``collective_rpc``."""
        plain = asdict(self)
        plain["layout"]["dtype"] = str(self.layout.dtype).removeprefix("torch.")
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Connection:
        layout = plain["layout"]
        shapes = tuple(tuple(shape) for shape in layout["shapes"])
        return cls(
            **{
                **plain,
                "endpoint": Endpoint(**plain["endpoint"]),
                "layout": WeightLayout(tuple(layout["names"]), shapes, getattr(torch, layout["dtype"])),
            }
        )


def open_link(connection: Connection) -> ReceivingLink:
    """Raises LinkError when the sender is not there."""
    ends = time.monotonic() + connection.deadline_s
    if connection.endpoint.backend == "shared_memory":
        return SharedMemoryReceiver(connection.endpoint, connection.receiver, ends)
    return GlooReceiver(connection.endpoint, connection.receiver, connection.host, connection.capacity, ends)


class BufferPool:
    """Reuses a byte buffer once its last tensor is freed: touching fresh memory costs more than filling it."""

    def __init__(self) -> None:
        self.free: defaultdict[int, list[np.ndarray]] = defaultdict(list)

    def take(self, size: int) -> Tensor:
        """Return [size] uint8 of any content; the buffer is free again when no tensor over it is left."""
        free = self.free[size]
        whole = free.pop() if free else torch.empty(size, dtype=torch.uint8).numpy()  # aligned to cache lines
        lent = whole[:]  # a view, which lives exactly as long as a tensor over it
        weakref.finalize(lent, free.append, whole).atexit = False
        return torch.from_numpy(lent)


class WeightReceiver:
    """Receives publications one after the other; after an error it is closed, and must be made anew."""

    def __init__(self, connection: Connection, link: ReceivingLink) -> None:
        self.connection = connection
        self.link = link
        self.sizes = connection.layout.sizes
        self.plan = plan_buckets(self.sizes, connection.capacity)
        self.buffers = BufferPool()
        self.digests: dict[str, str] = {}

    def tensors(self, version: int) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of weights ``version`` as they come.

        The next buckets are received and checked while the tensors of the present one are loaded. They are copied out
        of their buckets, which go back to the sender at once: vLLM keeps tensors until their layer is complete, and a
        layer that waits for the sender must not make the sender wait.

        Raises LinkError when no bucket comes in time, CorruptWeights when it is not the one that was sent.
        """
        return itertools.chain.from_iterable(read_ahead(self._buckets(version), AHEAD, "receive weights"))

    def _buckets(self, version: int) -> Iterator[list[tuple[str, Tensor]]]:
        """The tensors that a bucket completes, of those that complete any."""
        ends = time.monotonic() + 2 * self.connection.deadline_s
        self.digests.clear()
        self.link.begin([bucket_bytes(bucket) for bucket in self.plan])
        whole: Tensor | None = None
        for index, bucket in enumerate(self.plan):
            header, array, slot = self.link.receive(ends)
            payload = torch.from_numpy(array)
            check_bucket(header, payload, version, index)
            first = bucket[0]
            size = self.sizes[bucket[0].tensor]
            if size == first.length:  # whole tensors
                copy = self.buffers.take(self.connection.capacity)[: len(payload)].copy_(payload)
                complete = [(piece.tensor, copy[piece.offset : piece.offset + piece.length]) for piece in bucket]
                del copy
            else:  # a piece of a tensor that is larger than a bucket
                whole = self.buffers.take(size) if whole is None else whole
                whole[first.start : first.start + first.length] = payload
                complete = [(first.tensor, whole)] if first.start + first.length == size else []
                whole = None if complete else whole
            self.link.release(slot)
            if complete:
                yield [self._tensor(tensor, data) for tensor, data in complete]
            del complete  # not held while the next bucket is waited for

    def close(self) -> None:
        """Leave; the sender notices."""
        self.link.close()

    def _tensor(self, index: int, data: Tensor) -> tuple[str, Tensor]:
        layout = self.connection.layout
        tensor = data.view(layout.dtype).view(layout.shapes[index])
        if self.connection.compare:
            self.digests[layout.names[index]] = tensor_digest(tensor)
        return layout.names[index], tensor
