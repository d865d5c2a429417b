"""Judge one program: run the problem's tests in a sandbox, compare the answers outside it, and build the verdict."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from evaluator.calls import Reply
from evaluator.checker import CustomChecker, parse_checker
from evaluator.comparison import Policy, compare_functional, compare_python, compare_stdin, find_loosest_strategy
from evaluator.comparison.rules import choose_rules
from evaluator.custom_checker import (
    MAX_ANSWER_FACTOR,
    CheckedReferences,
    CheckerSession,
    CheckOutcome,
    compute_max_answer_length,
)
from evaluator.problem import Problem, ProblemTest
from evaluator.sandbox import (
    BudgetExceeded,
    CompileError,
    Limits,
    ProcessResult,
    Sandbox,
    SandboxedProgram,
    SandboxError,
)
from evaluator.surrogates import escape_surrogates
from evaluator.verdict import MAX_TEXT_BYTES, FailedTest, Status, Verdict, build_verdict_without_tests, cut_text

logger = logging.getLogger(__name__)

# Not preloaded in every sandbox, since each fork would copy their page tables; programs that name them run in the
# ``heavy`` sandbox.
HEAVY_MODULES = ("numpy", "sortedcontainers")
_HEAVY_MODULE_NAME = re.compile(rf"\b({'|'.join(HEAVY_MODULES)})\b")
_ESCAPED_BYTE = re.compile(rb"\xed[\xb2\xb3][\x80-\xbf]")  # U+DC80 to U+DCFF in the encoding of surrogatepass

# An answer is compared up to MAX_ANSWER_FACTOR times the length of the expected output, plus this many characters.
# Longer ones are wrong without a look at them: parsing would hold the interpreter lock that other workers need.
MAX_EXTRA_ANSWER = 1 << 20
MAX_QUOTING_FACTOR = 2  # bytes of a reply, which is a JSON string, per character of the answer in it, which is JSON

_FAILED_CALL_STATUS = {
    "timeout": Status.TIME_LIMIT,
    "exited": Status.RUNTIME_ERROR,
    "error": Status.RUNTIME_ERROR,
    "type": Status.WRONG_ANSWER,  # the result has a type that cannot be a JSON answer
    "too_long": Status.OUTPUT_LIMIT,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """Result of one test.

    Attributes:
        status: ``PASSED`` or the way in which the test failed.
        accepted_by: comparison strategy that accepted the answer; set only if the test passed.
        detail: explanation for a reader.
        seconds: wall time of the program.
        actual: ``FailedTest.actual``; None if the test passed.
    """

    status: Status
    accepted_by: str | None = None
    detail: str = ""
    seconds: float = 0.0
    actual: str | None = None


@dataclass(kw_only=True)
class VerdictBuilder:
    """Results of the tests judged so far, in test order, and the verdict that they add up to.

    Attributes:
        total: number of tests of the problem.
        all_tests: go on after a failed test.
        closing: set when the evaluator is being closed.
    """

    total: int
    all_tests: bool
    closing: threading.Event
    results: list[TestResult] = field(default_factory=list)

    def continue_or_close(self) -> bool:
        """Return True if another test should run. If the evaluator is closing, add a sandbox error and return False."""
        if len(self.results) == self.total or (self.results and self.results[-1].status is Status.SANDBOX_ERROR):
            return False
        if self.closing.is_set():
            self.results.append(TestResult(status=Status.SANDBOX_ERROR, detail="the evaluator was closed"))
            return False
        return self.all_tests or not self.results or self.results[-1].status is Status.PASSED

    def build_verdict(self, problem: Problem, seconds: float) -> Verdict:
        """Return the verdict: the first failed test decides the status, except that any sandbox error overrides it."""
        failed = [index for index, result in enumerate(self.results) if result.status is not Status.PASSED]
        sandbox_errors = [index for index in failed if self.results[index].status is Status.SANDBOX_ERROR]
        decisive = self.results[(sandbox_errors or failed)[0]] if failed else None
        strategies = [result.accepted_by for result in self.results if result.accepted_by is not None]
        return Verdict(
            status=decisive.status if decisive else Status.PASSED,
            tests_passed=len(self.results) - len(failed),
            tests_run=len(self.results),
            tests_total=self.total,
            first_failed=failed[0] if failed else None,
            accepted_by=None if failed else find_loosest_strategy(strategies),
            seconds=seconds,
            detail=escape_surrogates(decisive.detail) if decisive else "",
            failed_test=self._describe_test(problem, failed[0]) if failed and not sandbox_errors else None,
        )

    def _describe_test(self, problem: Problem, index: int) -> FailedTest | None:
        """Return the texts of a failed test. They come from the problem here: no candidate sees an expected output."""
        tests = problem.tests
        if index >= len(tests):  # the budget ran out after the last test
            return None
        actual = self.results[index].actual
        return FailedTest(input=cut_text(tests[index].input), expected=cut_text(tests[index].output), actual=actual)

    def build_verdict_without_tests(self, status: Status, detail: str, seconds: float = 0.0) -> Verdict:
        """Return a verdict with this status for a program of which no test was run."""
        return build_verdict_without_tests(status, escape_surrogates(detail), self.total, seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """Sandboxes of one worker thread. Each starts when first used.

    Attributes:
        light: for programs that read standard input.
        calls: for functions.
        heavy: for programs of either kind that name a module of ``HEAVY_MODULES``.
        checkers: for the custom checkers of problems.
        references: results of custom checkers on expected outputs, shared by all workers.
    """

    light: Sandbox
    calls: Sandbox
    heavy: Sandbox
    checkers: Sandbox
    references: CheckedReferences

    @classmethod
    def create(cls, strict: bool, references: CheckedReferences) -> Worker:
        """Create the sandboxes of a worker. With ``strict``, they raise SandboxError if a fence is missing."""
        return cls(
            light=Sandbox(strict=strict),
            calls=Sandbox(strict=strict, calls=True),
            heavy=Sandbox(HEAVY_MODULES, strict=strict, calls=True),
            checkers=Sandbox(strict=strict, calls=True),
            references=references,
        )

    def choose_sandbox(self, problem: Problem, code: str) -> Sandbox:
        """Return the cheapest sandbox that has the modules of the program preloaded."""
        if _HEAVY_MODULE_NAME.search(code):
            return self.heavy
        return self.light if problem.func_name is None else self.calls

    def close(self) -> None:
        """Stop all sandboxes."""
        for sandbox in (self.light, self.calls, self.heavy, self.checkers):
            sandbox.close()


def judge(
    worker: Worker,
    problem: Problem,
    code: str | None,
    limits: Limits,
    policy: Policy,
    builder: VerdictBuilder,
    on_answer: Callable[[str], None] | None = None,
) -> Verdict:
    """Run the remaining tests of a program and return its verdict.

    Args:
        worker: the sandboxes to use.
        problem: the problem with its tests.
        code: the program; None (no code extracted) gives ``no_code``.
        limits: limits of each test, and the time budget for all tests together.
        policy: comparison policy.
        builder: results of the tests judged so far. New results are added to it.
        on_answer: called with each answer before its result is added.
    """
    start_time = time.monotonic()
    if code is None:
        return builder.build_verdict_without_tests(Status.NO_CODE, "")
    if not problem.tests:
        return builder.build_verdict_without_tests(Status.SANDBOX_ERROR, "the problem has no tests")
    sandbox = worker.choose_sandbox(problem, code)
    try:
        answer_judge = _AnswerJudge(problem, policy, worker, on_answer)
        run = _run_tests if problem.func_name is None else _run_call_tests
        with answer_judge:
            run_remaining = _limit_to_budget(partial(run, sandbox, problem, code), limits, answer_judge, builder)
            _run_with_one_retry(run_remaining, builder)
    except CompileError as error:
        return builder.build_verdict_without_tests(Status.COMPILE_ERROR, str(error), time.monotonic() - start_time)
    except SandboxError as error:
        builder.results.append(TestResult(status=Status.SANDBOX_ERROR, detail=str(error)))
    except Exception as error:
        # A fault of this package, or a problem that was not parsed by it. It must not end a run of many programs.
        logger.exception("judging a program of problem %r failed", problem.question_id)
        builder.results.append(TestResult(status=Status.SANDBOX_ERROR, detail=describe_error(error)))
    return builder.build_verdict(problem, time.monotonic() - start_time)


def _limit_to_budget(
    run: Callable[[Limits, _AnswerJudge, VerdictBuilder], None],
    limits: Limits,
    answer_judge: _AnswerJudge,
    builder: VerdictBuilder,
) -> Callable[[], None]:
    """Return a function that calls ``run`` with the rest of the program's time budget.

    The returned function is called repeatedly, because a program that leaves files is started again for each test.
    """
    spent = 0.0

    def run_remaining() -> None:
        nonlocal spent
        if spent >= limits.budget_s:
            raise BudgetExceeded
        start_time = time.monotonic()
        try:
            run(replace(limits, budget_s=limits.budget_s - spent), answer_judge, builder)
        except (SandboxError, OSError):
            start_time = time.monotonic()  # a failure of the sandbox must not cost the program time
            raise
        finally:
            spent += time.monotonic() - start_time

    return run_remaining


def _run_with_one_retry(run: Callable[[], None], builder: VerdictBuilder) -> None:
    """Run all tests, retrying each test once in a fresh sandbox if the sandbox or the host fails.

    A test whose process was killed within its limits is also run once more: it counts if that happens again, since a
    program can kill itself. Raises SandboxError, or the host's OSError, if it fails again.
    """
    retried_at = -1
    rerun_at = -1
    while builder.continue_or_close():
        tests_done = len(builder.results)
        try:
            run()
        except (SandboxError, OSError):  # OSError: no descriptor, process or memory could be had for a sandbox
            if retried_at == len(builder.results):
                raise
            retried_at = len(builder.results)
        except _KilledWithinLimits as killed:
            if rerun_at == len(builder.results):
                builder.results.append(killed.result)
            else:
                rerun_at = len(builder.results)
        except BudgetExceeded:
            builder.results.append(
                TestResult(status=Status.TIME_LIMIT, detail="the time budget for all tests together is used up")
            )
            return
        else:
            assert len(builder.results) > tests_done  # each iteration judges a test, so the loop ends


class _KilledWithinLimits(Exception):
    """The process of a test was killed, perhaps by the host. ``result`` is the result if it was the program's fault."""

    def __init__(self, result: TestResult) -> None:
        super().__init__(result)
        self.result = result


def _run_tests(
    sandbox: Sandbox, problem: Problem, code: str, limits: Limits, answer_judge: _AnswerJudge, builder: VerdictBuilder
) -> None:
    """Run the tests of a standard-input program, each in a fresh process.

    Returns early after a test that left files: the next test then needs a fresh template.
    """
    with sandbox.load_program(code, limits) as program:
        while builder.continue_or_close() and program.alive and not program.dirty:
            test = problem.tests[len(builder.results)]
            process = program.run(encode_input(test.input))
            result = _judge_process(process, limits, test, answer_judge)
            if process.is_killed_within_limits:
                raise _KilledWithinLimits(result)
            builder.results.append(result)


def _run_call_tests(
    sandbox: Sandbox, problem: Problem, code: str, limits: Limits, answer_judge: _AnswerJudge, builder: VerdictBuilder
) -> None:
    """Run the tests of a function as calls in one process, for as long as that process is usable."""
    tests = problem.tests[len(builder.results) :]
    # Each call has its own wall limit; the process as a whole can only be limited to their sum.
    total = replace(limits, cpu_s=limits.cpu_s * len(tests), wall_s=limits.wall_s * len(tests) + 1)
    loading = sandbox.load_program(code, total, problem.func_name, problem.starter_code, problem.values)
    with _without_unconfirmed_failure(builder), loading as program:
        while builder.continue_or_close() and program.alive:
            _call_in_one_process(program, problem, limits, answer_judge, builder)


def _call_in_one_process(
    program: SandboxedProgram, problem: Problem, limits: Limits, answer_judge: _AnswerJudge, builder: VerdictBuilder
) -> None:
    result = None
    with program.start_calls(limits.wall_s) as calls:
        while builder.continue_or_close():
            test = problem.tests[len(builder.results)]
            start_time = time.monotonic()
            max_length = answer_judge.compute_max_length(test)
            max_reply_bytes = min(MAX_QUOTING_FACTOR * max_length, limits.output_bytes)
            reply = calls.call(test.input, max_reply_bytes)
            result = _judge_reply(reply, time.monotonic() - start_time, test, answer_judge, max_length)
            if reply.kind == "too_long" and max_reply_bytes < limits.output_bytes:
                result = replace(result, status=Status.WRONG_ANSWER, detail=describe_long_answer(test))
            builder.results.append(result)
            if reply.kind not in ("value", "error", "type"):
                break
    if result is None:
        return
    process = program.last_result
    assert process is not None
    builder.results[-1] = _apply_process_limits(result, process, limits)
    if process.is_killed_within_limits:
        raise _KilledWithinLimits(builder.results.pop())


@contextlib.contextmanager
def _without_unconfirmed_failure(builder: VerdictBuilder) -> Iterator[None]:
    """Drop the last result if it is a failure and the sandbox turns out to have failed: the test is then run again."""
    try:
        yield
    except SandboxError:
        if builder.results and builder.results[-1].status is not Status.PASSED:
            builder.results.pop()
        raise


def compute_max_compared_length(expected: str) -> int:
    """Return the length up to which an answer is compared with ``expected``: 8 times its length, and 1 MiB.

    A character may take four bytes of output, or twelve as escaped surrogates in JSON.
    """
    return MAX_ANSWER_FACTOR * (1 if expected.isascii() else 12) * len(expected) + MAX_EXTRA_ANSWER


def _judge_process(process: ProcessResult, limits: Limits, test: ProblemTest, answer_judge: _AnswerJudge) -> TestResult:
    result = _judge_output(process, limits, test, answer_judge)
    if result.status is Status.PASSED:
        return result
    is_complete = result.status is Status.WRONG_ANSWER
    actual = cut_output(process.stdout) if process.stdout or is_complete else None
    return replace(result, actual=actual)


def _judge_output(process: ProcessResult, limits: Limits, test: ProblemTest, answer_judge: _AnswerJudge) -> TestResult:
    fail = partial(TestResult, seconds=process.wall_s)
    if len(process.stdout) >= limits.output_bytes:
        return fail(status=Status.OUTPUT_LIMIT, detail=f"{len(process.stdout)} bytes of output")
    if process.timed_out or process.cpu_s >= limits.cpu_s or process.exit_code == -signal.SIGXCPU:
        return fail(status=Status.TIME_LIMIT, detail=f"{process.wall_s:.2f} s wall, {process.cpu_s:.2f} s CPU")
    last_line = _last_line(process.stderr)
    if process.memory_mb > limits.memory_mb or (process.exit_code != 0 and _is_memory_error(last_line)):
        return fail(status=Status.MEMORY_LIMIT, detail=f"{process.memory_mb:.0f} MiB; {last_line}")
    if process.exit_code != 0:
        return fail(status=Status.RUNTIME_ERROR, detail=f"exit {_describe_exit(process.exit_code)}; {last_line}")
    if len(process.stdout) > answer_judge.compute_max_length(test):
        return fail(status=Status.WRONG_ANSWER, detail=describe_long_answer(test))
    return answer_judge.judge_answer(test, decode_output(process.stdout), process.wall_s)


def _judge_reply(
    reply: Reply, seconds: float, test: ProblemTest, answer_judge: _AnswerJudge, max_length: int
) -> TestResult:
    if reply.kind == "error" and _is_memory_error(reply.text):
        return TestResult(status=Status.MEMORY_LIMIT, detail=reply.text, seconds=seconds)
    if reply.kind != "value":
        return TestResult(status=_FAILED_CALL_STATUS[reply.kind], detail=reply.text, seconds=seconds)
    if len(reply.text) > max_length:
        result = TestResult(status=Status.WRONG_ANSWER, detail=describe_long_answer(test), seconds=seconds)
    else:
        result = answer_judge.judge_answer(test, reply.text, seconds)
    return result if result.status is Status.PASSED else replace(result, actual=cut_text(reply.text))


class _AnswerJudge:
    """Compares answers with expected outputs of one problem. A custom checker runs in a sandbox of its own."""

    def __init__(
        self, problem: Problem, policy: Policy, worker: Worker, on_answer: Callable[[str], None] | None = None
    ) -> None:
        self._on_answer = on_answer
        checker = parse_checker(problem.checker)
        self._rules = choose_rules(problem, checker)
        values = None if problem.func_name is None else problem.values
        self._compare = {None: compare_stdin, "json": compare_functional, "python": compare_python}[values]
        self._policy: Policy = policy
        self._references = worker.references
        self._session: CheckerSession | None = None
        if isinstance(checker, CustomChecker):
            self._session = CheckerSession(checker, values, worker.checkers)

    def __enter__(self) -> _AnswerJudge:
        return self

    def __exit__(self, *_: object) -> None:
        # A sandbox that fails only now has answered everything that was asked; it restarts at its next use.
        with contextlib.suppress(SandboxError):
            if self._session is not None:
                self._session.close()

    def compute_max_length(self, test: ProblemTest) -> int:
        """Return the length up to which an answer is read. Longer answers are wrong."""
        if self._session is not None:
            return compute_max_answer_length(test.output)
        return compute_max_compared_length(test.output)

    def judge_answer(self, test: ProblemTest, answer: str, seconds: float) -> TestResult:
        """Judge one answer. An unusable expected output, or a broken checker, is reported as a sandbox error.

        Raises SandboxError if the sandbox of a custom checker fails.
        """
        if self._on_answer is not None:
            self._on_answer(answer)
        if self._session is not None:
            return self._run_custom_checker(self._session, test, answer, seconds)
        expected = test.output if self._compare is not compare_stdin else restore_output(test.output)
        try:
            accepted_by = self._compare(expected, answer, self._rules, self._policy)
        except Exception as error:  # noqa: BLE001 - of any kind, since the answer is a candidate's
            return self._blame(expected, error, seconds)
        if accepted_by is None:
            return TestResult(status=Status.WRONG_ANSWER, detail=f"answered {answer[:160]!r}", seconds=seconds)
        return TestResult(status=Status.PASSED, accepted_by=accepted_by, seconds=seconds)

    def _blame(self, expected: str, error: Exception, seconds: float) -> TestResult:
        """Return the result of a comparison that raised: a wrong answer, unless the expected output raises as well."""
        try:
            # Not the expected output itself, because equal texts are not parsed.
            self._compare(expected, f" {expected}", self._rules, self._policy)
        except Exception as cause:  # noqa: BLE001 - as above
            detail = f"the expected output is unusable: {describe_error(cause)}"
            return TestResult(status=Status.SANDBOX_ERROR, detail=detail, seconds=seconds)
        detail = f"the answer cannot be compared: {describe_error(error)}"
        return TestResult(status=Status.WRONG_ANSWER, detail=detail, seconds=seconds)

    def _run_custom_checker(
        self, session: CheckerSession, test: ProblemTest, answer: str, seconds: float
    ) -> TestResult:
        result = session.check(test.input, answer, test.output)
        if result.outcome is CheckOutcome.ACCEPTED:
            return TestResult(status=Status.PASSED, accepted_by="custom", seconds=seconds)
        if result.outcome is CheckOutcome.REJECTED:
            detail = f"the problem's checker rejected the answer{result.reason and ': '}{result.reason}"
            return TestResult(status=Status.WRONG_ANSWER, detail=detail, seconds=seconds)
        if failure := self._references.find_failure(session, test):
            detail = f"the problem's checker is broken, it also fails on the expected output: {failure}"
            return TestResult(status=Status.SANDBOX_ERROR, detail=detail, seconds=seconds)
        detail = f"the problem's checker failed on the answer: {result.reason}"
        return TestResult(status=Status.WRONG_ANSWER, detail=detail, seconds=seconds)


def encode_input(text: str) -> bytes:
    """Encode a text as standard input. Escaped bytes become bytes, other lone surrogates take three bytes.

    >>> encode_input("é\\udcff\\ud800")
    b'\\xc3\\xa9\\xff\\xed\\xa0\\x80'
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
        return _ESCAPED_BYTE.sub(lambda match: bytes([ord(match[0].decode("utf-8", "surrogatepass")) & 0xFF]), data)


def decode_output(data: bytes) -> str:
    """Decode standard output, such that different bytes give different texts."""
    return data.decode("utf-8", "surrogateescape")


def cut_output(data: bytes) -> str:
    """Return standard output as ``cut_text`` does. Only its beginning is decoded, since it may be large."""
    end = MAX_TEXT_BYTES
    while MAX_TEXT_BYTES - 4 < end < len(data) and data[end] >> 6 == 0b10:  # inside a character
        end -= 1
    return cut_text(decode_output(data[:end]), max(0, len(data) - end))


def restore_output(text: str) -> str:
    """Return an expected output as it is read from a program that prints it."""
    return text if text.isascii() else decode_output(encode_input(text))


def _apply_process_limits(result: TestResult, process: ProcessResult, limits: Limits) -> TestResult:
    """Return the last result of a process, corrected if the process was killed by its memory or CPU limit."""
    died = result.status is Status.RUNTIME_ERROR
    last_line = _last_line(process.stderr)
    if process.memory_mb > limits.memory_mb or (died and process.exit_code != 0 and _is_memory_error(last_line)):
        return replace(
            result, status=Status.MEMORY_LIMIT, accepted_by=None, detail=f"{process.memory_mb:.0f} MiB; {last_line}"
        )
    if died and (process.timed_out or process.exit_code == -signal.SIGXCPU):
        return replace(result, status=Status.TIME_LIMIT, detail=f"{process.cpu_s:.2f} s CPU")
    return result


def describe_error(error: BaseException) -> str:
    """Return the name and the message of an exception, cut to 300 characters."""
    return f"{type(error).__name__}: {error}"[:300]


def describe_long_answer(test: ProblemTest) -> str:
    """Return the reason why an answer is wrong without a comparison."""
    return f"the answer is far longer than the expected output of {len(test.output)} characters"


def _is_memory_error(line: str) -> bool:
    """Return True if a traceback's last line, or an exception's name and text, is a MemoryError (numpy has its own)."""
    return line.partition(":")[0].endswith("MemoryError")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return str(exit_code)
    return signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else str(exit_code)
