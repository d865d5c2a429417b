"""The receiver of weights, in an engine's worker: whole tensors out of buckets, one at a time and in order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from actors.gloo_link import GlooReceiver
from actors.shared_memory_link import SharedMemoryReceiver
from actors.weight_buckets import Model, Piece, bucket_bytes, check_bucket, plan_buckets, tensor_digest
from actors.weight_links import Endpoint, ReceivingLink


@dataclass(frozen=True)
class Connection:
    """All that a receiver must know: whom it meets where, under which name, and what will come."""

    endpoint: Endpoint
    receiver: str
    host: str
    """Address of the receiver's node."""
    model: Model
    capacity: int
    """Bytes of a bucket."""
    deadline_s: float
    """The sender gives up on a receiver after so many seconds, so a receiver waits a little longer."""
    compare: bool
    """Keep a digest of every tensor received."""

    def to_plain(self) -> dict[str, Any]:
        """As lists, numbers and strings: nothing else crosses vLLM's ``collective_rpc``."""
        plain = asdict(self)
        plain["model"]["dtype"] = str(self.model.dtype).removeprefix("torch.")
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Connection:
        model = plain["model"]
        shapes = tuple(tuple(shape) for shape in model["shapes"])
        return cls(
            **{
                **plain,
                "endpoint": Endpoint(**plain["endpoint"]),
                "model": Model(tuple(model["names"]), shapes, getattr(torch, model["dtype"])),
            }
        )


def open_link(connection: Connection) -> ReceivingLink:
    """Raises LinkError when the sender is not there."""
    ends = time.monotonic() + connection.deadline_s
    if connection.endpoint.backend == "shared_memory":
        return SharedMemoryReceiver(connection.endpoint, connection.receiver, ends)
    return GlooReceiver(connection.endpoint, connection.receiver, connection.host, connection.capacity, ends)


class WeightReceiver:
    """Receives publications one after the other; after an error it is closed, and must be made anew."""

    def __init__(self, connection: Connection, link: ReceivingLink) -> None:
        self.connection, self.link = connection, link
        self.sizes = connection.model.sizes
        self.plan = plan_buckets(self.sizes, connection.capacity)
        self.digests: dict[str, str] = {}

    def tensors(self, version: int) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of weights ``version`` as they come, each in memory of its own.

        Copied out of their buckets, which go back to the sender at once: vLLM keeps tensors until their layer is
        complete, and a layer that waits for the sender must not make the sender wait.

        Raises LinkError when no bucket comes in time, CorruptWeights when it is not the one that was sent.
        """
        ends = time.monotonic() + 2 * self.connection.deadline_s
        self.digests.clear()
        self.link.begin([bucket_bytes(bucket) for bucket in self.plan])
        partial: Tensor | None = None
        for index, bucket in enumerate(self.plan):
            header, array, slot = self.link.receive(ends)
            payload = torch.from_numpy(array)
            check_bucket(header, payload, version, index)
            complete = []
            for piece in bucket:
                partial = self._assemble(piece, payload[piece.offset : piece.offset + piece.length], partial)
                if piece.start + piece.length == self.sizes[piece.tensor]:
                    complete.append(self._tensor(piece.tensor, partial))
                    partial = None
            self.link.release(slot)
            yield from complete

    def close(self) -> None:
        """Leave; the sender notices."""
        self.link.close()

    def _assemble(self, piece: Piece, found: Tensor, partial: Tensor | None) -> Tensor:
        whole = torch.empty(self.sizes[piece.tensor], dtype=torch.uint8) if partial is None else partial
        whole[piece.start : piece.start + piece.length] = found
        return whole

    def _tensor(self, index: int, data: Tensor) -> tuple[str, Tensor]:
        model = self.connection.model
        tensor = data.view(model.dtype).view(model.shapes[index])
        if self.connection.compare:
            self.digests[model.names[index]] = tensor_digest(tensor)
        return model.names[index], tensor
