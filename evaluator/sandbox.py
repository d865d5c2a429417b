"""Run untrusted programs in a sandbox: a warm interpreter, isolated by the kernel, that forks a process for each test.

Each isolation mechanism (a namespace, the private root, Landlock, seccomp, a resource limit, ...) is called a *fence*
and has a name; a host may not support all of them. Verdicts depend only on facts from the kernel (exit status, resource
usage) and on the bytes that the candidate wrote. Expected outputs never enter the sandbox. The code that runs inside is
in ``evaluator.inside``. Requires Linux 5.9 or later (pidfd). The paper (arXiv 2603.07777, MicroCoder-GRPO, evaluator
section) does not specify the isolation.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, ClassVar, Literal

from evaluator.errors import RunFailed
from evaluator.inside.report import MARK, Report
from evaluator.inside.values import ValueFormat

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0  # for the interpreter to start, build its fences and import the common modules
GRACE_S = 20.0  # how much longer than the test's own limits a reply may take, on a loaded machine
MAX_SCHEDULING_DELAY_FACTOR = (
    2.0  # how far waiting for a processor can extend a time limit, as a multiple of that limit
)
STDERR_TAIL = 2000  # bytes of a program's stderr to keep
ZYGOTE_SCRIPT = Path(__file__).with_name("inside") / "__main__.py"

ReplyKind = Literal["value", "error", "type", "timeout", "exited", "too_long"]
_REPLY_KINDS: tuple[ReplyKind, ...] = ("value", "error", "type")  # the kinds that the harness itself sends


class SandboxError(RunFailed, RuntimeError):
    """Failure of the sandbox, not of the program. The sandbox restarts at its next use."""


class CompileError(ValueError):
    """Error for source that is not a Python program; the message gives the reason."""


class BudgetExceeded(Exception):
    """Error for a program that used up ``Limits.budget_s``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Resource limits of one test.

    On a crowded machine, the time for which a program was ready to run but got no processor does not count towards
    ``wall_s``, up to twice ``wall_s``. Otherwise a correct program could fail because of other programs.

    Attributes:
        wall_s: wall time in seconds.
        cpu_s: CPU time in seconds.
        memory_mb: resident memory in MiB of all processes of the test together. The address space of each process is
            limited to 1 GiB more than this, so that a thread with a large reserved stack can start.
        output_bytes: size of each file: standard output and, together, all scratch files.
        processes: number of processes and threads.
        files: number of open descriptors.
        budget_s: wall time in seconds for all tests of a program together.
    """

    wall_s: float = 6.0
    cpu_s: float = 6.0
    memory_mb: int = 1024
    output_bytes: int = 64 << 20
    processes: int = 64
    files: int = 256
    budget_s: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessResult:
    """Result of the process of a test.

    Attributes:
        exit_code: exit code; negative for a signal, None if unknown.
        timed_out: the process hit its wall limit and was killed.
        wall_s: wall time in seconds.
        cpu_s: CPU time in seconds.
        memory_mb: peak resident memory in MiB.
        stdout: standard output.
        stderr: the end of standard error.
    """

    exit_code: int | None
    timed_out: bool
    wall_s: float
    cpu_s: float
    memory_mb: float
    stdout: bytes
    stderr: str


@dataclass(frozen=True)
class Reply:
    """Reply to one call. ``text`` is JSON for kind ``value``, otherwise an explanation."""

    kind: ReplyKind
    text: str


class Sandbox:
    """Warm zygote process from which programs are forked. It starts when first used, and again after a failure.

    Only one thread at a time may use a sandbox.

    Args:
        preload: modules to import once, so that programs which import them start faster.
        without: names of fences not to build, to test what happens on a host without them.
        strict: raise SandboxError if the host does not support a fence. Otherwise missing fences are logged once.
        calls: prepare for programs whose functions are called, to save time.
    """

    _reported_missing: ClassVar[set[tuple[str, ...]]] = set()

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
        self._log: int | None = None  # stderr of the zygote itself, never of a candidate: only its own tracebacks
        self._missing_fences: tuple[str, ...] = ()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def missing_fences(self) -> tuple[str, ...]:
        """Names of the fences that this host does not support. Starts the zygote if it is not running."""
        self._ensure_started()
        return self._missing_fences

    @property
    def guard_pid(self) -> int | None:
        """Process id of the guard, which watches the zygote; None before the first use."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the zygote now instead of with the first program. Raises SandboxError."""
        self._ensure_started()

    def close(self) -> None:
        """Stop the zygote and all its descendants. The sandbox starts again if it is used again."""
        if self._control is not None:
            # The cell sees its control socket closed, kills running programs, and exits.
            _close_for_all_holders(self._control)
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
    def load_program(
        self,
        source: str,
        limits: Limits,
        func_name: str | None = None,
        starter_code: str = "",
        values: ValueFormat = "json",
    ) -> Iterator[SandboxedProgram]:
        """Load a program for testing. Leaving the ``with`` block ends all its processes.

        Args:
            source: source of the program.
            limits: limits of each test, or of the process that answers calls.
            func_name: function to call; None for a program that reads standard input.
            starter_code: starter code of a functional problem. Its annotations may name linked lists and trees.
            values: encoding of arguments and results, see ``evaluator.inside.functional``.

        Raises:
            SandboxError: the sandbox failed. May also be raised inside the ``with`` block.
        """
        start_time = time.monotonic()
        owner_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as stack:
            stack.enter_context(owner_end)
            files = [stack.enter_context(open_memory_file()) for _ in range(3)]
            # The template reads the source from this file before it uses the file as stderr.
            replace_contents(files[2], source.encode("utf-8", "surrogatepass"))
            with child_end:
                job = asdict(limits) | {"func_name": func_name, "starter_code": starter_code, "values": values}
                self._send(job, [*files, child_end.fileno()])
            try:
                yield SandboxedProgram(owner_end, files, limits, start_time)
            except _ChannelError as error:
                raise self._close_after_failure(str(error)) from error
            finally:
                _close_for_all_holders(owner_end)  # the template sees its channel closed and exits
                if self._control is not None:
                    self._wait_for_done()

    def _send(self, job: dict[str, Any], files: list[int]) -> None:
        control = self._ensure_started()
        try:
            control.settimeout(GRACE_S)
            socket.send_fds(control, [json.dumps(job).encode()], files)
        except OSError as error:
            raise self._close_after_failure(f"cannot send the program to the zygote: {error}") from error

    def _wait_for_done(self) -> None:
        if self._receive(GRACE_S) != b"done":
            raise self._close_after_failure("the zygote exited")

    def _receive(self, timeout: float) -> bytes:
        assert self._control is not None
        self._control.settimeout(timeout)
        try:
            return self._control.recv(65536)
        except TimeoutError as error:
            raise self._close_after_failure(f"the zygote did not answer within {timeout:.0f} s") from error
        except OSError as error:
            raise self._close_after_failure(f"lost the connection to the zygote: {error}") from error

    def _close_after_failure(self, reason: str) -> SandboxError:
        if self._log is not None:
            reason += " " + read_contents(self._log, STDERR_TAIL).decode(errors="replace").strip()
        self.close()  # not a plain kill: without a pid namespace, only the guard can kill processes that escaped
        logger.warning("sandbox failed, it will be restarted at its next use: %s", reason)
        return SandboxError(reason)

    def _ensure_started(self) -> socket.socket:
        if self._control is None:
            owner_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control = owner_end
            with child_end:
                self._spawn(child_end.fileno())
            packet = self._receive(START_TIMEOUT_S)
            if not packet:
                raise self._close_after_failure("the zygote did not start")
            self._missing_fences = tuple(json.loads(packet)["missing"])
            if self._missing_fences and self._strict:
                raise self._close_after_failure(
                    f"{describe_missing_fences(self._missing_fences)}, which strict requires"
                )
            if self._missing_fences and self._missing_fences not in Sandbox._reported_missing:
                Sandbox._reported_missing.add(self._missing_fences)
                logger.warning("%s", describe_missing_fences(self._missing_fences))
        return self._control

    def _spawn(self, control: int) -> None:
        # A fresh interpreter, not a fork: the owner may have threads, whose locks a forked child would inherit locked.
        try:
            with open_memory_file() as log:
                self._log = os.dup(log)
                self._process = subprocess.Popen(
                    self._build_command(control),
                    # Not -I, which would ignore the hash seed: with a random seed, the order of a set of strings, and
                    # so the verdict on a program that prints one, would change from zygote to zygote.
                    env={"PYTHONHASHSEED": "0"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,  # its sys.stdout must be made for a pipe, as candidates have one
                    stderr=log,
                    pass_fds=[control],
                    start_new_session=True,
                    cwd="/",
                )
            assert self._process.stdout is not None
            self._process.stdout.close()
        except OSError as error:
            raise self._close_after_failure(f"cannot start the zygote process: {error}") from error

    def _build_command(self, control: int) -> list[str]:
        library = list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
        config = {"control": control, "owner": os.getpid(), "library": library}
        config |= {"preload": self._preload, "calls": self._calls, "without": self._without}
        return [sys.executable, "-s", "-P", "-S", "-B", "-X", "utf8", str(ZYGOTE_SCRIPT), json.dumps(config)]


def _close_for_all_holders(end: socket.socket) -> None:
    """Close a connection, also if a process that was forked from the owner still holds a copy of this end."""
    with contextlib.suppress(OSError):  # the other side is gone
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def describe_missing_fences(fences: Iterable[str]) -> str:
    """Return the message that this host does not support some fences."""
    return f"sandbox isolation is incomplete: this host does not support {', '.join(fences)} (docs/evaluator.md)"


class _ChannelError(Exception):
    """Protocol violation by the template, or a fence that failed: a failure of the sandbox, not of the program."""


class SandboxedProgram:
    """Compiled program, ready to run tests. Created by ``Sandbox.load_program``.

    Attributes:
        dirty: the last test left files, so the next test must run in a freshly loaded program.
        alive: False if the template process is gone. On a host with few fences a candidate can kill it.
    """

    def __init__(self, channel: socket.socket, files: list[int], limits: Limits, start_time: float) -> None:
        self._channel = channel
        self._limits = limits
        self._stdin, self._stdout, self._stderr = files
        self._budget_deadline = start_time + limits.budget_s
        self._early_report: Report | None = None  # report that arrived instead of the answer to another request
        self._ready = False
        self.dirty = False
        self.alive = True

    def run(self, stdin: bytes) -> ProcessResult:
        """Run the program to its end with ``stdin`` as standard input. Raises CompileError, BudgetExceeded."""
        self._start_test(stdin, [])
        return self._collect_result((1 + MAX_SCHEDULING_DELAY_FACTOR) * self._limits.wall_s + GRACE_S, self._stdout)

    @contextlib.contextmanager
    def start_calls(self, wall_s: float) -> Iterator[CallSession]:
        """Start a process that loads the program and answers calls.

        Each call may take ``wall_s`` seconds; the first one includes loading the program. The limits given to
        ``Sandbox.load_program`` apply to the process as a whole. Raises CompileError, and BudgetExceeded, which may
        also be raised when the ``with`` block is left.
        """
        owner_end, child_end = socket.socketpair()
        with owner_end:
            with child_end:
                self._start_test(b"", [child_end.fileno()])
            calls = CallSession(owner_end, self, wall_s, self._limits.output_bytes)
            try:
                yield calls
            finally:
                self._send_word(b"end")
                calls.process_result = self._collect_result(GRACE_S, None)

    @property
    def is_budget_exceeded(self) -> bool:
        """True if the program has used up its time budget."""
        return time.monotonic() >= self._budget_deadline

    def request_scheduling_delay(self) -> float:
        """Return the seconds for which the process of the running test has waited for a processor; 0 if it is gone."""
        self._send_word(b"delay")
        message = self._receive_message(GRACE_S) if self.alive else None
        if isinstance(message, Report):
            self._early_report = message
            return 0.0
        return 0.0 if message is None else float(message[1])

    def last_stderr_line(self) -> str:
        """Return the last line that the program wrote to standard error."""
        return read_contents(self._stderr, STDERR_TAIL).decode(errors="replace").strip().rpartition("\n")[2]

    def _start_test(self, stdin: bytes, files: list[int]) -> None:
        """Request a test. Raises CompileError, or _ChannelError if the sandbox failed."""
        replace_contents(self._stdin, stdin)
        self._send_word(b"run", files)
        if self._ready:
            return
        # Read only after the first test was requested, so that the template does not have to wait for that request.
        message = self._receive_message(self._limits.wall_s + GRACE_S)
        match message:
            case ["ready"]:
                self._ready = True
            case ["compile_error", reason]:
                raise CompileError(reason)
            case ["failed", reason]:
                raise _ChannelError(f"cannot isolate the program: {reason}")
            case None:  # the compiler crashed, or hit a limit
                raise CompileError("the compiler did not finish")
            case _:
                raise _ChannelError(f"unexpected message {message!r} from a template that is not ready")

    def _send_word(self, word: bytes, files: list[int] | None = None) -> None:
        if not self.alive:
            return
        try:
            self._channel.settimeout(GRACE_S)
            socket.send_fds(self._channel, [word], files or [])
        except OSError:
            self.alive = False

    def _collect_result(self, timeout: float, stdout: int | None) -> ProcessResult:
        remaining = self._budget_deadline - time.monotonic()
        report, self._early_report = self._early_report, None
        if report is None and self.alive:
            message = self._receive_message(min(timeout, remaining + GRACE_S))
            report = message if isinstance(message, Report) else None
        if report is None:
            self.alive = False
            if self.is_budget_exceeded:
                raise BudgetExceeded
            return ProcessResult(
                exit_code=None,
                timed_out=False,
                wall_s=0.0,
                cpu_s=0.0,
                memory_mb=0.0,
                stdout=b"",
                stderr="the program killed its template process",
            )
        self.dirty = report.dirty
        return ProcessResult(
            exit_code=report.exit_code,
            timed_out=report.timed_out,
            wall_s=report.wall_s,
            cpu_s=report.cpu_s,
            memory_mb=report.memory_mb,
            stdout=b"" if stdout is None else read_contents(stdout),
            stderr=read_contents(self._stderr, STDERR_TAIL).decode(errors="replace"),
        )

    def _receive_message(self, timeout: float) -> Report | list[Any] | None:
        """Return the template's next message, or None if the template is gone."""
        try:
            self._channel.settimeout(max(0.001, timeout))
            packet = self._channel.recv(65536)
        except TimeoutError as error:
            raise _ChannelError(f"a program's template did not answer within {timeout:.0f} s") from error
        except OSError:
            return None
        if not packet:
            return None
        if packet[0] == MARK:
            return Report.unpack(packet)
        message: list[Any] = json.loads(packet)
        return message


class CallSession:
    """Calls into one loaded program. ``process_result`` is set when the ``start_calls`` block is left."""

    def __init__(self, channel: socket.socket, program: SandboxedProgram, wall_s: float, max_reply_bytes: int) -> None:
        self._channel = channel
        self._program = program
        self._wall_s = wall_s
        self._max_reply_bytes = max_reply_bytes
        self._reported_delay = 0.0  # seconds the process had waited for a processor at the last request
        self.process_result: ProcessResult | None = None

    def call(self, arguments: str, max_reply_bytes: int | None = None) -> Reply:
        """Call the function with the arguments in ``arguments``, one JSON value per line.

        A reply of more than ``max_reply_bytes``, or than ``Limits.output_bytes``, is not read: its kind is
        ``too_long``. After a reply of any kind other than ``value``, ``error`` and ``type`` the process cannot answer
        further calls. Raises BudgetExceeded.
        """
        nonce = os.urandom(8).hex()  # not secrets, which is slow to import
        request = json.dumps({"nonce": nonce, "input": arguments}).encode()
        if self._program.is_budget_exceeded:
            raise BudgetExceeded
        self._deadline = time.monotonic() + self._wall_s
        self._latest_deadline = self._deadline + MAX_SCHEDULING_DELAY_FACTOR * self._wall_s
        try:
            self._channel.settimeout(self._wall_s)
            self._channel.sendall(len(request).to_bytes(4, "big") + request)
            size = int.from_bytes(self._read(8), "big")
            if size > min(self._max_reply_bytes, max_reply_bytes or self._max_reply_bytes):
                return Reply("too_long", f"a result of {size} bytes exceeds the output limit")
            return read_reply(self._read(size), nonce)
        except TimeoutError:
            return Reply("timeout", f"no result in {self._wall_s:g} s")
        except (ConnectionError, EOFError):
            return Reply("exited", self._program.last_stderr_line() or "exited without an answer")
        except ValueError as error:
            return Reply("exited", f"the program wrote to the private channel: {error}")

    def _read(self, size: int) -> bytes:
        chunks = []
        missing = size
        while missing:
            remaining = self._deadline - time.monotonic()
            if remaining <= 0 and not self._extend_deadline():
                raise TimeoutError
            self._channel.settimeout(max(remaining, 0.001))
            try:
                chunk = self._channel.recv(min(missing, 1 << 20))
            except TimeoutError:
                continue
            if not chunk:
                raise EOFError
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def _extend_deadline(self) -> bool:
        """Extend the deadline by the time for which the process has waited for a processor since the last request.

        Returns False if that is not enough to continue.
        """
        delay = self._program.request_scheduling_delay()
        granted, self._reported_delay = delay - self._reported_delay, max(delay, self._reported_delay)
        self._deadline = min(self._deadline + granted, self._latest_deadline)
        return granted > 0 and time.monotonic() < self._deadline


def read_reply(frame: bytes, nonce: str) -> Reply:
    """Parse a reply frame ``[nonce, kind, text]`` of ASCII JSON. Raises ValueError for anything else.

    A frame written before the request was sent cannot contain the nonce. Not parsed by json.loads, which would build
    whatever a forged frame describes: 60 MB of empty lists become a gigabyte and a half of objects.
    """
    prefixes = [f'["{nonce}", "{kind}", "'.encode() for kind in _REPLY_KINDS]
    prefix = next((prefix for prefix in prefixes if frame.startswith(prefix)), None)
    if prefix is None:
        raise ValueError("not a reply of the harness")
    text, end = scanstring(frame.decode("ascii"), len(prefix), True)
    if frame[end:] != b"]":
        raise ValueError("not exactly one reply")
    return Reply(_REPLY_KINDS[prefixes.index(prefix)], text)


@contextlib.contextmanager
def open_memory_file() -> Iterator[int]:
    """Create an empty anonymous file. To a candidate it is an ordinary file; it is freed after its last use."""
    descriptor = os.memfd_create("job")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def replace_contents(descriptor: int, data: bytes) -> None:
    """Replace the contents of the file with ``data``."""
    os.ftruncate(descriptor, 0)
    view = memoryview(data)
    offset = 0
    while offset < len(view):
        offset += os.pwrite(descriptor, view[offset:], offset)


def read_contents(descriptor: int, tail: int | None = None) -> bytes:
    """Return the contents of the file, or only its last ``tail`` bytes."""
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
