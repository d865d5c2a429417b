"""Types that all transports share: endpoints, results, and the protocols of the two ends of a link.

A link connects the sender with one receiver. The sender has BUFFER_COUNT buffers, called slots, for all links together:

    sender:    reserve(slot) ──► fill the buffer ──► send(header, slot)
    receiver:  begin(lengths) ──► receive() ──► copy the bucket out ──► release(slot)

``reserve`` waits until the receiver has released the slot; ``receive`` waits for the next bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from actors.weights.layout import Header, WeightLayout

Backend = Literal["shared_memory", "gloo", "nccl"]
BUFFER_COUNT = 3
"""Number of buffers, of one bucket each: one is being filled, one is in transit, one is being read."""
MIN_WAIT_S = 1.0
"""Shortest wait for a receiver, even if the receivers before it have used up the time until the deadline."""


class LinkError(RuntimeError):
    """The other end is gone, or did not send or accept a bucket in time."""


@dataclass(frozen=True)
class Endpoint:
    """Address at which receivers connect to the sender.

    ``address`` is the name of an abstract Unix socket (shared memory, with ``port`` 0), or a host.
    """

    backend: Backend
    address: str
    port: int


@dataclass(frozen=True)
class SenderInfo:
    """Layout of the weights that a sender sends, and the endpoint at which receivers connect to it."""

    layout: WeightLayout
    endpoint: Endpoint


@dataclass(frozen=True)
class ReceiverGroup:
    """Receivers of one generator: their endpoint at the sender, and the receiver name of each engine worker."""

    endpoint: Endpoint
    names: tuple[str, ...]


@dataclass(frozen=True)
class SendResult:
    """Result of sending one version.

    Attributes:
        bytes: size of the model in bytes.
        seconds: seconds until the last bucket was sent.
        failed: receivers that failed, by name, each with the reason.
    """

    bytes: int
    seconds: float
    failed: Mapping[str, str]


class SendingLink(Protocol):
    """Sender's end of the link to one receiver. All methods but ``close`` raise LinkError.

    ``deadline`` is a ``time.monotonic`` value.
    """

    def reserve(self, slot: int, deadline: float) -> None:
        """Wait until the receiver no longer needs the slot's buffer."""

    def send(self, header: Header, slot: int, deadline: float) -> None:
        """Start sending the bucket in the slot's buffer; the buffer must not change until it is reserved again."""

    def close(self) -> None:
        """Close the link, which the receiver notices."""


class ReceivingLink(Protocol):
    """Receiver's end of a link. ``begin``, ``receive`` and ``release`` raise LinkError.

    ``deadline`` is a ``time.monotonic`` value.
    """

    def begin(self, lengths: Sequence[int]) -> None:
        """Prepare for a publication whose buckets have these lengths in bytes."""

    def receive(self, deadline: float) -> tuple[Header, np.ndarray, int]:
        """Wait for the next bucket; return its header, a new view [length] uint8 of its bytes, and its slot."""

    def release(self, slot: int) -> None:
        """Allow the sender to fill the slot again."""

    def close(self) -> None:
        """Close the link, which the sender notices."""


class SendBuffers(Protocol):
    """Sender's buffers, and the endpoint at which receivers connect."""

    buffers: tuple[Tensor, ...]
    """BUFFER_COUNT buffers [capacity] uint8. Every page is touched at the start, so that no page fault comes later."""
    endpoint: Endpoint

    def open_link(self, receiver: str, deadline: float) -> SendingLink:
        """Return the link to ``receiver``, waiting until it has connected. Raises LinkError."""

    def drop(self, receiver: str) -> None:
        """End the wait of ``open_link`` for ``receiver``, which failed. Called by another thread than the sender's."""

    def close(self) -> None:
        """Free the buffers and close the endpoint."""
