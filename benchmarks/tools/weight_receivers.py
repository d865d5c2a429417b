"""Weight receivers without an engine, each in its own process: they copy received tensors into their own memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe

import torch

from actors.weights.receiver import Connection, WeightReceiver, open_link

ANSWER_TIMEOUT_S = 120.0


class ReceiverProcess:
    """The benchmark's handle of a receiver process."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.wait_for_answer()

    def start_receiving(self, version: int) -> None:
        """Make the process receive weights ``version``, without waiting for it."""
        self.pipe.send(version)

    def wait_for_answer(self) -> None:
        """Wait until the process has started, or has received all weights.

        Raises:
            TimeoutError: the process did not answer in time.
            EOFError: the process died.
        """
        if not self.pipe.poll(ANSWER_TIMEOUT_S):
            raise TimeoutError(f"a receiver process did not answer within {ANSWER_TIMEOUT_S:g} s")
        self.pipe.recv()


@contextmanager
def start_receiver(connection: Connection) -> Iterator[ReceiverProcess]:
    """Start a process that receives weights over ``connection``, and end it when the block is left."""
    context = multiprocessing.get_context("spawn")
    parent_pipe, child_pipe = context.Pipe()
    process = context.Process(target=_receive, args=(connection, child_pipe), daemon=True)
    process.start()
    try:
        yield ReceiverProcess(parent_pipe)
    finally:
        process.terminate()
        process.join()


def _receive(connection: Connection, pipe: Pipe) -> None:
    torch.set_num_threads(1)
    receiver = WeightReceiver(connection, open_link(connection))
    pipe.send("ready")
    for version in iter(pipe.recv, None):
        for _ in receiver.receive_tensors(version):  # copies each tensor into its own memory
            pass
        pipe.send("loaded")
