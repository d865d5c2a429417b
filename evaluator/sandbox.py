"""Run untrusted programs: a warm interpreter behind kernel fences, one forked process a test, dead trees afterwards.

The verdict's material is only what the kernel tells (exit status, usage) and the bytes the candidate wrote; expected
outputs never come near it. See ``evaluator.inside`` for the other side. Linux 5.9 or later (pidfd). Evaluator section
of arXiv 2603.07777 (MicroCoder-GRPO), which leaves isolation open.
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
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, ClassVar, Literal

from evaluator.errors import RunFailed
from evaluator.inside.report import MARK, Report
from evaluator.inside.values import Values

logger = logging.getLogger(__name__)

START_S = 60.0  # for the interpreter to start, build its fences and import what is common
GRACE_S = 20.0  # what an answer may take beyond the test's own limits, on a loaded machine
PATIENCE = 2.0  # times a call's limit: the most that waiting for a processor may add to it
STDERR_TAIL = 2000  # bytes kept of a program's stderr
INSIDE = Path(__file__).with_name("inside") / "__main__.py"

ReplyKind = Literal["value", "error", "type", "timeout", "exited", "too_long"]
_REPLY_KINDS: tuple[ReplyKind, ...] = ("value", "error", "type")  # those that the harness sends


class SandboxError(RunFailed, RuntimeError):
    """The sandbox failed, not the program. The sandbox starts afresh at its next use."""


class CompileError(ValueError):
    """The source is not a Python program; the message says why."""


class BudgetSpent(Exception):
    """The program used up ``Limits.budget_s``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one test may use. ``wall_s`` and ``cpu_s`` are seconds; ``budget_s`` is for all tests of a program together.

    On a crowded machine, time in which a program was ready to run but got no processor does not count against
    ``wall_s`` (up to twice as much again): else a right program would fail for what its neighbours do.

    ``memory_mb`` bounds the resident memory (MiB) of a test's processes together; each one's address space is bounded
    by that plus 1 GiB, so that a thread with a large reserved stack starts. ``output_bytes`` bounds every file,
    standard output and all scratch files together; ``processes`` counts threads too; ``files`` open descriptors.
    """

    wall_s: float = 6.0
    cpu_s: float = 6.0
    memory_mb: int = 1024
    output_bytes: int = 64 << 20
    processes: int = 64
    files: int = 256
    budget_s: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a test ended. ``exit_code`` is negative for a signal, None if unknown."""

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

    ``missing`` names the fences that the host refuses; they are logged once a process. ``preload`` names modules to
    keep warm, and ``calls`` says that programs will answer calls: both only save time. ``without`` leaves fences of
    these names out on purpose (to test on a good host what a poor one does). ``strict`` makes a missing fence a
    SandboxError.
    """

    _reported: ClassVar[set[tuple[str, ...]]] = set()

    def __init__(
        self,
        preload: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
        strict: bool = False,
        calls: bool = False,
    ) -> None:
        self._preload = preload
        self._calls = calls
        self._without = without
        self._strict = strict
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
        """Start the zygote now rather than at the first program. Raises SandboxError."""
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

    @contextlib.contextmanager
    def program(
        self,
        source: str,
        limits: Limits,
        func_name: str | None = None,
        starter_code: str = "",
        values: Values = "json",
    ) -> Iterator[Program]:
        """A template of ``source``, ready for tests; gone with all its processes when the block is left.

        With ``func_name`` it answers calls of that function, whose ``starter_code`` may name linked lists and trees,
        with ``values`` (see ``evaluator.inside.functional``).
        Raises SandboxError, also inside the block.
        """
        began = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as stack:
            stack.enter_context(ours)
            files = [stack.enter_context(memory_file()) for _ in range(3)]
            write_over(files[2], source.encode("utf-8", "surrogatepass"))  # read before it becomes stderr
            with theirs:
                job = asdict(limits) | {"func_name": func_name, "starter_code": starter_code, "values": values}
                self._send(job, [*files, theirs.fileno()])
            try:
                yield Program(ours, files, limits, began)
            except _ChannelError as error:
                raise self._failed(str(error)) from error
            finally:
                ours.close()  # the template sees the end of its channel and exits
                if self._control is not None:
                    self._expect_done()

    def _send(self, job: dict[str, Any], files: list[int]) -> None:
        control = self._started()
        try:
            control.settimeout(GRACE_S)
            socket.send_fds(control, [json.dumps(job).encode()], files)
        except OSError as error:
            raise self._failed(f"the zygote takes no program: {error}") from error

    def _expect_done(self) -> None:
        if self._receive(GRACE_S) != b"done":
            raise self._failed("the zygote died")

    def _receive(self, timeout: float) -> bytes:
        assert self._control is not None
        self._control.settimeout(timeout)
        try:
            return self._control.recv(65536)
        except TimeoutError as error:
            raise self._failed(f"no word from the zygote in {timeout:.0f} s") from error
        except OSError as error:
            raise self._failed(f"the zygote is gone: {error}") from error

    def _failed(self, reason: str) -> SandboxError:
        if self._log is not None:
            reason += " " + contents(self._log, STDERR_TAIL).decode(errors="replace").strip()
        self.close()  # not a plain kill: where there is no pid namespace, only the guard can end what escaped
        logger.warning("sandbox: %s; it will be restarted", reason)
        return SandboxError(reason)

    def _started(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control = ours
            with theirs:
                self._spawn(theirs.fileno())
            packet = self._receive(START_S)
            if not packet:
                raise self._failed("the zygote did not start")
            self._missing = tuple(json.loads(packet)["missing"])
            if self._missing and self._strict:
                raise self._failed(f"strict, and this host refuses {', '.join(self._missing)}")
            if self._missing and self._missing not in Sandbox._reported:
                Sandbox._reported.add(self._missing)
                logger.warning("sandbox: this host refuses %s", ", ".join(self._missing))
        return self._control

    def _spawn(self, control: int) -> None:
        # A fresh interpreter, not a fork: the owner may have threads, whose locks a forked child would find held.
        try:
            with memory_file() as log:
                self._log = os.dup(log)
                self._process = subprocess.Popen(
                    self._command(control),
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

    def _command(self, control: int) -> list[str]:
        library = list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
        config = {"control": control, "owner": os.getpid(), "library": library}
        config |= {"preload": self._preload, "calls": self._calls, "without": self._without}
        return [sys.executable, "-s", "-P", "-S", "-B", "-X", "utf8", str(INSIDE), json.dumps(config)]


class _ChannelError(Exception):
    """The template broke its protocol or a fence failed: the sandbox's fault."""


class Program:
    """A compiled program, ready for tests; made by ``Sandbox.program``.

    ``dirty`` is set after a test that left files: the next one belongs in a fresh program. ``alive`` is unset when the
    template is gone (a candidate on a host with few fences can end it).
    """

    def __init__(self, channel: socket.socket, files: list[int], limits: Limits, began: float) -> None:
        self._channel = channel
        self._limits = limits
        self._stdin, self._stdout, self._stderr = files
        self._ends = began + limits.budget_s
        self._early: Report | None = None  # of a test that ended while it was asked for something else
        self._ready = False
        self.dirty = False
        self.alive = True

    def run(self, stdin: bytes) -> Ended:
        """Run the program to its end with ``stdin`` as standard input. Raises CompileError, BudgetSpent."""
        self._start_test(stdin, [])
        return self._ended((1 + PATIENCE) * self._limits.wall_s + GRACE_S, self._stdout)

    @contextlib.contextmanager
    def calls(self, wall_s: float) -> Iterator[Calls]:
        """A process that has loaded the program and answers calls, each in ``wall_s``; loading is part of the first.

        The limits of ``Sandbox.program`` are for the process, whatever the number of calls.

        Raises CompileError; BudgetSpent, also when leaving the block.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._start_test(b"", [theirs.fileno()])
            calls = Calls(ours, self, wall_s, self._limits.output_bytes)
            try:
                yield calls
            finally:
                self._tell(b"end")
                calls.ended = self._ended(GRACE_S, None)

    @property
    def spent(self) -> bool:
        """Whether the program's budget has run out."""
        return time.monotonic() >= self._ends

    def delay(self) -> float:
        """Seconds that the running test's process has waited for a processor; 0 if it is gone."""
        self._tell(b"delay")
        message = self._next(GRACE_S) if self.alive else None
        if isinstance(message, Report):
            self._early = message
            return 0.0
        return 0.0 if message is None else float(message[1])

    def last_words(self) -> str:
        """The last line that the program wrote to its standard error."""
        return contents(self._stderr, STDERR_TAIL).decode(errors="replace").strip().rpartition("\n")[2]

    def _start_test(self, stdin: bytes, files: list[int]) -> None:
        """Ask for a test. Raises CompileError and, for a failure of ours, _ChannelError."""
        write_over(self._stdin, stdin)
        self._tell(b"run", files)
        if self._ready:
            return
        # Only now, after the first test was asked for: so the template need not wait for us in its turn.
        message = self._next(self._limits.wall_s + GRACE_S)
        match message:
            case ["ready"]:
                self._ready = True
            case ["compile_error", why]:
                raise CompileError(why)
            case ["failed", why]:
                raise _ChannelError(f"the fences of a program failed: {why}")
            case None:  # the compiler crashed, or met a limit
                raise CompileError("the compiler did not finish")
            case _:
                raise _ChannelError(f"a template said {message!r} before it was ready")

    def _tell(self, word: bytes, files: list[int] | None = None) -> None:
        if not self.alive:
            return
        try:
            self._channel.settimeout(GRACE_S)
            socket.send_fds(self._channel, [word], files or [])
        except OSError:
            self.alive = False

    def _ended(self, timeout: float, stdout: int | None) -> Ended:
        left = self._ends - time.monotonic()
        report, self._early = self._early, None
        if report is None and self.alive:
            message = self._next(min(timeout, left + GRACE_S))
            report = message if isinstance(message, Report) else None
        if report is None:
            self.alive = False
            if self.spent:
                raise BudgetSpent
            return Ended(
                exit_code=None,
                timed_out=False,
                wall_s=0.0,
                cpu_s=0.0,
                memory_mb=0.0,
                stdout=b"",
                stderr="the program ended the process that ran it",
            )
        self.dirty = report.dirty
        return Ended(
            exit_code=report.exit_code,
            timed_out=report.timed_out,
            wall_s=report.wall_s,
            cpu_s=report.cpu_s,
            memory_mb=report.memory_mb,
            stdout=b"" if stdout is None else contents(stdout),
            stderr=contents(self._stderr, STDERR_TAIL).decode(errors="replace"),
        )

    def _next(self, timeout: float) -> Report | list[Any] | None:
        """The template's next message, None at its end."""
        try:
            self._channel.settimeout(max(0.001, timeout))
            packet = self._channel.recv(65536)
        except TimeoutError as error:
            raise _ChannelError(f"no word from a program's template in {timeout:.0f} s") from error
        except OSError:
            return None
        if not packet:
            return None
        if packet[0] == MARK:
            return Report.unpack(packet)
        message: list[Any] = json.loads(packet)
        return message


class Calls:
    """Calls into one loaded program. ``ended`` is set when the ``Program.calls`` block is left."""

    def __init__(self, channel: socket.socket, program: Program, wall_s: float, longest: int) -> None:
        self._channel = channel
        self._program = program
        self._wall_s = wall_s
        self._longest = longest
        self._delay = 0.0  # what the process had waited for a processor when it was last asked
        self.ended: Ended | None = None

    def call(self, arguments: str) -> Reply:
        """Call with one JSON value a line of ``arguments``. After any kind but ``value``, ``error`` and ``type`` the
        process is of no more use. Raises BudgetSpent."""
        nonce = secrets.token_hex(8)
        request = json.dumps({"nonce": nonce, "input": arguments}).encode()
        if self._program.spent:
            raise BudgetSpent
        self._deadline = time.monotonic() + self._wall_s
        self._latest = self._deadline + PATIENCE * self._wall_s
        try:
            self._channel.settimeout(self._wall_s)
            self._channel.sendall(len(request).to_bytes(4, "big") + request)
            size = int.from_bytes(self._read(8), "big")
            if size > self._longest:
                return Reply("too_long", f"a result of {size} bytes")
            return read_reply(self._read(size), nonce)
        except TimeoutError:
            return Reply("timeout", f"no result in {self._wall_s:g} s")
        except (ConnectionError, EOFError):
            return Reply("exited", self._program.last_words() or "exited without an answer")
        except ValueError as error:
            return Reply("exited", f"the program wrote to the private channel: {error}")

    def _read(self, size: int) -> bytes:
        chunks = []
        missing = size
        while missing:
            left = self._deadline - time.monotonic()
            if left <= 0 and not self._extend():
                raise TimeoutError
            self._channel.settimeout(max(left, 0.001))
            try:
                chunk = self._channel.recv(min(missing, 1 << 20))
            except TimeoutError:
                continue
            if not chunk:
                raise EOFError
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def _extend(self) -> bool:
        """Give back the time that the process waited for a processor since it was last asked; False if it did not."""
        delay = self._program.delay()
        given, self._delay = delay - self._delay, max(delay, self._delay)
        self._deadline = min(self._deadline + given, self._latest)
        return given > 0 and time.monotonic() < self._deadline


def read_reply(frame: bytes, nonce: str) -> Reply:
    """The reply in ``[nonce, kind, text]``, ASCII JSON. Raises ValueError for anything else.

    A frame that was written before the question was asked cannot know the nonce. Not by json.loads, which would build
    whatever a forged frame describes: of 60 MB of empty lists, a gigabyte and a half.
    """
    heads = [f'["{nonce}", "{kind}", "'.encode() for kind in _REPLY_KINDS]
    head = next((head for head in heads if frame.startswith(head)), None)
    if head is None:
        raise ValueError("not the harness's reply")
    text, end = scanstring(frame.decode("ascii"), len(head), True)
    if frame[end:] != b"]":
        raise ValueError("not one reply")
    return Reply(_REPLY_KINDS[heads.index(head)], text)


@contextlib.contextmanager
def memory_file() -> Iterator[int]:
    """An empty anonymous file; a real descriptor for a candidate, gone with its last user."""
    descriptor = os.memfd_create("job")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_over(descriptor: int, data: bytes) -> None:
    """Make ``data`` all that the file holds."""
    os.ftruncate(descriptor, 0)
    view = memoryview(data)
    offset = 0
    while offset < len(view):
        offset += os.pwrite(descriptor, view[offset:], offset)


def contents(descriptor: int, tail: int | None = None) -> bytes:
    """What the file holds, or the last ``tail`` bytes of it."""
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
