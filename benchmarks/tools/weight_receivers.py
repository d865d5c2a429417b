"""Receivers of weights without an engine, each a process: they copy what comes into memory of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe

import torch

from actors.weights.receiver import Connection, WeightReceiver, open_link

ANSWER_S = 120.0


class Receiver:
    """The benchmark's side of one receiving process."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.wait()

    def begin(self, version: int) -> None:
        """Let it load ``version``."""
        self.pipe.send(version)

    def wait(self) -> None:
        """Return when it is ready, or has loaded. Raises TimeoutError, EOFError when it died."""
        if not self.pipe.poll(ANSWER_S):
            raise TimeoutError(f"a receiver did not answer within {ANSWER_S:g} s")
        self.pipe.recv()


@contextmanager
def receiver(connection: Connection) -> Iterator[Receiver]:
    """A process that has joined as ``connection`` says; ended when the block is left."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_receive, args=(connection, theirs), daemon=True)
    process.start()
    try:
        yield Receiver(ours)
    finally:
        process.terminate()
        process.join()


def _receive(connection: Connection, pipe: Pipe) -> None:
    torch.set_num_threads(1)
    receiver = WeightReceiver(connection, open_link(connection))
    pipe.send("ready")
    for version in iter(pipe.recv, None):
        for _ in receiver.tensors(version):  # each in memory of its own
            pass
        pipe.send("loaded")
