"""Run untrusted programs in a sandbox: a warm interpreter, isolated by the kernel, that forks a process for each test.

Each isolation mechanism (a namespace, the private root, Landlock, seccomp, a resource limit, ...) is called a *fence*
and has a name; a host may not support all of them. Verdicts depend only on facts from the kernel (exit status, resource
usage) and on the bytes that the candidate wrote. Expected outputs never enter the sandbox. The code that runs inside is
in ``evaluator.inside``. Requires Linux 5.9 or later (pidfd). The paper (arXiv 2603.07777, MicroCoder-GRPO, evaluator
section) does not specify the isolation.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from evaluator.calls import CallSession
from evaluator.errors import RunFailed
from evaluator.inside.report import MARK, Report
from evaluator.inside.values import ValueFormat

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0  # for the interpreter to start, build its fences and import the common modules
GRACE_S = 20.0  # how much longer than the test's own limits a reply may take, on a loaded machine
COMPILE_TIMEOUT_S = 300.0  # for the few seconds of CPU time that compiling may take, on a very crowded machine
STDERR_TAIL = 2000  # bytes of a program's stderr to keep
CRASH_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
ZYGOTE_SCRIPT = Path(__file__).with_name("inside") / "__main__.py"


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
    ``wall_s``, unless its own processes used the processors. Otherwise a correct program could fail because of other
    programs.

    Attributes:
        wall_s: wall time in seconds.
        cpu_s: CPU time in seconds of all processes of the test together.
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
        timed_out: the process hit its limit on wall time or CPU time and was killed.
        wall_s: wall time in seconds.
        cpu_s: CPU time in seconds.
        memory_mb: peak resident memory in MiB.
        stdout: standard output.
        stderr: the end of standard error.
        is_killed_within_limits: SIGKILL ended the process although it kept its limits. The kernel sends it when the
            host has no memory left, but a program can also send it to itself.
    """

    exit_code: int | None
    timed_out: bool
    wall_s: float
    cpu_s: float
    memory_mb: float
    stdout: bytes
    stderr: str
    is_killed_within_limits: bool = False


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
        self._template_exit: int | None = None  # exit code of the last program's template
        self._is_template_done = True

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
    def can_kill_template(self) -> bool:
        """True if this host lacks the fences that keep programs from ending the template of their tests."""
        return {"landlock signals", "seccomp"} <= set(self._missing_fences)

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
            output = stack.enter_context(open_memory_file())
            with child_end, open_memory_file() as source_file:
                write_contents(source_file, source.encode("utf-8", "surrogatepass"))
                job = _list_limits(limits) | {"func_name": func_name, "starter_code": starter_code, "values": values}
                self._send(job, [source_file, child_end.fileno(), output])
            self._template_exit = None
            self._is_template_done = False
            program = SandboxedProgram(owner_end, output, limits, start_time, self)
            stack.callback(program.close)
            try:
                yield program
            except _ChannelError as error:
                raise self._close_after_failure(str(error)) from error
            finally:
                _close_for_all_holders(owner_end)  # the template sees its channel closed and exits
                if self._control is not None:
                    self.wait_for_template()

    def wait_for_template(self) -> int | None:
        """Wait until nothing is left of the last program, whose template is ending.

        Returns the exit code of its template, negative for a signal, None if unknown. Raises SandboxError.
        """
        if not self._is_template_done:
            packet = self._receive(GRACE_S)
            if not packet:
                raise self._close_after_failure("the zygote exited")
            self._template_exit = json.loads(packet)["exit_code"]
            self._is_template_done = True
        return self._template_exit

    def _send(self, job: dict[str, Any], files: list[int]) -> None:
        control = self._ensure_started()
        try:
            control.settimeout(GRACE_S)
            socket.send_fds(control, [json.dumps(job).encode()], files)
        except OSError as error:
            raise self._close_after_failure(f"cannot send the program to the zygote: {error}") from error

    def _receive(self, timeout: float) -> bytes:
        if self._control is None:
            raise SandboxError("the zygote exited")
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
            answer = json.loads(packet)
            if answer["unreadable"]:
                raise self._close_after_failure(
                    f"programs in the sandbox cannot read the libraries in {', '.join(answer['unreadable'])}: "
                    "make them and their parent directories readable for other users (docs/evaluator.md)"
                )
            self._missing_fences = tuple(answer["missing"])
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
                    # so the verdict on a program that prints one, would change from zygote to zygote. The loader
                    # resolves symbols at once: otherwise each test's process would do so for those that it uses.
                    env={"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"},
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


@functools.lru_cache(maxsize=64)
def _list_limits(limits: Limits) -> dict[str, float]:
    """Return the limits by name, in a dict that is shared: asdict copies each value, for every program."""
    return asdict(limits)


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
        last_result: result of the last process that has ended.
    """

    def __init__(
        self, channel: socket.socket, output: int, limits: Limits, start_time: float, sandbox: Sandbox
    ) -> None:
        self._channel = channel
        self._output = output  # the template empties it before each test; candidates have no access
        self._limits = limits
        self._sandbox = sandbox
        self._files: list[int] = []  # standard input and error of the last test
        self._budget_deadline = start_time + limits.budget_s
        self._early_report: Report | None = None  # report that arrived instead of the answer to another request
        self._ready = False
        self.dirty = False
        self.alive = True
        self.last_result: ProcessResult | None = None

    def close(self) -> None:
        """Close the files of the last test."""
        while self._files:
            os.close(self._files.pop())

    def run(self, stdin: bytes) -> ProcessResult:
        """Run the program to its end with ``stdin`` as standard input. Raises CompileError, BudgetExceeded."""
        self._start_test(stdin, [])
        return self._collect_result(self._limits.wall_s + GRACE_S)

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
                self._collect_result(GRACE_S, calls)

    def check_budget(self) -> None:
        """Raise BudgetExceeded if the program has used up its time budget."""
        if time.monotonic() >= self._budget_deadline:
            raise BudgetExceeded

    def request_uncounted_time(self, start_time: float) -> float:
        """Return the seconds since the monotonic time ``start_time`` that do not count towards a wall limit.

        These are the time for which the process of the running test waited for a processor, and the time for which the
        sandbox was stopped. 0 if the process is gone.
        """
        self._send_word(b"delay %.6f" % start_time)
        message = self._receive_answer(GRACE_S) if self.alive else None
        if isinstance(message, Report):
            self._early_report = message
            return 0.0
        return 0.0 if message is None else float(message[1])

    def last_stderr_line(self) -> str:
        """Return the last line that the program wrote to standard error."""
        return self._read_stderr().strip().rpartition("\n")[2]

    def _read_stderr(self) -> str:
        return read_contents(self._files[1], STDERR_TAIL).decode(errors="replace")

    def _start_test(self, stdin: bytes, descriptors: list[int]) -> None:
        """Request a test. Raises CompileError, or _ChannelError if the sandbox failed.

        The test gets new files to read and for its errors, since a program can leave traces in their attributes and
        flags.
        """
        self.close()
        self._files = [os.memfd_create("job"), os.memfd_create("job")]
        write_contents(self._files[0], stdin)
        self._send_word(b"run", [*self._files, *descriptors])
        if self._ready:
            return
        # Read only after the first test was requested, so that the template does not have to wait for that request.
        match self._receive_answer(COMPILE_TIMEOUT_S):
            case ["ready"]:
                self._ready = True
            case ["compile_error", reason]:
                raise CompileError(reason)
            case None:
                self._raise_failed_compilation()
            case message:
                raise _ChannelError(f"unexpected message {message!r} from a template that is not ready")

    def _raise_failed_compilation(self) -> NoReturn:
        """Raise the error for a template that ended while it compiled the program."""
        exit_code = self._sandbox.wait_for_template()
        if exit_code == -signal.SIGXCPU:
            raise CompileError("compiling the program takes too much CPU time")
        if exit_code is not None and -exit_code in CRASH_SIGNALS:
            raise CompileError(f"the compiler crashed: {signal.Signals(-exit_code).name}")
        self.check_budget()
        raise _ChannelError(f"the template ended while it compiled the program (exit code {exit_code})")

    def _send_word(self, word: bytes, descriptors: list[int] | None = None) -> None:
        if not self.alive:
            return
        try:
            self._channel.settimeout(GRACE_S)
            socket.send_fds(self._channel, [word], descriptors or [])
        except OSError:
            self.alive = False

    def _collect_result(self, timeout: float, calls: CallSession | None = None) -> ProcessResult:
        """Wait for the end of the process. ``calls`` is the session of one that answers calls."""
        self.last_result = self._read_result(timeout, calls)
        return self.last_result

    def _read_result(self, timeout: float, calls: CallSession | None) -> ProcessResult:
        remaining = self._budget_deadline - time.monotonic()
        report, self._early_report = self._early_report, None
        if report is None and self.alive:
            report = self._wait_for_report(min(timeout, remaining + GRACE_S))
        if report is None:
            self.alive = False
            return self._explain_missing_report()
        self.dirty = report.dirty
        # The template is asked to stop a process that answers calls, even if it has just ended.
        has_ended = not report.is_stopped if calls is None else calls.has_ended and not report.timed_out
        is_within_limits = report.cpu_s < self._limits.cpu_s and report.memory_mb <= self._limits.memory_mb
        return ProcessResult(
            exit_code=report.exit_code,
            timed_out=report.timed_out,
            wall_s=report.wall_s,
            cpu_s=report.cpu_s,
            memory_mb=report.memory_mb,
            stdout=read_contents(self._output) if calls is None else b"",
            stderr=self._read_stderr(),
            is_killed_within_limits=has_ended and report.exit_code == -signal.SIGKILL and is_within_limits,
        )

    def _explain_missing_report(self) -> ProcessResult:
        """Return the result of a test whose template is gone, if the program can have caused that.

        Raises BudgetExceeded or _ChannelError otherwise.
        """
        self.check_budget()
        exit_code = self._sandbox.wait_for_template()
        if not self._sandbox.can_kill_template:
            raise _ChannelError(f"the template of a program ended during a test (exit code {exit_code})")
        return ProcessResult(
            exit_code=None,
            timed_out=False,
            wall_s=0.0,
            cpu_s=0.0,
            memory_mb=0.0,
            stdout=b"",
            stderr="the program killed its template process",
        )

    def _wait_for_report(self, timeout: float) -> Report | None:
        """Return the report of the running test, or None if the template is gone.

        A test may run for longer than ``timeout`` if it has to wait for processors, so the template is then asked for
        any answer, to see whether it still works.
        """
        while True:
            message = self._receive_message(timeout)
            if isinstance(message, TimeoutError):
                self._send_word(b"delay %.6f" % time.monotonic())
                message = self._receive_answer(GRACE_S)
            if message is None or isinstance(message, Report):
                return message
            timeout = GRACE_S

    def _receive_answer(self, timeout: float) -> Report | list[Any] | None:
        """Return the template's next message, or None if the template is gone. Raises _ChannelError after a timeout."""
        message = self._receive_message(timeout)
        if isinstance(message, TimeoutError):
            raise _ChannelError(f"a program's template did not answer within {timeout:.0f} s") from message
        return message

    def _receive_message(self, timeout: float) -> Report | list[Any] | TimeoutError | None:
        """Return the template's next message, None if the template is gone, or the error of a timeout."""
        try:
            self._channel.settimeout(max(0.001, timeout))
            try:
                packet = self._channel.recv(65536)
            except ConnectionResetError:  # the template ended without reading the last word, but may have sent one
                packet = self._channel.recv(65536)
        except TimeoutError as error:
            return error
        except OSError:
            return None
        if not packet:
            return None
        if packet[0] == MARK:
            return Report.unpack(packet)
        message: list[Any] = json.loads(packet)
        if message[0] == "failed":
            raise _ChannelError(f"cannot run the program in the sandbox: {message[1]}")
        return message


@contextlib.contextmanager
def open_memory_file() -> Iterator[int]:
    """Create an empty anonymous file. To a candidate it is an ordinary file; it is freed after its last use."""
    descriptor = os.memfd_create("job")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_contents(descriptor: int, data: bytes) -> None:
    """Write ``data`` to an empty file, whose offset stays at its beginning."""
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
