"""A sender in this process and receivers in processes of their own, without learner or engine."""

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
from actors.weights.sender import SenderSettings, WeightSender, open_send_buffers
from tests.warm_processes import warm_context

HOST = "127.0.0.1"
SHAPES = ((700,), (5, 8), (33, 33), (3,), (64, 4), (2000,))
"""Of float32: with buckets of 4,096 bytes two are cut, the others lie whole in a bucket, alone or together."""
LAYOUT = WeightLayout(tuple(f"tensor {index}" for index in range(len(SHAPES))), SHAPES, torch.float32)


def tensors_of(version: int, layout: WeightLayout = LAYOUT) -> list[tuple[str, Tensor]]:
    """The model's weights at a version."""
    generator = torch.Generator().manual_seed(version)
    return [
        (name, torch.randn(shape, generator=generator).to(layout.dtype))
        for name, shape in zip(layout.names, layout.shapes, strict=True)
    ]


def sender_of(backend: Backend, deadline_s: float = 20.0, checksum: bool = True, capacity: int = 4096) -> WeightSender:
    settings = SenderSettings(
        backend=backend, dtype="float32", bucket_bytes=capacity, checksum=checksum, deadline_s=deadline_s
    )
    return WeightSender(LAYOUT, settings, open_send_buffers(settings, HOST))


def connection_of(endpoint: Endpoint, name: str, deadline_s: float = 20.0, capacity: int = 4096) -> Connection:
    return Connection(
        endpoint=endpoint,
        receiver=name,
        host=HOST,
        layout=LAYOUT,
        capacity=capacity,
        deadline_s=deadline_s,
        compare=False,
    )


def receiver_group_of(endpoint: Endpoint, name: str) -> ReceiverGroup:
    return ReceiverGroup(endpoint, (name,))


class Receiver:
    """A process that is told what to do, one thing at a time."""

    def __init__(self, connection: Connection) -> None:
        context = warm_context()
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(connection, theirs), daemon=True)
        self.process.start()
        theirs.close()
        assert self.answer() == "connected"

    def tell(self, order: str, version: int = 0) -> None:
        self.pipe.send((order, version))

    def answer(self, timeout: float = 60.0) -> Any:
        assert self.pipe.poll(timeout), "the receiver does not answer"
        return self.pipe.recv()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def end(self) -> None:
        self.process.terminate()
        self.process.join()


def _serve(connection: Connection, pipe: Pipe) -> None:
    torch.set_num_threads(1)
    receiver = WeightReceiver(connection, open_link(connection))
    pipe.send("connected")
    for order, version in iter(pipe.recv, None):
        if order == "hang":
            time.sleep(3600)
        if order == "die in the middle":
            next(receiver.tensors(version))
            os._exit(1)
        pipe.send(_loaded(receiver, version, order == "load, keeping layers"))


def _loaded(receiver: WeightReceiver, version: int, keep: bool) -> list[tuple[str, Tensor]] | str:
    try:
        return list(_consume(receiver, version, keep))
    except RuntimeError as error:
        receiver.close()
        return f"{type(error).__name__}: {error}"


def _consume(receiver: WeightReceiver, version: int, keep: bool) -> Iterator[tuple[str, Tensor]]:
    """As vLLM does, which may keep some tensors until others of their layer have come."""
    kept: list[tuple[str, Tensor]] = []
    for name, tensor in receiver.tensors(version):
        kept.append((name, tensor))
        if not keep or len(kept) == 4:
            yield from [(name, tensor.clone()) for name, tensor in kept]
            kept.clear()
        del tensor
    yield from [(name, tensor.clone()) for name, tensor in kept]
    kept.clear()
