"""Rate the blocks of an answer in a process of its own, which ``evaluator.syntax`` describes."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

from evaluator.sandbox import SandboxError
from evaluator.syntax import Fit, Rating, Request

SCRIPT = Path(__file__).with_name("syntax.py")
# A request ends with its CPU time, however long that takes on a crowded machine. If the process uses none at all for
# so long, it is stopped or frozen.
STALL_S = 30.0
# Signals with which the text itself can end the process: out of CPU time, out of stack, or by a fault of the parser.
_TEXT_SIGNALS = frozenset({signal.SIGPROF, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})

T = TypeVar("T")

logger = logging.getLogger(__name__)


class ParserProcess:
    """Process that rates blocks, one request at a time. It starts when first used, and again after its end.

    Any thread may use it. A forked child of the owner gets a process of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None before the first use."""
        return None if self._process is None else self._process.pid

    def rate(self, request: Request) -> list[Rating]:
        """Rate the blocks in order, up to the first that is final and complete.

        Returns fewer ratings, or none, if the process cannot parse the blocks within its limits: no block of such an
        answer counts.

        Raises:
            SandboxError: the process failed twice for another reason, such as a signal from outside.
        """
        reason: str | None = None
        with self._lock:
            for _ in range(2):
                try:
                    return self._exchange(request)
                except OSError as error:  # includes TimeoutError
                    reason = self._stop(str(error))
                except BaseException:  # such as Ctrl-C: the next request must not get the reply to this one
                    self._stop("interrupted")
                    raise
                if reason is None:
                    return []
                logger.warning("the parser process failed: %s", reason)
        raise SandboxError(f"the parser process failed twice: {reason}")

    def close(self) -> None:
        """Stop the process. It starts again if it is used again."""
        with self._lock:
            self._stop("closed")

    def _exchange(self, request: Request) -> list[Rating]:
        connection = self._ensure_started()
        data = memoryview(json.dumps(asdict(request)).encode() + b"\n")
        while data:
            data = data[self._wait_for(partial(connection.send, data)) :]
        reply = b""
        while not reply.endswith(b"\n"):
            chunk = self._wait_for(partial(connection.recv, 1 << 16))
            if not chunk:
                raise ConnectionResetError("it ended")
            reply += chunk
        return [Rating(Fit(fit), reading) for fit, reading in json.loads(reply)]

    def _wait_for(self, action: Callable[[], T]) -> T:
        """Do ``action``, again after each timeout as long as the process uses CPU time. Raises TimeoutError."""
        ticks = -1
        while True:
            try:
                return action()
            except TimeoutError:
                last = ticks
                ticks = self._read_cpu_ticks()
                if ticks == last:
                    raise

    def _read_cpu_ticks(self) -> int:
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # user and system time

    def _ensure_started(self) -> socket.socket:
        if self._connection is None:
            owner_end, child_end = socket.socketpair()
            with child_end:
                # -S and -I: nothing but the standard library, and nothing of the owner's environment.
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(SCRIPT)],
                    env={},
                    stdin=child_end.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    process_group=0,  # a Ctrl-C is for the owner
                    cwd="/",
                )
            owner_end.settimeout(STALL_S)
            self._connection = owner_end
        return self._connection

    def _stop(self, reason: str) -> str | None:
        """Stop the process. Return why it failed; None if it ended because of what it parsed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is None:
            return reason
        process, self._process = self._process, None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)  # it has ended, or ends now because its connection is closed
        process.kill()
        status = process.wait()
        return None if -status in _TEXT_SIGNALS else f"{reason} (exit status {status})"

    def forget(self) -> None:
        """Forget the process, in a forked child: it belongs to the parent."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._process = None
        self._lock = threading.Lock()  # the old one may be held by a thread that exists in the parent only


shared_parser = ParserProcess()
"""Parser process of this process, for all answers."""

os.register_at_fork(after_in_child=shared_parser.forget)
atexit.register(shared_parser.close)
