"""Weight sender in this process and receivers in child processes, without learner or engine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from typing import Any

import torch
from torch import Tensor

from actors.weights.layout import WeightLayout
from actors.weights.links import Backend, Endpoint, ReceiverGroup
from actors.weights.receiver import Connection, WeightReceiver, open_link
from actors.weights.sender import SenderSettings, WeightSender
from actors.weights.transports import TRANSPORTS
from tests.warm_processes import get_warm_context

HOST = "127.0.0.1"
SHAPES = ((700,), (5, 8), (33, 33), (3,), (64, 4), (2000,))
"""Shapes of float32 tensors. Buckets of 4,096 bytes split two of them; the others are not split."""
LAYOUT = WeightLayout(tuple(f"tensor {index}" for index in range(len(SHAPES))), SHAPES, torch.float32)


def make_tensors(version: int, layout: WeightLayout = LAYOUT) -> list[tuple[str, Tensor]]:
    """Return the names and weights of the model at ``version``, a function of the version only."""
    generator = torch.Generator().manual_seed(version)
    return [
        (name, torch.randn(shape, generator=generator).to(layout.dtype))
        for name, shape in zip(layout.names, layout.shapes, strict=True)
    ]


def open_sender(
    backend: Backend, deadline_s: float = 20.0, checksum: bool = True, capacity: int = 4096
) -> WeightSender:
    """Open a sender of ``LAYOUT``; ``capacity`` is the size of a bucket in bytes."""
    settings = SenderSettings(
        backend=backend, dtype="float32", bucket_bytes=capacity, checksum=checksum, deadline_s=deadline_s
    )
    return WeightSender(LAYOUT, settings, TRANSPORTS[settings.backend].open_send_buffers(settings.bucket_bytes, HOST))


def make_connection(endpoint: Endpoint, name: str, deadline_s: float = 20.0, capacity: int = 4096) -> Connection:
    """Return the connection of receiver ``name``; ``capacity`` is the size of a bucket in bytes."""
    return Connection(
        endpoint=endpoint,
        receiver=name,
        host=HOST,
        layout=LAYOUT,
        capacity=capacity,
        deadline_s=deadline_s,
        keep_digests=False,
    )


def make_receiver_group(endpoint: Endpoint, name: str) -> ReceiverGroup:
    return ReceiverGroup(endpoint, (name,))


class ReceiverProcess:
    """Weight receiver in a child process, which executes commands one at a time.

    Commands:
        "load": load a version.
        "load, buffering layers": load a version like vLLM, which may keep tensors until their layer is complete.
        "exit midway": exit after the first tensor.
        "hang": sleep for an hour.
    """

    def __init__(self, connection: Connection) -> None:
        context = get_warm_context()
        self.pipe, child_pipe = context.Pipe()
        self.process = context.Process(target=_serve, args=(connection, child_pipe), daemon=True)
        self.process.start()
        child_pipe.close()
        assert self.read_reply() == "connected"

    def send_command(self, command: str, version: int = 0) -> None:
        """Send a command without waiting for its reply."""
        self.pipe.send((command, version))

    def read_reply(self, timeout: float = 300.0) -> Any:
        """Return the tensors loaded by the oldest unanswered command, or its error as "<type>: <message>"."""
        assert self.pipe.poll(timeout), f"no reply from the receiver within {timeout:g} s"
        return self.pipe.recv()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def terminate(self) -> None:
        self.process.terminate()
        self.process.join()


def _serve(connection: Connection, pipe: Pipe) -> None:
    torch.set_num_threads(1)
    receiver = WeightReceiver(connection, open_link(connection))
    pipe.send("connected")
    for command, version in iter(pipe.recv, None):
        if command == "hang":
            time.sleep(3600)
        if command == "exit midway":
            next(receiver.receive_tensors(version))
            os._exit(1)
        pipe.send(_load(receiver, version, command == "load, buffering layers"))


def _load(receiver: WeightReceiver, version: int, buffer_layers: bool) -> list[tuple[str, Tensor]] | str:
    try:
        return list(_consume(receiver, version, buffer_layers))
    except RuntimeError as error:
        receiver.close()
        return f"{type(error).__name__}: {error}"


def _consume(receiver: WeightReceiver, version: int, buffer_layers: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield copies of the tensors; with ``buffer_layers``, hold four at a time, as vLLM may hold those of a layer."""
    held: list[tuple[str, Tensor]] = []
    for name, tensor in receiver.receive_tensors(version):
        held.append((name, tensor))
        if not buffer_layers or len(held) == 4:
            yield from [(name, tensor.clone()) for name, tensor in held]
            held.clear()
        del tensor
    yield from [(name, tensor.clone()) for name, tensor in held]
    held.clear()
