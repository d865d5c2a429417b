"""Judge programs, many at a time: each worker is a thread with warm sandboxes of its own.

submit ──► W threads, each with its sandboxes ──► compile once ──► test after test ──► compare ──► Verdict
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from evaluator.adaptive import FLOOR_S, AdaptiveLimits, with_time
from evaluator.comparison import Policy
from evaluator.judging import Tally, Worker, judge
from evaluator.problem import Problem
from evaluator.sandbox import Limits, SandboxError
from evaluator.verdict import Status, Verdict

_HARDEST_FIRST = {"hard": 0, "medium": 1, "easy": 2}


@dataclass(eq=False, kw_only=True)
class _Case:
    """A program on its way to ``answer``. ``deferred``: it met a provisional time limit, and has been queued again."""

    problem: Problem
    code: str | None
    tally: Tally
    answer: Future[Verdict] = field(default_factory=Future)
    seconds: float = 0.0
    deferred: bool = False


class Evaluator:
    """Judges programs, ``workers`` at a time; each worker keeps warm sandboxes. Close it, or use it in a ``with``.

    ``limits`` bound each test; a problem's own ``time_limit_s`` and ``memory_limit_mb`` win where they are lower.
    ``adaptive_timeout``: once a problem has been solved, its time limit follows the slowest accepted test (see
    ``AdaptiveLimits``). Until then a program that takes longer than a second is put off as long as others for its
    problem are waiting: one of them may show what time it takes.
    ``policy``: see ``evaluator.comparison``. ``strict``: SandboxError where a fence is missing.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        workers: int = 1,
        *,
        policy: Policy = "judge",
        strict: bool = False,
        adaptive_timeout: bool = False,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.limits = limits or Limits()
        self.workers = workers
        self._policy: Policy = policy
        self._adaptive = AdaptiveLimits() if adaptive_timeout else None
        self._workers = [Worker.create(strict) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="evaluator")
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()  # programs without a verdict, by problem
        if strict:
            try:
                self._workers[0].light.start()
            except SandboxError:
                self.close()
                raise

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the fences this host refuses (starts a sandbox)."""
        return self._threads.submit(self._ask_missing).result(120)

    def submit(self, problem: Problem, code: str | None, *, all_tests: bool = False) -> Future[Verdict]:
        """Queue one program. ``code`` None (nothing extracted) gives ``no_code``.

        Stops at the first failed test unless ``all_tests``. The future never raises for what a program does.
        """
        case = self._open_case(problem, code, all_tests)
        self._queue(case)
        return case.answer

    def evaluate(self, problem: Problem, code: str | None, *, all_tests: bool = False) -> Verdict:
        """``submit`` and wait."""
        return self.submit(problem, code, all_tests=all_tests).result()

    async def evaluate_many(
        self, items: Iterable[tuple[Problem, str | None]], *, all_tests: bool = False
    ) -> list[Verdict]:
        """Judge many programs on all workers; verdicts in the order of ``items``."""
        cases = [self._open_case(problem, code, all_tests) for problem, code in items]
        # What takes long should not begin when the other workers are almost done.
        for case in sorted(cases, key=lambda case: _expected_effort(case.problem)):
            self._queue(case)
        return list(await asyncio.gather(*(asyncio.wrap_future(case.answer) for case in cases)))

    def close(self) -> None:
        """Drop what is queued, wait for running tests (bounded by their limits), end all sandboxes."""
        self._closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def _ask_missing(self) -> tuple[str, ...]:
        worker = self._idle.get_nowait()
        try:
            return worker.light.missing
        finally:
            self._idle.put(worker)

    def _open_case(self, problem: Problem, code: str | None, all_tests: bool) -> _Case:
        case = _Case(
            problem=problem,
            code=code,
            tally=Tally(total=len(problem.tests), all_tests=all_tests, closing=self._closing),
        )
        with self._lock:
            self._open[problem.question_id] += 1
        case.answer.add_done_callback(lambda _: self._close_case(case))
        return case

    def _queue(self, case: _Case) -> None:
        attempt = self._threads.submit(self._attempt, case)
        attempt.add_done_callback(lambda attempt: _settle(case, attempt))

    def _close_case(self, case: _Case) -> None:
        with self._lock:
            self._open[case.problem.question_id] -= 1
            self._open += Counter()  # drops zeros

    def _attempt(self, case: _Case) -> Verdict | None:
        """A verdict, or None if there is none yet (or nobody waits for it any more)."""
        if not case.deferred and not case.answer.set_running_or_notify_cancel():
            return None
        limits, final = self._limits(case)
        worker = self._idle.get_nowait()  # as many workers as threads: there always is one
        try:
            verdict = judge(
                worker=worker,
                problem=case.problem,
                code=case.code,
                limits=limits,
                policy=self._policy,
                tally=case.tally,
            )
        finally:
            self._idle.put(worker)
        case.seconds += verdict.seconds
        if verdict.status is Status.TIME_LIMIT and not final and not self._closing.is_set():
            case.deferred = True
            self._queue(case)
            return None
        if self._adaptive is not None and verdict.passed:
            self._adaptive.solved(case.problem.question_id, max(outcome.seconds for outcome in case.tally.outcomes))
        return replace(verdict, seconds=case.seconds)

    def _limits(self, case: _Case) -> tuple[Limits, bool]:
        """What a test may use now, and whether a time limit met is final."""
        limits = limits_of(case.problem, self.limits)
        if self._adaptive is None:
            return limits, True
        question_id = case.problem.question_id
        known = self._adaptive.lower(question_id, limits)
        if case.deferred:
            if known.wall_s > FLOOR_S:
                case.tally.outcomes.pop()  # the test that met the provisional limit is run again
            return known, True
        if known is not limits or self._open[question_id] < 2 or case.tally.all_tests:
            return known, True
        return with_time(limits, FLOOR_S), limits.wall_s <= FLOOR_S


def _settle(case: _Case, attempt: Future[Verdict | None]) -> None:
    """Pass on what became of an attempt: its verdict, its error, or that the evaluator was closed."""
    if attempt.cancelled():
        if not case.answer.cancel():
            case.answer.set_result(case.tally.without_tests(Status.SANDBOX_ERROR, "the evaluator was closed"))
    elif (error := attempt.exception()) is not None:
        case.answer.set_exception(error)
    elif (verdict := attempt.result()) is not None:
        case.answer.set_result(verdict)


def _expected_effort(problem: Problem) -> tuple[int, int]:
    """A key that sorts the greatest effort first, as far as can be told from outside."""
    return _HARDEST_FIRST.get(problem.difficulty or "", 1), -len(problem.tests)


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
