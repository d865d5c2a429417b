"""Types that all transports share: addresses, results, and the protocols of the two ends of a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from actors.weights.layout import Header, WeightLayout

Backend = Literal["shared_memory", "gloo", "nccl"]
SLOTS = 3
"""Buffers of one bucket each: one is filled, one is on its way, one is read."""

LEAST_WAIT_S = 1.0
"""Whoever is asked after one that used up the time is still given so long."""


class LinkError(RuntimeError):
    """The other end is gone, or did not take or give a bucket in time."""


@dataclass(frozen=True)
class Endpoint:
    """Where receivers find the sender: an abstract Unix socket, or host and port."""

    backend: Backend
    address: str
    port: int


@dataclass(frozen=True)
class SenderInfo:
    """What the sender sends, and where receivers connect to it."""

    layout: WeightLayout
    endpoint: Endpoint


@dataclass(frozen=True)
class ReceiverGroup:
    """The receivers of one generator: where they connect to the sender, and the name of each worker there."""

    endpoint: Endpoint
    names: tuple[str, ...]


@dataclass(frozen=True)
class SendResult:
    """Bytes of the model, seconds until the last bucket was sent, and the reason of each receiver that failed."""

    bytes: int
    seconds: float
    failed: Mapping[str, str]


class SendingLink(Protocol):
    """The sender's end of the link to one receiver. All methods but ``close`` raise LinkError."""

    def reserve(self, slot: int, ends: float) -> None:
        """Return when the receiver no longer needs the slot's buffer; ``ends`` is a ``time.monotonic``."""

    def send(self, header: Header, slot: int, ends: float) -> None:
        """Begin to give the bucket in the slot's buffer."""

    def close(self) -> None:
        """Leave; the receiver notices."""


class ReceivingLink(Protocol):
    """The receiver's end. ``begin``, ``receive`` and ``release`` raise LinkError."""

    def begin(self, lengths: Sequence[int]) -> None:
        """Buckets of these bytes come next."""

    def receive(self, ends: float) -> tuple[Header, np.ndarray, int]:
        """The next bucket: its header, its bytes [length] uint8 as an array of its own, and its slot."""

    def release(self, slot: int) -> None:
        """The slot may be filled again."""

    def close(self) -> None:
        """Leave; the sender notices."""


class SendBuffers(Protocol):
    """The sender's buffers, and the endpoint at which receivers connect."""

    buffers: tuple[Tensor, ...]
    """Of one bucket each, [capacity] uint8, written to once so that no page is missing."""
    endpoint: Endpoint

    def link(self, receiver: str, ends: float) -> SendingLink:
        """The link to ``receiver``, which has connected or is about to. Raises LinkError."""

    def close(self) -> None:
        """Free the buffers and let nobody in."""
