"""Judge programs: run the tests of a problem in sandboxes, compare outside, and sum up in a verdict.

evaluate_many ──► W threads, each with a Sandbox of its own ──► compile once ──► test after test ──► Verdict
"""

from __future__ import annotations

import asyncio
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from evaluator.comparison import compare_functional, compare_stdin, loosest
from evaluator.problem import Problem, ProblemTest
from evaluator.sandbox import Calls, CompileError, Ended, Limits, Reply, Sandbox, SandboxError
from evaluator.verdict import Status, Verdict

T = TypeVar("T")

_FAILED_CALL = {
    "timeout": Status.TIME_LIMIT,
    "exited": Status.RUNTIME_ERROR,
    "error": Status.RUNTIME_ERROR,
    "type": Status.WRONG_ANSWER,
    "too_long": Status.OUTPUT_LIMIT,
}


@dataclass(frozen=True)
class _Outcome:
    """One test's result; ``accepted_by`` is set exactly when it passed."""

    status: Status
    accepted_by: str | None = None
    detail: str = ""


@dataclass
class _Tally:
    """The tests judged so far, in order."""

    total: int
    outcomes: list[_Outcome] = field(default_factory=list)

    def verdict(self, seconds: float) -> Verdict:
        """Sum up: the first failed test decides the status, but a sandbox error anywhere voids the verdict."""
        failed = [index for index, outcome in enumerate(self.outcomes) if outcome.status is not Status.PASSED]
        ours = [index for index in failed if self.outcomes[index].status is Status.SANDBOX_ERROR]
        decisive = self.outcomes[(ours or failed)[0]] if failed else None
        names = [outcome.accepted_by for outcome in self.outcomes if outcome.accepted_by is not None]
        return Verdict(
            status=decisive.status if decisive else Status.PASSED,
            tests_passed=len(self.outcomes) - len(failed),
            tests_run=len(self.outcomes),
            tests_total=self.total,
            first_failed=failed[0] if failed else None,
            accepted_by=None if failed else loosest(names),
            seconds=seconds,
            detail=decisive.detail if decisive else "",
        )


class Evaluator:
    """Judges programs, ``workers`` at a time; each worker keeps a warm sandbox. Close it, or use it in a ``with``.

    ``limits`` bound each test; a problem's own ``time_limit_s`` and ``memory_limit_mb`` win where they are lower.
    """

    def __init__(self, limits: Limits | None = None, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.limits = limits or Limits()
        self.workers = workers
        self._sandboxes = [Sandbox() for _ in range(workers)]
        self._idle: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="evaluator")
        self._closing = threading.Event()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the fences this host refuses (starts a sandbox)."""
        return self._threads.submit(self._ask_missing).result(120)

    def evaluate(self, problem: Problem, code: str | None, *, all_tests: bool = False) -> Verdict:
        """Judge one program; blocks. ``code`` None (nothing extracted) gives ``no_code``.

        Stops at the first failed test unless ``all_tests``. Never raises for what a program does.
        """
        return self._threads.submit(self._judge, problem, code, all_tests).result()

    async def evaluate_many(
        self, items: Iterable[tuple[Problem, str | None]], *, all_tests: bool = False
    ) -> list[Verdict]:
        """Judge many programs on all workers; verdicts in the order of ``items``."""
        pending = [
            asyncio.wrap_future(self._threads.submit(self._judge, problem, code, all_tests)) for problem, code in items
        ]
        return list(await asyncio.gather(*pending))

    def close(self) -> None:
        """Drop what is queued, wait for running tests (bounded by their limits), end all sandboxes."""
        self._closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.close()

    def _ask_missing(self) -> tuple[str, ...]:
        sandbox = self._idle.get_nowait()
        try:
            return sandbox.missing
        finally:
            self._idle.put(sandbox)

    def _judge(self, problem: Problem, code: str | None, all_tests: bool) -> Verdict:
        sandbox = self._idle.get_nowait()  # as many sandboxes as threads: there always is one
        try:
            return judge(sandbox, problem, code, self.limits, all_tests, self._closing)
        finally:
            self._idle.put(sandbox)


def limits_of(problem: Problem, limits: Limits) -> Limits:
    """``limits`` lowered to the problem's own where those are lower."""
    seconds = limits.wall_s if problem.time_limit_s is None else problem.time_limit_s
    memory = limits.memory_mb if problem.memory_limit_mb is None else problem.memory_limit_mb
    return replace(
        limits,
        wall_s=min(limits.wall_s, seconds),
        cpu_s=min(limits.cpu_s, seconds),
        memory_mb=min(limits.memory_mb, memory),
    )


def judge(
    sandbox: Sandbox,
    problem: Problem,
    code: str | None,
    limits: Limits,
    all_tests: bool = False,
    closing: threading.Event | None = None,
) -> Verdict:
    """Judge one program in one sandbox (see ``Evaluator.evaluate``); stops between tests once ``closing`` is set."""
    began = time.monotonic()
    tally = _Tally(len(problem.tests))
    if code is None:
        return _without_tests(Status.NO_CODE, problem, began, "")
    if not problem.tests:
        return _without_tests(Status.SANDBOX_ERROR, problem, began, "the problem has no tests")
    limits = limits_of(problem, limits)
    try:
        program = _twice(lambda: sandbox.compile(code, limits))
    except CompileError as error:
        return _without_tests(Status.COMPILE_ERROR, problem, began, str(error))
    except SandboxError as error:
        return _without_tests(Status.SANDBOX_ERROR, problem, began, str(error))
    while len(tally.outcomes) < len(problem.tests):
        if closing is not None and closing.is_set():
            tally.outcomes.append(_Outcome(Status.SANDBOX_ERROR, detail="the evaluator was closed"))
            break
        try:
            tally.outcomes += _run_next(sandbox, problem, program, limits, len(tally.outcomes), all_tests)
        except SandboxError as error:
            tally.outcomes.append(_Outcome(Status.SANDBOX_ERROR, detail=str(error)))
            break
        if not all_tests and tally.outcomes[-1].status is not Status.PASSED:
            break
    return tally.verdict(time.monotonic() - began)


def _without_tests(status: Status, problem: Problem, began: float, detail: str) -> Verdict:
    return Verdict(status, 0, 0, len(problem.tests), None, None, time.monotonic() - began, detail)


def _twice(action: Callable[[], T]) -> T:
    """The sandbox's failures get one retry, in a fresh zygote."""
    try:
        return action()
    except SandboxError:
        return action()


def _run_next(
    sandbox: Sandbox, problem: Problem, program: bytes, limits: Limits, start: int, all_tests: bool
) -> list[_Outcome]:
    """Outcomes of one or more tests from index ``start`` on. Raises SandboxError after a failed retry."""
    if problem.func_name is None:
        test = problem.tests[start]
        stdin = test.input.encode("utf-8", "surrogateescape")
        return [_judge_run(_twice(lambda: sandbox.run(program, stdin, limits)), limits, test)]
    return _twice(lambda: _run_calls(sandbox, problem, program, limits, start, all_tests))


def _run_calls(
    sandbox: Sandbox, problem: Problem, program: bytes, limits: Limits, start: int, all_tests: bool
) -> list[_Outcome]:
    """Call test after test in one child, as long as it lives (and, unless ``all_tests``, gives right answers)."""
    assert problem.func_name is not None
    tests = problem.tests[start:]
    outcomes: list[_Outcome] = []
    # Each call has its own wall limit; the child's CPU limit can only be a sum.
    total = replace(limits, cpu_s=limits.cpu_s * len(tests))
    with sandbox.calls(program, problem.func_name, total, limits.wall_s * len(tests) + 1) as calls:
        for test in tests:
            reply = calls.call(test.input)
            outcomes.append(_judge_reply(reply, test))
            usable = reply.kind in ("value", "error", "type")
            if not usable or (outcomes[-1].status is not Status.PASSED and not all_tests):
                break
    outcomes[-1] = _after_calls(outcomes[-1], calls, limits)
    return outcomes


def _judge_run(ended: Ended, limits: Limits, test: ProblemTest) -> _Outcome:
    if len(ended.stdout) >= limits.output_bytes:
        return _Outcome(Status.OUTPUT_LIMIT, detail=f"{len(ended.stdout)} bytes of output")
    if ended.timed_out or ended.cpu_s >= limits.cpu_s:
        return _Outcome(Status.TIME_LIMIT, detail=f"{ended.wall_s:.2f} s wall, {ended.cpu_s:.2f} s CPU")
    last = _last_line(ended.stderr)
    if ended.memory_mb > limits.memory_mb or (ended.exit_code != 0 and _is_memory_error(last)):
        return _Outcome(Status.MEMORY_LIMIT, detail=f"{ended.memory_mb:.0f} MiB; {last}")
    if ended.exit_code != 0:
        return _Outcome(Status.RUNTIME_ERROR, detail=f"exit {_exit_name(ended.exit_code)}; {last}")
    accepted_by = compare_stdin(test.output, ended.stdout.decode("utf-8", "surrogateescape"))
    if accepted_by is None:
        return _Outcome(Status.WRONG_ANSWER, detail="the output differs from the expected one")
    return _Outcome(Status.PASSED, accepted_by)


def _judge_reply(reply: Reply, test: ProblemTest) -> _Outcome:
    if reply.kind == "error" and _is_memory_error(reply.text):
        return _Outcome(Status.MEMORY_LIMIT, detail=reply.text)
    if reply.kind != "value":
        return _Outcome(_FAILED_CALL[reply.kind], detail=reply.text)
    try:
        accepted_by = compare_functional(test.output, reply.text)
    except ValueError as error:
        return _Outcome(Status.SANDBOX_ERROR, detail=f"the problem's expected output is not JSON: {error}")
    if accepted_by is None:
        return _Outcome(Status.WRONG_ANSWER, detail=f"returned {reply.text[:200]}")
    return _Outcome(Status.PASSED, accepted_by)


def _after_calls(outcome: _Outcome, calls: Calls, limits: Limits) -> _Outcome:
    """The last outcome of a child in the light of how it ended: a killed child may have met a limit."""
    ended = calls.ended
    assert ended is not None
    died = outcome.status is Status.RUNTIME_ERROR
    last = _last_line(ended.stderr)
    if ended.memory_mb > limits.memory_mb or (died and ended.exit_code != 0 and _is_memory_error(last)):
        return _Outcome(Status.MEMORY_LIMIT, detail=f"{ended.memory_mb:.0f} MiB; {last}")
    if died and ended.exit_code == -signal.SIGXCPU:
        return _Outcome(Status.TIME_LIMIT, detail=f"{ended.cpu_s:.2f} s CPU")
    return outcome


def _is_memory_error(line: str) -> bool:
    """Whether a traceback's last line, or an exception's name and text, is of a MemoryError (numpy has its own)."""
    return line.partition(":")[0].endswith("MemoryError")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _exit_name(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return str(exit_code)
    return signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else str(exit_code)
