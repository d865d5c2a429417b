"""Standard output of one test: a pipe that the template drains into the file from which the owner reads the answer.

Programs may write to one stream by several descriptors: opened again as /dev/stdout, or by commands that they start. In
a pipe, their writes keep their order. In a file, each opened descriptor would have its own offset and overwrite others.
"""

from __future__ import annotations

import os
import select
import time

PIPE_BYTES = 1 << 16  # capacity of a new pipe
UNWATCHED_S = 0.005  # time in which a program may wait for space in its pipe
STDOUT = 1  # descriptor


class OutputPipe:
    """Pipe for the standard output of a candidate, which inherits it as its own. Create it before the fork.

    Args:
        target: descriptor of the file for the output. It is emptied.
        max_bytes: size at which output ends; None to discard all output.

    Attributes:
        is_full: ``max_bytes`` were written.
    """

    def __init__(self, target: int, max_bytes: int | None) -> None:
        os.ftruncate(target, 0)
        self._target = target
        self._size = 0
        self._reader, writer = os.pipe()
        os.dup2(writer, STDOUT)
        os.close(writer)
        os.set_blocking(self._reader, False)
        self._max_bytes = max_bytes
        self._is_watched = False
        self.is_full = False

    def wait(self, poll: select.poll, seconds: float) -> list[tuple[int, int]]:
        """Wait as ``poll.poll`` does, and store output meanwhile.

        Returns:
            Events of the descriptors in ``poll``; none after ``seconds``, or when the output is full.
        """
        if not self._is_watched:
            # Most tests end soon with little output. Their template does not wake for it.
            events = poll.poll(min(seconds, UNWATCHED_S) * 1000)
            if events:
                return events
            poll.register(self._reader, select.POLLIN)
            self._is_watched = True
        return self._wait_for_others(poll, time.monotonic() + seconds)

    def _wait_for_others(self, poll: select.poll, deadline: float) -> list[tuple[int, int]]:
        while not self.is_full:
            remaining = deadline - time.monotonic()
            ready = poll.poll(max(0.0, remaining) * 1000)
            others = [event for event in ready if event[0] != self._reader]
            if len(others) < len(ready):
                self._store()
            if others or not ready or remaining <= 0:
                return others
        return []

    def close(self) -> None:
        """Store the rest of the output. Called after all processes of the test have ended."""
        while not self.is_full and self._store() == PIPE_BYTES:
            continue
        os.close(self._reader)

    def _store(self) -> int:
        """Store some output. Returns the number of bytes read, 0 if there are none yet."""
        try:
            data = os.read(self._reader, PIPE_BYTES)  # never at its end, since this process is also a writer
        except BlockingIOError:
            return 0
        if self._max_bytes is not None:
            self._size += os.pwrite(self._target, data[: self._max_bytes - self._size], self._size)
            self.is_full = self._size == self._max_bytes
        return len(data)
