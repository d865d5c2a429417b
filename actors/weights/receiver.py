"""Receiver of weights, in an engine's worker: reassembles the tensors from buckets and yields them in order."""

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

from actors.weights.idle_thread import read_ahead
from actors.weights.layout import WeightLayout, check_bucket, filled_bytes, plan_buckets, tensor_digest
from actors.weights.links import Endpoint, ReceivingLink
from actors.weights.transports import TRANSPORTS

BUCKETS_AHEAD = 2
"""Buckets received ahead of the one being loaded, which hides the time that a sleeping sender takes to wake up."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Parameters with which a receiver connects to the sender.

    Attributes:
        endpoint: endpoint of the sender.
        receiver: name under which the receiver connects.
        host: address of the receiver's node.
        layout: layout of the weights that will be sent.
        capacity: capacity of a bucket in bytes.
        deadline_s: seconds after which the sender drops a receiver; the receiver waits twice as long.
        keep_digests: keep a digest of every received tensor.
    """

    endpoint: Endpoint
    receiver: str
    host: str
    layout: WeightLayout
    capacity: int
    deadline_s: float
    keep_digests: bool

    def to_dict(self) -> dict[str, Any]:
        """Convert to dicts, lists, numbers and strings: vLLM's ``collective_rpc`` transports nothing else."""
        plain = asdict(self)
        plain["layout"]["dtype"] = str(self.layout.dtype).removeprefix("torch.")
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Connection:
        """Convert back from the result of ``to_dict``."""
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
    """Connect to the sender. Raises LinkError if it cannot be reached."""
    deadline = time.monotonic() + connection.deadline_s
    transport = TRANSPORTS[connection.endpoint.backend]
    return transport.open_link(connection.endpoint, connection.receiver, connection.host, connection.capacity, deadline)


class BufferPool:
    """Reuses a byte buffer once its last tensor is freed: the page faults of new memory cost more than filling it."""

    def __init__(self) -> None:
        self.free: defaultdict[int, list[np.ndarray]] = defaultdict(list)

    def take(self, size: int) -> Tensor:
        """Return an uninitialized tensor [size] uint8; its buffer is free again when the last view of it is freed."""
        free = self.free[size]
        buffer = free.pop() if free else torch.empty(size, dtype=torch.uint8).numpy()  # aligned to cache lines
        view = buffer[:]  # PyTorch keeps this object alive exactly as long as a tensor uses it
        weakref.finalize(view, free.append, buffer).atexit = False
        return torch.from_numpy(view)


class WeightReceiver:
    """Receiver of publications. After an error, close it and create a new one."""

    def __init__(self, connection: Connection, link: ReceivingLink) -> None:
        self.connection = connection
        self.link = link
        self.sizes = connection.layout.sizes
        self.plan = plan_buckets(self.sizes, connection.capacity)
        self.buffers = BufferPool()
        self.digests: dict[str, str] = {}

    def receive_tensors(self, version: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the names and tensors of weights ``version`` as they arrive.

        While the tensors of a bucket are loaded, the next buckets are received and checked in a background thread.
        Tensors are copied out of a bucket, whose slot is released at once: vLLM keeps tensors until their layer is
        complete, so without the copy the sender would wait for slots while vLLM waits for the sender.

        Raises:
            LinkError: no bucket arrived in time.
            CorruptWeights: a bucket is not the one that was sent.
        """
        return itertools.chain.from_iterable(read_ahead(self._buckets(version), BUCKETS_AHEAD, "receive weights"))

    def _buckets(self, version: int) -> Iterator[list[tuple[str, Tensor]]]:
        """Receive the buckets; after each that completes tensors, yield these."""
        deadline = time.monotonic() + 2 * self.connection.deadline_s
        self.digests.clear()
        self.link.begin([filled_bytes(bucket) for bucket in self.plan])
        split_tensor: Tensor | None = None  # bytes received so far of a tensor that is split over several buckets
        for index, bucket in enumerate(self.plan):
            header, array, slot = self.link.receive(deadline)
            payload = torch.from_numpy(array)
            check_bucket(header, payload, version, index)
            first = bucket[0]
            size = self.sizes[bucket[0].tensor]
            if size == first.length:  # the bucket contains whole tensors
                copy = self.buffers.take(self.connection.capacity)[: len(payload)].copy_(payload)
                complete = [(piece.tensor, copy[piece.offset : piece.offset + piece.length]) for piece in bucket]
                del copy
            else:  # the bucket contains a piece of a tensor that is larger than a bucket
                split_tensor = self.buffers.take(size) if split_tensor is None else split_tensor
                split_tensor[first.start : first.start + first.length] = payload
                complete = [(first.tensor, split_tensor)] if first.start + first.length == size else []
                split_tensor = None if complete else split_tensor
            self.link.release(slot)
            if complete:
                yield [self._make_tensor(tensor, data) for tensor, data in complete]
            del complete  # so that these tensors are not kept alive while waiting for the next bucket

    def close(self) -> None:
        """Close the link, which the sender notices."""
        self.link.close()

    def _make_tensor(self, index: int, data: Tensor) -> tuple[str, Tensor]:
        layout = self.connection.layout
        tensor = data.view(layout.dtype).view(layout.shapes[index])
        if self.connection.keep_digests:
            self.digests[layout.names[index]] = tensor_digest(tensor)
        return layout.names[index], tensor
