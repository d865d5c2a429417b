"""Buckets in memory that sender and receivers share, on one node.

    sender ──header──► Unix socket ──► receiver     (the bucket is in the shared buffer by then)
    sender ◄──slot──── Unix socket ◄── receiver     (the buffer may be filled again)

The memory has no name (memfd): receivers get its descriptor through the socket, whose abstract name is no file either.
So nothing is left on the system whoever is killed, and a dead peer is seen at once as the end of its socket.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import socket
import struct
import time
from collections.abc import Sequence

import numpy as np
import torch

from actors.weights.layout import HEADER_BYTES, Header
from actors.weights.links import LEAST_WAIT_S, SLOTS, Endpoint, LinkError

NAME_BYTES = 256
_SLOT = struct.Struct("<q")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


def _map(descriptor: int, capacity: int) -> mmap.mmap:
    """All buffers, with every page in place."""
    return mmap.mmap(descriptor, SLOTS * capacity, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)


def _until(link: socket.socket, ends: float) -> None:
    link.settimeout(max(ends - time.monotonic(), LEAST_WAIT_S))


class SharedMemorySendBuffers:
    """The sender's shared buffers, and the socket at which receivers connect."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.descriptor = os.memfd_create("microcoder-weights")
        os.ftruncate(self.descriptor, SLOTS * capacity)
        self.memory = _map(self.descriptor, capacity)
        self.buffers = tuple(
            torch.frombuffer(self.memory, dtype=torch.uint8, count=capacity, offset=slot * capacity)
            for slot in range(SLOTS)
        )
        self.endpoint = Endpoint("shared_memory", f"microcoder-weights-{secrets.token_hex(8)}", 0)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(f"\0{self.endpoint.address}")
        self.listener.listen(128)
        self.arrived: dict[str, socket.socket] = {}

    def link(self, receiver: str, ends: float) -> SharedMemorySender:
        try:
            while receiver not in self.arrived:
                self._accept(ends)
            arrived = self.arrived.pop(receiver)
            _until(arrived, ends)
            socket.send_fds(arrived, [_SLOT.pack(self.capacity)], [self.descriptor])
        except OSError as error:
            raise LinkError(f"did not connect: {error}") from error
        return SharedMemorySender(arrived)

    def _accept(self, ends: float) -> None:
        _until(self.listener, ends)
        arrived, _ = self.listener.accept()
        _until(arrived, ends)
        peer = arrived.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(peer)[1] == os.getuid():  # an abstract socket has no permissions of its own
            self.arrived[arrived.recv(NAME_BYTES).decode()] = arrived
        else:
            arrived.close()

    def close(self) -> None:
        self.listener.close()
        for arrived in self.arrived.values():
            arrived.close()
        os.close(self.descriptor)
        # The mapping goes with the tensors over it.


class SharedMemorySender:
    """The sender's end of the link to one receiver."""

    def __init__(self, link: socket.socket) -> None:
        self.socket = link
        self.taken: set[int] = set()  # slots that the receiver has not given back

    def reserve(self, slot: int, ends: float) -> None:
        try:
            while slot in self.taken:
                _until(self.socket, ends)
                back = self.socket.recv(_SLOT.size)
                if not back:
                    raise LinkError("its process ended, or it gave up")
                self.taken.remove(_SLOT.unpack(back)[0])
        except OSError as error:
            raise LinkError(f"did not take a bucket: {error}") from error

    def send(self, header: Header, slot: int, ends: float) -> None:
        try:
            _until(self.socket, ends)
            self.socket.send(_SLOT.pack(slot) + header.pack())
            self.taken.add(slot)
        except OSError as error:
            raise LinkError(f"did not take a bucket: {error}") from error

    def close(self) -> None:
        self.socket.close()


class SharedMemoryReceiver:
    """The receiver's end."""

    def __init__(self, endpoint: Endpoint, receiver: str, ends: float) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.buffers: tuple[np.ndarray, ...] | None = None
        try:
            _until(self.socket, ends)
            self.socket.connect(f"\0{endpoint.address}")
            self.socket.send(receiver.encode())
        except OSError as error:
            raise LinkError(f"no sender of weights at {endpoint.address}: {error}") from error

    def begin(self, lengths: Sequence[int]) -> None:
        self.lengths = iter(lengths)

    def receive(self, ends: float) -> tuple[Header, np.ndarray, int]:
        try:
            if self.buffers is None:
                self.buffers = self._map(ends)
            _until(self.socket, ends)
            message = self.socket.recv(_SLOT.size + HEADER_BYTES)
        except OSError as error:
            raise LinkError(f"no bucket came: {error}") from error
        if not message:
            raise LinkError("the sender left")
        (slot,) = _SLOT.unpack(message[: _SLOT.size])
        return Header.unpack(message[_SLOT.size :]), self.buffers[slot][: next(self.lengths)], slot

    def _map(self, ends: float) -> tuple[np.ndarray, ...]:
        _until(self.socket, ends)
        size, descriptors, _, _ = socket.recv_fds(self.socket, _SLOT.size, 1)
        if not size:
            raise LinkError("the sender left")
        (capacity,) = _SLOT.unpack(size)
        memory = _map(descriptors[0], capacity)
        os.close(descriptors[0])
        return tuple(np.frombuffer(memory, np.uint8, capacity, slot * capacity) for slot in range(SLOTS))

    def release(self, slot: int) -> None:
        try:
            self.socket.send(_SLOT.pack(slot))
        except OSError as error:
            raise LinkError(f"the sender left: {error}") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for a bucket
        self.socket.close()
