"""Run the custom checkers of problems, each in a sandbox of its own, with limits of its own.

    judging ──input, answer, expected output──► CheckerSession ──► sandbox: inside/checking.py ──► CheckResult

A check *fails* if the checker raises, exits, returns anything else than a boolean or (boolean, message), or runs out of
time or memory. Then the expected output decides whose fault it is. If the checker also fails when the expected output
is the answer, the checker is broken, and the problem must not be scored. Otherwise the answer is wrong. An expected
output that is blank or a placeholder decides nothing; then the answer is wrong.

Covered: whatever a checker does within its process. Not covered: a checker that evaluates an answer as code, which lets
the answer choose the result.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import re
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from evaluator.checker import CustomChecker
from evaluator.inside import checking
from evaluator.inside.checking import Check, encode_checks
from evaluator.inside.values import ValueFormat
from evaluator.problem import ProblemTest
from evaluator.sandbox import CompileError, Limits, ProcessResult, Sandbox, SandboxedProgram

# A checker waits while the candidate runs, so its own budget is not limited. The others are DOMjudge's defaults.
CHECKER_LIMITS = Limits(wall_s=30.0, cpu_s=30.0, memory_mb=2048, budget_s=86400.0)
MAX_ANSWER_FACTOR = 8  # answers that are longer than this multiple of the expected output ...
MAX_EXTRA_ANSWER = 16 << 20  # ... by this many characters are rejected without asking the checker
MAX_BATCH = 32 << 20  # characters of the checks that one process gets at a time
MAX_SEARCH_S = 120.0  # for finding out whether one problem's checker is broken
MAX_REFERENCES = 200_000  # expected outputs whose result is remembered

# Placeholders in the place of an expected output: one of the first words, beside any of the others.
_PLACEHOLDER_WORDS = re.compile(
    "any|checker|custom|dummy|multiple|na|nil|none|null|placeholder|special|spj|tbd|todo|un(?:defined|known|specified|used)"
    "|varies"
)
_FILLER_WORDS = re.compile(
    "an?|accepted|answers?|are|by|checked|correct|decided|exist|expected|is|judged?|of|outputs?|possible|see|solutions?"
    "|statement|the|valid|values?"
)


class CheckOutcome(enum.StrEnum):
    """Outcome of asking a checker. The values are the words that ``inside/checking.py`` writes."""

    ACCEPTED = checking.ACCEPTED
    REJECTED = checking.REJECTED
    FAILED = checking.FAILED


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check. ``reason`` is the checker's message, or why it failed; it may be empty."""

    outcome: CheckOutcome
    reason: str


def compute_max_answer_length(expected: str) -> int:
    """Return the length in characters up to which an answer is passed to a checker."""
    return MAX_ANSWER_FACTOR * len(expected) + MAX_EXTRA_ANSWER


def has_reference(test: ProblemTest) -> bool:
    """Return True if the expected output can serve as an answer: it is neither blank nor a placeholder.

    A text without letters and digits is taken as a placeholder, too. A real expected output that looks like one costs
    little: a checker that fails on it is only noticed because it never accepts an answer.

    >>> [has_reference(ProblemTest("", text)) for text in ("3", "NO", "答", " ", "-", "N/A", "any valid answer")]
    [True, True, True, False, False, False, False]
    """
    if len(test.output) > 200:
        return True
    if any(char.isdigit() or (char.isalpha() and not char.isascii()) for char in test.output):
        return True
    words = re.findall("[a-z]+", test.output.lower().replace("n/a", "na"))
    others = [word for word in words if not _PLACEHOLDER_WORDS.fullmatch(word)]
    return len(others) == len(words) > 0 or not all(map(_FILLER_WORDS.fullmatch, others))


class CheckerSession:
    """Checker of one problem, loaded when first used, again after it left files. Use it in a ``with`` statement.

    Each call of ``run`` starts a fresh process, because checkers and answers are untrusted and may leave a state.

    Args:
        checker: the checker.
        values: encoding of arguments and results; None for standard-input problems.
        sandbox: where the checker runs.
    """

    def __init__(self, checker: CustomChecker, values: ValueFormat | None, sandbox: Sandbox) -> None:
        self.checker = checker
        self.values = values
        self._sandbox = sandbox
        self._program: SandboxedProgram | None = None
        self._exit_stack = contextlib.ExitStack()

    def __enter__(self) -> CheckerSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the checker's program."""
        self._program = None
        self._exit_stack.close()

    def check(self, inp: str, out: str, exp: str) -> CheckResult:
        """Ask whether ``out`` is a right answer to ``inp``. Raises SandboxError."""
        return self.run([(inp, out, exp)])[0]

    def run(self, checks: Sequence[Check]) -> list[CheckResult]:
        """Run checks one after the other in one process.

        Returns the results up to and including the check that ended the process. If the checker cannot be loaded, that
        is one failed result, even without checks. A process that was killed within its limits is started once more.
        Raises SandboxError.
        """
        data = encode_checks(checks)
        try:
            process = self._run_process(data)
            if process.is_killed_within_limits:
                process = self._run_process(data)
        except CompileError as error:
            return [CheckResult(CheckOutcome.FAILED, str(error))]
        return read_results(process, len(checks))

    def _run_process(self, data: bytes) -> ProcessResult:
        program = self._load()
        with self._exit_stack.pop_all() as stack:  # after an exception, the program is ended and its sandbox restarted
            self._program = None
            process = program.run(data)
            self._exit_stack = stack.pop_all()
            self._program = program
        return process

    def _load(self) -> SandboxedProgram:
        if self._program is not None and self._program.alive and not self._program.dirty:
            return self._program
        self._exit_stack.close()
        source = (
            f"from evaluator.inside.checking import run_checks\nrun_checks({self.checker.code!r}, {self.values!r})\n"
        )
        return self._exit_stack.enter_context(self._sandbox.load_program(source, CHECKER_LIMITS))


def read_results(process: ProcessResult, checks: int) -> list[CheckResult]:
    """Return the results that a process wrote, with a failed one for the check during which it ended."""
    lines = process.stdout.decode("ascii", "replace").split("\n")[:-1]
    if lines[:1] == [checking.LOADED]:
        results = list(map(parse_line, lines[1 : checks + 1]))
        return (
            results if len(results) == checks else [*results, CheckResult(CheckOutcome.FAILED, describe_end(process))]
        )
    return [parse_line(lines[0]) if lines else CheckResult(CheckOutcome.FAILED, describe_end(process))]


def parse_line(line: str) -> CheckResult:
    """Return the result in a line of ``inside/checking.py``. Any other line is a failure."""
    word, _, reason = line.partition(" ")
    if word in (checking.ACCEPTED, checking.REJECTED):
        return CheckResult(CheckOutcome(word), reason)
    return CheckResult(CheckOutcome.FAILED, reason or word)


def describe_end(process: ProcessResult) -> str:
    """Return why a process ended before its checks did."""
    if process.timed_out or process.cpu_s >= CHECKER_LIMITS.cpu_s or process.exit_code == -signal.SIGXCPU:
        return f"more than {CHECKER_LIMITS.wall_s:g} s"
    if process.memory_mb > CHECKER_LIMITS.memory_mb:
        return f"more than {CHECKER_LIMITS.memory_mb} MiB"
    last_line = process.stderr.strip().rpartition("\n")[2]
    return f"exit status {process.exit_code}" + (f"; {last_line}" if last_line else "")


class CheckedReferences:
    """Results of asking checkers about their own expected outputs, each asked once. Thread-safe."""

    def __init__(self) -> None:
        self._failures: OrderedDict[int, str] = OrderedDict()
        self._lock = threading.Lock()

    def find_failure(self, session: CheckerSession, test: ProblemTest) -> str:
        """Return why the checker fails on the expected output of ``test``, or cannot be loaded; "" if neither.

        Without a usable expected output, the checker is only loaded. A failure is tried again, since it may be due to
        a busy machine. Raises SandboxError.
        """
        key = _make_key(session, test)
        with self._lock:
            known = self._failures.get(key)
        if known is None:
            known = ""
            checks = [(test.input, test.output, test.output)] if has_reference(test) else []
            for _ in range(2):
                failed = [result for result in session.run(checks) if result.outcome is CheckOutcome.FAILED]
                known = failed[0].reason or "unknown reason" if failed else ""
                if not known:
                    break
            self._record(key, known)
        return known

    def find_failure_of_any(self, session: CheckerSession, tests: Sequence[ProblemTest]) -> str:
        """Return why the checker cannot be loaded or fails on the expected output of a test; "" if neither.

        Many tests are checked in one process. Tests left after ``MAX_SEARCH_S`` are not checked. Raises SandboxError.
        """
        for result in session.run([]):
            return f"its checker cannot be loaded: {result.reason}"
        pending = [index for index, test in enumerate(tests) if has_reference(test)]
        deadline = time.monotonic() + MAX_SEARCH_S
        while pending and time.monotonic() < deadline:
            batch = list(take_batch(tests[index] for index in pending))
            results = session.run([(test.input, test.output, test.output) for test in batch])
            good = list(itertools.takewhile(lambda result: result.outcome is not CheckOutcome.FAILED, results))
            for test, _ in zip(batch, good, strict=False):
                self._record(_make_key(session, test), "")
            if not good and (reason := self.find_failure(session, batch[0])):  # not for what an earlier check left
                return f"its checker fails on the expected output of test {pending[0]}: {reason}"
            del pending[: len(good) or 1]
        return ""

    def _record(self, key: int, failure: str) -> None:
        with self._lock:
            self._failures[key] = failure
            if len(self._failures) > MAX_REFERENCES:
                self._failures.popitem(last=False)


def take_batch(tests: Iterable[ProblemTest]) -> Iterator[ProblemTest]:
    """Yield tests, at least one, until their texts exceed ``MAX_BATCH`` characters."""
    size = 0
    for test in tests:
        size += len(test.input) + 2 * len(test.output)
        if size > MAX_BATCH and size > len(test.input) + 2 * len(test.output):
            return
        yield test


def _make_key(session: CheckerSession, test: ProblemTest) -> int:
    return hash((session.checker.code, session.values, test))
