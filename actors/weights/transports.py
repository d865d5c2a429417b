"""Registry of the transports that carry buckets from the sender to a receiver.

To add a transport, implement ``SendBuffers``, ``SendingLink`` and ``ReceivingLink`` (links.py) and register it here
(docs/extending.md). NCCL is no entry: it moves tensors between GPUs with vLLM's own API, without buckets (nccl.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from actors.weights.gloo import GlooReceiver, GlooSendBuffers
from actors.weights.links import Backend, Endpoint, ReceivingLink, SendBuffers
from actors.weights.shared_memory import SharedMemoryReceiver, SharedMemorySendBuffers


class Transport(Protocol):
    """Both ends of a transport."""

    def open_send_buffers(self, capacity: int, host: str) -> SendBuffers:
        """Allocate buffers of ``capacity`` bytes and open the endpoint on ``host``, this node's address."""

    def open_link(self, endpoint: Endpoint, receiver: str, host: str, capacity: int, deadline: float) -> ReceivingLink:
        """Connect ``receiver``, on ``host``, to the sender. Raises LinkError.

        ``capacity`` is that of the sender's buffers in bytes, ``deadline`` a ``time.monotonic`` value.
        """


class SharedMemoryTransport:
    """Memory that processes of one node share."""

    def open_send_buffers(self, capacity: int, host: str) -> SendBuffers:
        return SharedMemorySendBuffers(capacity)

    def open_link(self, endpoint: Endpoint, receiver: str, host: str, capacity: int, deadline: float) -> ReceivingLink:
        return SharedMemoryReceiver(endpoint, receiver, deadline)


class GlooTransport:
    """A gloo process group of two for each link, over TCP."""

    def open_send_buffers(self, capacity: int, host: str) -> SendBuffers:
        return GlooSendBuffers(capacity, host)

    def open_link(self, endpoint: Endpoint, receiver: str, host: str, capacity: int, deadline: float) -> ReceivingLink:
        return GlooReceiver(endpoint, receiver, host, capacity, deadline)


TRANSPORTS: Mapping[Backend, Transport] = {
    "shared_memory": SharedMemoryTransport(),
    "gloo": GlooTransport(),
}
"""Transports by the name that ``weight_transfer.backend`` gives them."""
