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
TARGET = 1  # descriptor of the template's file for standard output


class OutputPipe:
    """Pipe for the standard output of a candidate. Create it before the fork.

    Args:
        max_bytes: size at which output ends; None to discard all output.

    Attributes:
        is_full: ``max_bytes`` were written.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._space = max_bytes
        self._is_watched = False
        self.is_full = False

    def connect(self) -> None:
        """Make the pipe the standard output of the calling process: the candidate."""
        os.close(self._reader)
        os.dup2(self._writer, TARGET)
        os.close(self._writer)

    def close_writer(self) -> None:
        """Leave the pipe's writing end to the candidate. Called in the template after the fork."""
        os.close(self._writer)

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
            if len(others) < len(ready) and self._store() == 0:
                poll.unregister(self._reader)  # or poll would report the end of the output for ever
            if others or not ready or remaining <= 0:
                return others
        return []

    def close(self) -> None:
        """Store the rest of the output. Called after all processes of the test have ended."""
        while not self.is_full and self._store():
            continue
        os.close(self._reader)

    def _store(self) -> int | None:
        """Store some output. Returns the number of bytes read: 0 at the output's end, None if there is none yet."""
        try:
            data = os.read(self._reader, PIPE_BYTES)
        except BlockingIOError:
            return None
        if self._space is not None and data:
            self._space -= os.write(TARGET, data[: self._space])
            self.is_full = self._space == 0
        return len(data)
