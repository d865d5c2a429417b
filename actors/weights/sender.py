"""Sender of weights, on the learner's rank 0: fills the next bucket while receivers load the previous one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from torch import Tensor

from actors.weights.idle_thread import make_idle_executor
from actors.weights.layout import Bucket, Header, WeightLayout, filled_bytes, make_header, plan_buckets
from actors.weights.links import BUFFER_COUNT, Backend, LinkError, ReceiverGroup, SendBuffers, SendingLink, SendResult


@dataclass(frozen=True, kw_only=True)
class SenderSettings:
    """Settings of the sender.

    Attributes:
        backend: transport.
        dtype: dtype in which weights are sent.
        bucket_bytes: capacity of a bucket in bytes.
        checksum: send a checksum of every bucket.
        deadline_s: seconds that a publication may take before a slow receiver is dropped.
    """

    backend: Backend
    dtype: str
    bucket_bytes: int
    checksum: bool
    deadline_s: float


class WeightSender:
    """Sender of publications, over any of ``TRANSPORTS``. A slot's buffer serves all receivers of a publication."""

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
        recipients: Collection[ReceiverGroup],
        connected: Collection[ReceiverGroup],
    ) -> SendResult:
        """Send the model to ``recipients`` as ``version``.

        A receiver that accepts no bucket until the deadline is dropped. Everything runs in an idle-priority thread, so
        that it does not slow down the engines, which share the cores and whose loading is the bottleneck.

        Args:
            tensors: names and full tensors of the model, in the order of the layout.
            version: version of the weights.
            recipients: receivers that get the weights.
            connected: all connected receivers; links to any others are closed.

        Raises:
            ValueError: ``tensors`` does not match the layout.
        """
        with make_idle_executor("send weights") as executor:
            return executor.submit(self._send, tensors, version, recipients, connected).result()

    def _send(
        self,
        tensors: Iterator[tuple[str, Tensor]],
        version: int,
        recipients: Collection[ReceiverGroup],
        connected: Collection[ReceiverGroup],
    ) -> SendResult:
        started = time.monotonic()
        for disconnected in self.links.keys() - {name for group in connected for name in group.names}:
            self.links.pop(disconnected).close()
        receivers = sorted(name for group in recipients for name in group.names)
        receiver_links = _ReceiverLinks(self.send_buffers, self.links, receivers, self.settings.deadline_s)
        filler = _BucketFiller(self.layout, tensors)
        for index, bucket in enumerate(self.plan):
            slot = self.sent_buckets % BUFFER_COUNT
            self.sent_buckets += 1
            receiver_links.reserve(slot)
            payload = self.send_buffers.buffers[slot][: filled_bytes(bucket)]
            filler.fill(bucket, payload)
            receiver_links.send(make_header(version, index, payload, self.settings.checksum), slot)
        return SendResult(
            bytes=sum(self.layout.sizes), seconds=time.monotonic() - started, failed=receiver_links.failed
        )

    def drop(self, receivers: Collection[str]) -> None:
        """Stop waiting for receivers that failed. Called by another thread while ``send`` runs.

        A link that is open ends by itself, because the other end has closed it.
        """
        for receiver in receivers:
            self.send_buffers.drop(receiver)

    def close(self) -> None:
        """Close all links, which receivers notice, and free the buffers."""
        for link in self.links.values():
            link.close()
        self.send_buffers.close()


class _ReceiverLinks:
    """Links to the receivers of one publication. A receiver that fails is dropped from it, and its link is closed."""

    def __init__(
        self, send_buffers: SendBuffers, links: dict[str, SendingLink], receivers: list[str], deadline_s: float
    ) -> None:
        self.send_buffers = send_buffers
        self.links = links
        self.receivers = receivers
        self.deadline_s = deadline_s
        self.deadline = time.monotonic() + deadline_s
        self.failed: dict[str, str] = {}

    def reserve(self, slot: int) -> None:
        """Wait until no receiver needs the slot's buffer any more."""
        self._for_each_link(lambda link: link.reserve(slot, self.deadline))

    def send(self, header: Header, slot: int) -> None:
        """Start sending the bucket in the slot's buffer to every receiver."""
        self._for_each_link(lambda link: link.send(header, slot, self.deadline))

    def _for_each_link(self, action: Callable[[SendingLink], None]) -> None:
        for receiver in self.receivers:
            try:
                if receiver not in self.links:
                    self.links[receiver] = self.send_buffers.open_link(receiver, self.deadline)
                action(self.links[receiver])
            except LinkError as error:
                self.failed[receiver] = str(error)
                if receiver in self.links:
                    self.links.pop(receiver).close()
        remaining = [receiver for receiver in self.receivers if receiver not in self.failed]
        if len(remaining) < len(self.receivers):  # those that failed may have used up the time of the others
            self.deadline = time.monotonic() + self.deadline_s
        self.receivers = remaining


class _BucketFiller:
    """Copies tensors in order into the buckets of the plan."""

    def __init__(self, layout: WeightLayout, tensors: Iterator[tuple[str, Tensor]]) -> None:
        self.layout = layout
        self.tensors = tensors
        self.flat: Tensor | None = None

    def fill(self, bucket: Bucket, payload: Tensor) -> None:
        """Fill ``payload``, of shape [bytes] and dtype uint8, with the bucket's bytes in the layout's dtype."""
        width = self.layout.dtype.itemsize
        for piece in bucket:
            if piece.start == 0:
                self.flat = self._next_tensor(piece.tensor)
            assert self.flat is not None  # the plan's first piece of every tensor starts at 0
            target = payload[piece.offset : piece.offset + piece.length].view(self.layout.dtype)
            target.copy_(self.flat[piece.start // width : (piece.start + piece.length) // width])

    def _next_tensor(self, index: int) -> Tensor:
        self.flat = None  # free the previous tensor before the next is gathered, to hold only one at a time
        name, tensor = next(self.tensors)
        if name != self.layout.names[index] or tuple(tensor.shape) != self.layout.shapes[index]:
            expected = f"{self.layout.names[index]} {self.layout.shapes[index]}"
            raise ValueError(
                f"parameter {name} {tuple(tensor.shape)} does not match the layout, which has {expected} at its place: "
                "the model has changed since the sender was opened"
            )
        return tensor.reshape(-1)
