"""Judge many programs concurrently. Each worker is a thread with warm sandboxes of its own.

submit ──► queue ──► worker thread ──► compile once ──► run each test ──► compare ──► Verdict
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from evaluator.adaptive import MIN_LIMIT_S, AdaptiveLimits, cap_time
from evaluator.checker import CustomChecker, parse_checker
from evaluator.comparison import Policy
from evaluator.custom_checker import CheckedReferences, CheckerSession
from evaluator.descriptors import raise_descriptor_limit
from evaluator.judging import TestResult, VerdictBuilder, Worker, judge
from evaluator.problem import Problem
from evaluator.sandbox import Limits, SandboxError
from evaluator.verdict import Status, Verdict

_HARDEST_FIRST = {"hard": 0, "medium": 1, "easy": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramRun:
    """Results of a program on all tests of its problem.

    Attributes:
        verdict: the verdict on the program.
        results: results by test; fewer than there are tests if the program or a sandbox failed as a whole.
        answers: the answers that the comparison or the checker rejected, by index of the test.
    """

    verdict: Verdict
    results: tuple[TestResult, ...]
    answers: Mapping[int, str]


@dataclass(eq=False, kw_only=True)
class _PendingProgram:
    """A submitted program without a verdict yet.

    Attributes:
        builder: results of the tests run so far.
        future: gets the verdict.
        seconds: wall time spent on the program so far.
        deferred: the program hit a provisional time limit and was queued again.
    """

    problem: Problem
    code: str | None
    builder: VerdictBuilder
    future: Future[Verdict] = field(default_factory=Future)
    seconds: float = 0.0
    deferred: bool = False


class Evaluator:
    """Judge programs, ``workers`` at a time, in warm sandboxes. Close it, or use it in a ``with`` statement.

    Args:
        limits: limits of each test. A problem's own ``time_limit_s`` and ``memory_limit_mb`` apply if they are lower.
        workers: number of programs judged at the same time.
        policy: comparison policy, see ``evaluator.comparison``.
        strict: raise SandboxError if the host does not support all sandbox isolation.
        adaptive_timeout: lower the time limit of a problem once a program has solved it (see ``AdaptiveLimits``). Until
            then, a program that takes longer than a second is deferred while other programs for the same problem are
            waiting, since one of them may solve it and so lower the limit.

    The soft limit of this process on open descriptors is raised if necessary. Raises DescriptorLimitError if its hard
    limit is too low.
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
        raise_descriptor_limit(workers, self.limits)
        self.workers = workers
        self._policy: Policy = policy
        self._adaptive = AdaptiveLimits() if adaptive_timeout else None
        self._references = CheckedReferences()
        self._workers = [Worker.create(strict, self._references) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="evaluator")
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._unjudged: Counter[str] = Counter()  # number of programs without a verdict, by question id
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
        """Names of the isolation mechanisms that this host does not support. Starts a sandbox."""
        return self._threads.submit(self._find_missing_fences).result(120)

    def submit(self, problem: Problem, code: str | None, *, all_tests: bool = False) -> Future[Verdict]:
        """Queue one program and return the future of its verdict. ``code`` None (no code extracted) gives ``no_code``.

        Judging stops at the first failed test unless ``all_tests``. Nothing that the program does makes the future
        raise.
        """
        pending = self._add_pending(problem, code, all_tests)
        self._enqueue(pending)
        return pending.future

    def evaluate(self, problem: Problem, code: str | None, *, all_tests: bool = False) -> Verdict:
        """Judge one program: ``submit`` it and wait for the verdict."""
        return self.submit(problem, code, all_tests=all_tests).result()

    def submit_all_tests(self, problem: Problem, code: str) -> Future[ProgramRun]:
        """Queue one program for all tests, also after a failed one, and return the future of the results by test.

        Time limits do not adapt.
        """
        return self._threads.submit(self._run_all_tests, problem, code)

    async def evaluate_many(
        self, items: Iterable[tuple[Problem, str | None]], *, all_tests: bool = False
    ) -> list[Verdict]:
        """Judge many programs on all workers. Returns the verdicts in the order of ``items``."""
        import asyncio  # slow to import, and not needed to judge programs one by one

        pending_programs = [self._add_pending(problem, code, all_tests) for problem, code in items]
        # Slow programs first: one that started last would keep a single worker busy while the others are idle.
        for pending in sorted(pending_programs, key=lambda pending: _effort_sort_key(pending.problem)):
            self._enqueue(pending)
        return list(await asyncio.gather(*(asyncio.wrap_future(pending.future) for pending in pending_programs)))

    def find_broken_checkers(self, problems: Iterable[Problem]) -> dict[str, str]:
        """Return the problems that must not be scored, because their custom checker is broken, with the reason.

        A checker is broken if it cannot be loaded, or fails on an expected output of its problem
        (``evaluator.custom_checker``). Problems without a custom checker cost nothing.
        """
        searches = {
            problem.question_id: self._threads.submit(self._find_broken_checker, problem, checker)
            for problem in problems
            if isinstance(checker := parse_checker(problem.checker), CustomChecker)
        }
        return {question_id: reason for question_id, search in searches.items() if (reason := search.result())}

    def close(self) -> None:
        """Cancel queued programs, wait for running tests (bounded by their limits) and stop all sandboxes."""
        self._closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def _find_missing_fences(self) -> tuple[str, ...]:
        worker = self._idle.get_nowait()
        try:
            return worker.light.missing_fences
        finally:
            self._idle.put(worker)

    def _find_broken_checker(self, problem: Problem, checker: CustomChecker) -> str:
        """Return why the checker is broken; "" if it is not."""
        values = None if problem.func_name is None else problem.values
        worker = self._idle.get_nowait()
        reason = ""
        try:
            for _ in range(2):
                try:
                    with CheckerSession(checker, values, worker.checkers) as session:
                        return self._references.find_failure_of_any(session, problem.tests)
                except (SandboxError, OSError) as error:
                    reason = f"its checker cannot be run: {error}"
        finally:
            self._idle.put(worker)
        return reason

    def _run_all_tests(self, problem: Problem, code: str) -> ProgramRun:
        builder = VerdictBuilder(total=len(problem.tests), all_tests=True, closing=self._closing)
        answers: dict[int, str] = {}
        worker = self._idle.get_nowait()
        try:
            verdict = judge(
                worker=worker,
                problem=problem,
                code=code,
                limits=apply_problem_limits(problem, self.limits),
                policy=self._policy,
                builder=builder,
                on_answer=lambda answer: answers.update({len(builder.results): answer}),
            )
        finally:
            self._idle.put(worker)
        rejected = {
            index: answers[index]
            for index, result in enumerate(builder.results)
            if result.status is Status.WRONG_ANSWER and index in answers
        }
        return ProgramRun(verdict=verdict, results=tuple(builder.results), answers=rejected)

    def _add_pending(self, problem: Problem, code: str | None, all_tests: bool) -> _PendingProgram:
        pending = _PendingProgram(
            problem=problem,
            code=code,
            builder=VerdictBuilder(total=len(problem.tests), all_tests=all_tests, closing=self._closing),
        )
        with self._lock:
            self._unjudged[problem.question_id] += 1
        pending.future.add_done_callback(lambda _: self._remove_pending(pending))
        return pending

    def _enqueue(self, pending: _PendingProgram) -> None:
        attempt = self._threads.submit(self._judge_pending, pending)
        attempt.add_done_callback(lambda attempt: _resolve(pending, attempt))

    def _remove_pending(self, pending: _PendingProgram) -> None:
        with self._lock:
            question_id = pending.problem.question_id
            self._unjudged[question_id] -= 1
            if not self._unjudged[question_id]:
                del self._unjudged[question_id]

    def _judge_pending(self, pending: _PendingProgram) -> Verdict | None:
        """Return the verdict, or None if the program was queued again or its future was cancelled."""
        if not pending.deferred and not pending.future.set_running_or_notify_cancel():
            return None
        limits, is_final = self._choose_limits(pending)
        worker = self._idle.get_nowait()  # never empty: there are as many workers as threads
        try:
            verdict = judge(
                worker=worker,
                problem=pending.problem,
                code=pending.code,
                limits=limits,
                policy=self._policy,
                builder=pending.builder,
            )
        finally:
            self._idle.put(worker)
        pending.seconds += verdict.seconds
        if verdict.status is Status.TIME_LIMIT and not is_final and not self._closing.is_set():
            pending.deferred = True
            self._enqueue(pending)
            return None
        if self._adaptive is not None and verdict.passed:
            slowest_s = max(result.seconds for result in pending.builder.results)
            self._adaptive.mark_solved(pending.problem.question_id, slowest_s)
        return replace(verdict, seconds=pending.seconds)

    def _choose_limits(self, pending: _PendingProgram) -> tuple[Limits, bool]:
        """Return the limits of a test of this program now, and whether hitting the time limit is final."""
        limits = apply_problem_limits(pending.problem, self.limits)
        if self._adaptive is None:
            return limits, True
        question_id = pending.problem.question_id
        solved_limits = self._adaptive.lower(question_id, limits)
        if pending.deferred:
            if solved_limits.wall_s > MIN_LIMIT_S:
                pending.builder.results.pop()  # run the test that hit the provisional limit again
            return solved_limits, True
        if solved_limits is not limits or self._unjudged[question_id] < 2 or pending.builder.all_tests:
            return solved_limits, True
        return cap_time(limits, MIN_LIMIT_S), limits.wall_s <= MIN_LIMIT_S


def _resolve(pending: _PendingProgram, attempt: Future[Verdict | None]) -> None:
    """Set the result of the pending program's future: the verdict, the error, or that the evaluator was closed."""
    if attempt.cancelled():
        if not pending.future.cancel():
            closed = pending.builder.build_verdict_without_tests(Status.SANDBOX_ERROR, "the evaluator was closed")
            pending.future.set_result(closed)
    elif (error := attempt.exception()) is not None:
        pending.future.set_exception(error)
    elif (verdict := attempt.result()) is not None:
        pending.future.set_result(verdict)


def _effort_sort_key(problem: Problem) -> tuple[int, int]:
    """Return a key that sorts the programs expected to take longest first."""
    return _HARDEST_FIRST.get(problem.difficulty or "", 1), -len(problem.tests)


def apply_problem_limits(problem: Problem, limits: Limits) -> Limits:
    """Return ``limits`` lowered to the problem's own time and memory limits."""
    seconds = limits.wall_s if problem.time_limit_s is None else problem.time_limit_s
    memory = limits.memory_mb if problem.memory_limit_mb is None else problem.memory_limit_mb
    return replace(
        limits,
        wall_s=min(limits.wall_s, seconds),
        cpu_s=min(limits.cpu_s, seconds),
        memory_mb=min(limits.memory_mb, memory),
    )
