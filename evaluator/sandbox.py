"""Run untrusted programs: a warm interpreter behind kernel fences, one forked process a test, dead trees afterwards.

The verdict's material is only what the kernel tells (exit status, usage) and the bytes the candidate wrote; expected
outputs never come near it. See ``zygote.py`` for the inside. Linux 5.3 or later (pidfd). Evaluator section of
arXiv 2603.07777 (MicroCoder-GRPO), which leaves isolation open.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

logger = logging.getLogger(__name__)

START_S = 60.0  # for the interpreter to start, build its fences and import what is common
GRACE_S = 20.0  # what a report may take beyond the job's own wall limit (imports of numpy, a loaded machine)
STDERR_TAIL = 2000  # bytes kept of a program's stderr
ZYGOTE = Path(__file__).with_name("zygote.py")

ReplyKind = Literal["value", "error", "type", "timeout", "exited", "too_long"]


class SandboxError(RuntimeError):
    """The sandbox failed, not the program. The sandbox starts afresh at its next use."""


class CompileError(ValueError):
    """The source is not a Python program; the message says why."""


@dataclass(frozen=True)
class Limits:
    """What one test may use. ``wall_s`` and ``cpu_s`` are seconds.

    ``memory_mb`` bounds the resident memory (MiB, as measured at the end); the address space is bounded by that plus 1
    GiB, so that a thread with a large reserved stack starts. ``output_bytes`` bounds every file, standard output and
    all scratch files together; ``processes`` counts threads too; ``files`` is the number of open descriptors.
    """

    wall_s: float = 6.0
    cpu_s: float = 6.0
    memory_mb: int = 1024
    output_bytes: int = 64 << 20
    processes: int = 64
    files: int = 256


@dataclass(frozen=True)
class Ended:
    """How a job ended. ``exit_code`` is negative for a signal, None if the job was ended from outside."""

    exit_code: int | None
    timed_out: bool
    wall_s: float
    cpu_s: float
    memory_mb: float
    stdout: bytes
    stderr: str


@dataclass(frozen=True)
class Reply:
    """The answer to one call: ``text`` is JSON for kind ``value``, else an explanation."""

    kind: ReplyKind
    text: str


class Sandbox:
    """A warm zygote. One thread at a time may use it; it starts at its first use and again after a failure.

    ``missing`` names the fences that the host refuses; they are logged once a process. ``without`` leaves fences of
    these names out on purpose (to test on a good host what a poor one does).
    """

    _reported: ClassVar[set[tuple[str, ...]]] = set()

    def __init__(self, without: tuple[str, ...] = ()) -> None:
        self._without = without
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._log: int | None = None  # what the zygote itself writes to stderr: only ever its own tracebacks
        self._missing: tuple[str, ...] = ()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the fences this host refuses; starts the zygote if it does not run."""
        self._started()
        return self._missing

    @property
    def zygote_pid(self) -> int | None:
        """Process id of the zygote's guard, None before the first use."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the zygote now rather than at the first job. Raises SandboxError."""
        self._started()

    def close(self) -> None:
        """End the zygote and all below it. The sandbox may be used again, and then starts afresh."""
        if self._control is not None:
            self._control.close()  # the cell sees the end of its control socket, kills what runs, and exits
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def compile(self, source: str, limits: Limits) -> bytes:
        """Marshalled code object of ``source``, made in a fenced child. Raises CompileError, SandboxError."""
        data = source.encode("utf-8", "surrogatepass")
        ended = self._job({"kind": "compile"}, limits, limits.wall_s, data, b"")
        if ended.exit_code == 0 and not ended.timed_out:
            return ended.stdout
        if ended.exit_code == 3:
            raise CompileError(ended.stderr)
        raise CompileError(f"the compiler did not finish (exit {ended.exit_code}, {ended.wall_s:.1f} s)")

    def run(self, program: bytes, stdin: bytes, limits: Limits) -> Ended:
        """Run a compiled program to its end with ``stdin`` as standard input. Raises SandboxError."""
        return self._job({"kind": "stdin"}, limits, limits.wall_s, program, stdin)

    @contextlib.contextmanager
    def calls(self, program: bytes, func_name: str, limits: Limits, total_s: float) -> Iterator[Calls]:
        """A child that has loaded ``program`` and answers calls of ``func_name``; at most ``total_s`` in all.

        The child is loaded within the first call's limit. Raises SandboxError, also when leaving the block.
        """
        ours, theirs = socket.socketpair()
        with ours, _memory_file(program) as code, _memory_file(b"") as stderr:
            with theirs, open(os.devnull, "r+b", buffering=0) as null:
                files = [code, null.fileno(), null.fileno(), stderr, theirs.fileno()]
                self._send({"kind": "functional", "func_name": func_name}, limits, total_s, files)
            calls = Calls(ours, stderr, limits)
            try:
                yield calls
            finally:
                self._tell({"kind": "end"})
                calls.ended = self._report(GRACE_S, None, stderr)

    def _job(self, job: dict[str, Any], limits: Limits, wall_s: float, program: bytes, stdin: bytes) -> Ended:
        with contextlib.ExitStack() as files:
            code, source, out, err = (files.enter_context(_memory_file(data)) for data in (program, stdin, b"", b""))
            self._send(job, limits, wall_s, [code, source, out, err])
            return self._report(wall_s + GRACE_S, out, err)

    def _send(self, job: dict[str, Any], limits: Limits, wall_s: float, files: list[int]) -> None:
        control = self._started()
        packet = json.dumps({**asdict(limits), **job, "wall_s": wall_s}).encode()
        try:
            control.settimeout(GRACE_S)
            socket.send_fds(control, [packet], files)
        except OSError as error:
            raise self._failed(f"the zygote takes no job: {error}") from error

    def _tell(self, message: dict[str, Any]) -> None:
        if self._control is None:
            raise SandboxError("the zygote is gone")
        try:
            self._control.send(json.dumps(message).encode())
        except OSError as error:
            raise self._failed(f"the zygote is gone: {error}") from error

    def _report(self, timeout: float, out: int | None, err: int) -> Ended:
        report = self._receive(timeout)
        if report["setup"] != "ok":
            raise self._failed(f"the fences of a job failed: {report['setup'] or 'no word from the child'}")
        return Ended(
            exit_code=report["exit"],
            timed_out=report["timed_out"],
            wall_s=report["wall_s"],
            cpu_s=report["cpu_s"],
            memory_mb=report["memory_mb"],
            stdout=b"" if out is None else _contents(out),
            stderr=_contents(err, STDERR_TAIL).decode(errors="replace"),
        )

    def _receive(self, timeout: float) -> dict[str, Any]:
        assert self._control is not None
        self._control.settimeout(timeout)
        try:
            packet = self._control.recv(65536)
        except TimeoutError as error:
            raise self._failed(f"no report from the zygote in {timeout:.0f} s") from error
        except OSError as error:
            raise self._failed(f"the zygote is gone: {error}") from error
        if not packet:
            raise self._failed("the zygote died")
        message: dict[str, Any] = json.loads(packet)
        return message

    def _failed(self, reason: str) -> SandboxError:
        if self._log is not None:
            reason += " " + _contents(self._log, STDERR_TAIL).decode(errors="replace").strip()
        self.close()  # not a plain kill: where there is no pid namespace, only the guard can end what escaped
        logger.warning("sandbox: %s; it will be restarted", reason)
        return SandboxError(reason)

    def _started(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control = ours
            with theirs:
                self._spawn(theirs.fileno())
            self._missing = tuple(self._receive(START_S)["missing"])
            if self._missing and self._missing not in Sandbox._reported:
                Sandbox._reported.add(self._missing)
                logger.warning("sandbox: this host refuses %s", ", ".join(self._missing))
        return self._control

    def _spawn(self, control: int) -> None:
        # A fresh interpreter, not a fork: the owner may have threads, whose locks a forked child would find held.
        try:
            with _memory_file(b"") as log:
                self._log = os.dup(log)
                self._process = subprocess.Popen(
                    _command(control, self._without),
                    # Not -I, which would ignore the hash seed: with a random one, the order of a set of strings, and so
                    # the verdict on a program that prints it, would change from zygote to zygote.
                    env={"PYTHONHASHSEED": "0"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    pass_fds=[control],
                    start_new_session=True,
                    cwd="/",
                )
        except OSError as error:
            raise self._failed(f"no zygote can be started: {error}") from error


class Calls:
    """Calls into one loaded program. ``ended`` is set when the ``Sandbox.calls`` block is left."""

    def __init__(self, channel: socket.socket, stderr: int, limits: Limits) -> None:
        self._channel, self._stderr, self._limits = channel, stderr, limits
        self.ended: Ended | None = None

    def call(self, arguments: str) -> Reply:
        """Call with one JSON value a line of ``arguments``. After any kind but ``value``, ``error`` and ``type`` the
        child is of no more use."""
        nonce = secrets.token_hex(8)
        request = json.dumps({"nonce": nonce, "input": arguments}).encode()
        deadline = time.monotonic() + self._limits.wall_s
        try:
            self._channel.settimeout(self._limits.wall_s)
            self._channel.sendall(len(request).to_bytes(4, "big") + request)
            size = int.from_bytes(self._read(8, deadline), "big")
            if size > self._limits.output_bytes:
                return Reply("too_long", f"a result of {size} bytes")
            # A frame that was written before the question was asked cannot know the nonce.
            answer = json.loads(self._read(size, deadline))
            given, kind, text = answer
            if given != nonce or kind not in ("value", "error", "type") or not isinstance(text, str):
                raise ValueError("not the harness's reply")
        except TimeoutError:
            return Reply("timeout", f"no result in {self._limits.wall_s:g} s")
        except (ConnectionError, EOFError):
            return Reply("exited", _last_line(_contents(self._stderr, STDERR_TAIL).decode(errors="replace")))
        except (ValueError, TypeError, RecursionError) as error:
            return Reply("exited", f"the program wrote to the private channel: {error}")
        return Reply(kind, text)

    def _read(self, size: int, deadline: float) -> bytes:
        chunks, missing = [], size
        while missing:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            chunk = self._channel.recv(min(missing, 1 << 20))
            if not chunk:
                raise EOFError
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)


def _command(control: int, without: tuple[str, ...]) -> list[str]:
    library = list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
    config = json.dumps({"control": control, "owner": os.getpid(), "library": library, "without": without})
    return [sys.executable, "-s", "-P", "-S", "-B", "-X", "utf8", str(ZYGOTE), config]


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[int]:
    """An anonymous file holding ``data``, at its beginning; a real descriptor for a candidate, gone with its user."""
    descriptor = os.memfd_create("job")
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _contents(descriptor: int, tail: int | None = None) -> bytes:
    size = os.fstat(descriptor).st_size
    start = 0 if tail is None else max(0, size - tail)
    chunks = []
    while start < size:
        chunk = os.pread(descriptor, size - start, start)
        if not chunk:
            break
        chunks.append(chunk)
        start += len(chunk)
    return b"".join(chunks)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "exited without an answer"
