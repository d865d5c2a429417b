"""The sender of weights, in the learner's first rank: fills a bucket while receivers load the one before."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from torch import Tensor

from actors.weights.gloo import GlooSendBuffers
from actors.weights.layout import Bucket, Header, WeightLayout, bucket_bytes, make_header, plan_buckets
from actors.weights.links import SLOTS, Backend, LinkError, ReceiverGroup, SendBuffers, SendingLink, SendResult
from actors.weights.shared_memory import SharedMemorySendBuffers
from actors.weights.spare_thread import spare_thread


@dataclass(frozen=True, kw_only=True)
class SenderSettings:
    """How weights are sent. ``bucket_bytes``: capacity of a bucket; ``deadline_s``: seconds a publication may take."""

    backend: Backend
    dtype: str
    bucket_bytes: int
    checksum: bool
    deadline_s: float


def open_send_buffers(settings: SenderSettings, host: str) -> SendBuffers:
    """Allocate the buffers and open the endpoint at which receivers connect; ``host``: this node's address."""
    if settings.backend == "shared_memory":
        return SharedMemorySendBuffers(settings.bucket_bytes)
    return GlooSendBuffers(settings.bucket_bytes, host)


class WeightSender:
    """Sends publications one after the other to whoever is connected."""

    def __init__(self, layout: WeightLayout, settings: SenderSettings, send_buffers: SendBuffers) -> None:
        self.layout = layout
        self.settings = settings
        self.send_buffers = send_buffers
        self.plan = plan_buckets(layout.sizes, settings.bucket_bytes)
        self.endpoint = send_buffers.endpoint
        self.links: dict[str, SendingLink] = {}
        self.sent_buckets = 0

    def send(
        self,
        tensors: Iterator[tuple[str, Tensor]],
        version: int,
        to: Collection[ReceiverGroup],
        connected: Collection[ReceiverGroup],
    ) -> SendResult:
        """Give ``to`` the model's whole ``tensors`` as ``version``, in the model's order.

        Who takes nothing until the deadline is given up; ``tensors`` is used up in any case, for other ranks take part
        in it. Links to receivers that are no longer ``connected`` are closed. Raises ValueError when ``tensors`` are
        not the model's. All of it happens in a spare thread: the engine that loads is waited for, on the same cores.
        """
        with spare_thread("send weights") as thread:
            return thread.submit(self._send, tensors, version, to, connected).result()

    def _send(
        self,
        tensors: Iterator[tuple[str, Tensor]],
        version: int,
        to: Collection[ReceiverGroup],
        connected: Collection[ReceiverGroup],
    ) -> SendResult:
        started = time.monotonic()
        for gone in self.links.keys() - {name for group in connected for name in group.names}:
            self.links.pop(gone).close()
        receivers = sorted(name for group in to for name in group.names)
        recipients = _Recipients(self.send_buffers, self.links, receivers, self.settings.deadline_s)
        filler = _BucketFiller(self.layout, tensors)
        for index, bucket in enumerate(self.plan):
            slot = self.sent_buckets % SLOTS
            self.sent_buckets += 1
            recipients.reserve(slot)
            payload = self.send_buffers.buffers[slot][: bucket_bytes(bucket)]
            filler.fill(bucket, payload)
            recipients.send(make_header(version, index, payload, self.settings.checksum), slot)
        return SendResult(bytes=sum(self.layout.sizes), seconds=time.monotonic() - started, failed=recipients.failed)

    def close(self) -> None:
        """Free the buffers; receivers notice."""
        for link in self.links.values():
            link.close()
        self.send_buffers.close()


class _Recipients:
    """The receivers of one publication; one that fails is dropped from the rest of it, and its link closed."""

    def __init__(
        self, send_buffers: SendBuffers, links: dict[str, SendingLink], receivers: list[str], deadline_s: float
    ) -> None:
        self.send_buffers = send_buffers
        self.links = links
        self.receivers = receivers
        self.deadline_s = deadline_s
        self.ends = time.monotonic() + deadline_s
        self.failed: dict[str, str] = {}

    def reserve(self, slot: int) -> None:
        """Nobody needs the slot's buffer any more."""
        self._each(lambda link: link.reserve(slot, self.ends))

    def send(self, header: Header, slot: int) -> None:
        """The bucket in the slot's buffer is on its way."""
        self._each(lambda link: link.send(header, slot, self.ends))

    def _each(self, do: Callable[[SendingLink], None]) -> None:
        for receiver in self.receivers:
            try:
                if receiver not in self.links:
                    self.links[receiver] = self.send_buffers.link(receiver, self.ends)
                do(self.links[receiver])
            except LinkError as error:
                self.failed[receiver] = str(error)
                if receiver in self.links:
                    self.links.pop(receiver).close()
        left = [receiver for receiver in self.receivers if receiver not in self.failed]
        if len(left) < len(self.receivers):  # who failed may have used up the time of the others
            self.ends = time.monotonic() + self.deadline_s
        self.receivers = left


class _BucketFiller:
    """Copies tensors, one after the other, into the buckets of the plan."""

    def __init__(self, layout: WeightLayout, tensors: Iterator[tuple[str, Tensor]]) -> None:
        self.layout = layout
        self.tensors = tensors
        self.flat: Tensor | None = None

    def fill(self, bucket: Bucket, payload: Tensor) -> None:
        """``payload`` [bytes] uint8 gets the bucket's bytes, in the dtype that is sent."""
        width = self.layout.dtype.itemsize
        for piece in bucket:
            if piece.start == 0:
                self.flat = self._next(piece.tensor)
            assert self.flat is not None  # the plan begins every tensor at 0
            place = payload[piece.offset : piece.offset + piece.length].view(self.layout.dtype)
            place.copy_(self.flat[piece.start // width : (piece.start + piece.length) // width])

    def _next(self, index: int) -> Tensor:
        self.flat = None  # not two gathered tensors at once
        name, tensor = next(self.tensors)
        if name != self.layout.names[index] or tuple(tensor.shape) != self.layout.shapes[index]:
            raise ValueError(
                f"parameter {name} {tuple(tensor.shape)} where {self.layout.names[index]} {self.layout.shapes[index]} "
                "was announced: the model has changed since its sender was opened"
            )
        return tensor.reshape(-1)
