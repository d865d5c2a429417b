"""Transport of buckets through memory that sender and receivers on one node share.

    sender ──header──► Unix socket ──► receiver     (the bucket is already in the shared buffer)
    sender ◄──slot──── Unix socket ◄── receiver     (the buffer may be filled again)

The memory is anonymous (memfd): receivers get its file descriptor through the socket, which has an abstract name and so
no file either. Therefore nothing remains on the system when a process is killed, and each side notices at once when the
other has died, because its socket closes.
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
from actors.weights.links import BUFFER_COUNT, MIN_WAIT_S, Endpoint, LinkError

NAME_BYTES = 256
_SLOT = struct.Struct("<q")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)
SENDER_CLOSED = "the weight sender closed the connection: it dropped this receiver, or its learner rank died"


def _map(descriptor: int, capacity: int) -> mmap.mmap:
    """Map all buffers and touch every page."""
    return mmap.mmap(descriptor, BUFFER_COUNT * capacity, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)


def _set_deadline(connection: socket.socket, deadline: float) -> None:
    connection.settimeout(max(deadline - time.monotonic(), MIN_WAIT_S))


class SharedMemorySendBuffers:
    """Sender's shared buffers, and the socket at which receivers connect."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.descriptor = os.memfd_create("microcoder-weights")
        os.ftruncate(self.descriptor, BUFFER_COUNT * capacity)
        self.memory = _map(self.descriptor, capacity)
        self.buffers = tuple(
            torch.frombuffer(self.memory, dtype=torch.uint8, count=capacity, offset=slot * capacity)
            for slot in range(BUFFER_COUNT)
        )
        self.endpoint = Endpoint("shared_memory", f"microcoder-weights-{secrets.token_hex(8)}", 0)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(f"\0{self.endpoint.address}")
        self.listener.listen(128)
        self.accepted: dict[str, socket.socket] = {}  # by receiver: connections that have no link yet

    def open_link(self, receiver: str, deadline: float) -> SharedMemorySender:
        try:
            while receiver not in self.accepted:
                self._accept(deadline)
            connection = self.accepted.pop(receiver)
            _set_deadline(connection, deadline)
            socket.send_fds(connection, [_SLOT.pack(self.capacity)], [self.descriptor])
        except OSError as error:
            raise LinkError(f"did not connect: {error}") from error
        return SharedMemorySender(connection)

    def _accept(self, deadline: float) -> None:
        _set_deadline(self.listener, deadline)
        connection, _ = self.listener.accept()
        _set_deadline(connection, deadline)
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(peer)[1] == os.getuid():  # abstract sockets have no file permissions: any user connects
            self.accepted[connection.recv(NAME_BYTES).decode()] = connection
        else:
            connection.close()

    def drop(self, receiver: str) -> None:
        """Do nothing: a receiver is connected before it is published to, and its end closes its socket."""

    def close(self) -> None:
        self.listener.close()
        for connection in self.accepted.values():
            connection.close()
        os.close(self.descriptor)
        # The memory is unmapped when the last tensor over it is freed.


class SharedMemorySender:
    """Sender's end of the link to one receiver."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.unreleased: set[int] = set()  # slots that the receiver has not released

    def reserve(self, slot: int, deadline: float) -> None:
        try:
            while slot in self.unreleased:
                _set_deadline(self.socket, deadline)
                message = self.socket.recv(_SLOT.size)
                if not message:
                    raise LinkError("closed its socket (its process ended, or it failed to load)")
                self.unreleased.remove(_SLOT.unpack(message)[0])
        except OSError as error:
            raise LinkError(f"did not accept a bucket: {error}") from error

    def send(self, header: Header, slot: int, deadline: float) -> None:
        try:
            _set_deadline(self.socket, deadline)
            self.socket.send(_SLOT.pack(slot) + header.pack())
            self.unreleased.add(slot)
        except OSError as error:
            raise LinkError(f"did not accept a bucket: {error}") from error

    def close(self) -> None:
        self.socket.close()


class SharedMemoryReceiver:
    """Receiver's end of the link."""

    def __init__(self, endpoint: Endpoint, receiver: str, deadline: float) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.buffers: tuple[np.ndarray, ...] | None = None
        try:
            _set_deadline(self.socket, deadline)
            self.socket.connect(f"\0{endpoint.address}")
            self.socket.send(receiver.encode())
        except OSError as error:
            raise LinkError(f"cannot reach the weight sender at {endpoint.address}: {error}") from error

    def begin(self, lengths: Sequence[int]) -> None:
        self.lengths = iter(lengths)

    def receive(self, deadline: float) -> tuple[Header, np.ndarray, int]:
        try:
            if self.buffers is None:
                self.buffers = self._map_buffers(deadline)
            _set_deadline(self.socket, deadline)
            message = self.socket.recv(_SLOT.size + HEADER_BYTES)
        except OSError as error:
            raise LinkError(f"no bucket arrived from the weight sender: {error}") from error
        if not message:
            raise LinkError(SENDER_CLOSED)
        (slot,) = _SLOT.unpack(message[: _SLOT.size])
        return Header.unpack(message[_SLOT.size :]), self.buffers[slot][: next(self.lengths)], slot

    def _map_buffers(self, deadline: float) -> tuple[np.ndarray, ...]:
        _set_deadline(self.socket, deadline)
        message, descriptors, _, _ = socket.recv_fds(self.socket, _SLOT.size, 1)
        if not message:
            raise LinkError(SENDER_CLOSED)
        (capacity,) = _SLOT.unpack(message)
        memory = _map(descriptors[0], capacity)
        os.close(descriptors[0])
        return tuple(np.frombuffer(memory, np.uint8, capacity, slot * capacity) for slot in range(BUFFER_COUNT))

    def release(self, slot: int) -> None:
        try:
            self.socket.send(_SLOT.pack(slot))
        except OSError as error:
            raise LinkError(f"{SENDER_CLOSED} ({error})") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it may be disconnected already
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes up a thread that waits for a bucket
        self.socket.close()
