"""From a model's answer to a verdict: problem row, extraction, judging, and waiting with a deadline.

    caller ──answer──► extraction thread ──program──► Evaluator: ``workers`` threads with sandboxes ──► verdict
       └──── waits for its verdicts, for as long as the evaluator delivers any (to this caller or another) ───┘

A deadline for a batch would depend on how many programs other callers have queued. So what is bounded is the time
without any verdict: at least one of the running programs must end within its own limits.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from evaluator.comparison import Policy
from evaluator.errors import RunFailed
from evaluator.evaluator import Evaluator
from evaluator.extraction import Extraction, extract_code
from evaluator.problem import Problem, ProblemError
from evaluator.rewards.problem_cache import ProblemCache, ProblemSource, find_question_id
from evaluator.sandbox import GRACE_S, START_TIMEOUT_S, Limits, SandboxError
from evaluator.verdict import Status, Verdict, build_verdict_without_tests

logger = logging.getLogger(__name__)

CLOSED = "the evaluator was closed"
LAST_TEST_FACTOR = 3.0  # by how much waiting for a processor may stretch a test
MAX_NAMED_PROBLEMS = 5  # in the message of a RewardTimeout


class RewardTimeout(RunFailed, TimeoutError):
    """The evaluator delivered no verdict for longer than a program may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardSettings:
    """Settings of the evaluator that all reward functions of a process share.

    Attributes:
        limits: limits of each test, lowered by a problem's own.
        workers: number of programs judged at the same time; None for ``count_default_workers()``.
        policy: comparison policy, see ``evaluator.comparison``.
        strict: raise SandboxError if the host does not support all sandbox isolation.
        adaptive_timeout: lower the time limit of a problem once a program has solved it (see ``Evaluator``).
    """

    limits: Limits = field(default_factory=Limits)
    workers: int | None = None
    policy: Policy = "judge"
    strict: bool = False
    adaptive_timeout: bool = False


@dataclass(frozen=True, eq=False)
class PendingVerdict:
    """A submitted answer. Cancelling ``future`` keeps a program from being judged that has not started yet."""

    question_id: str
    future: Future[Verdict]


class RewardEvaluator:
    """Evaluator of answers.

    Its constructor starts a sandbox. Raises SandboxError if that is impossible, RewardTimeout if it takes too long.

    Attributes:
        missing_fences: names of the isolation mechanisms that this host does not support.
    """

    def __init__(self, settings: RewardSettings) -> None:
        workers = count_default_workers() if settings.workers is None else settings.workers
        self._evaluator = Evaluator(
            settings.limits,
            workers,
            policy=settings.policy,
            strict=settings.strict,
            adaptive_timeout=settings.adaptive_timeout,
        )
        # One thread: extraction is Python code, which several threads would not do faster.
        self._extraction = ThreadPoolExecutor(1, thread_name_prefix="extraction")
        self._problems = ProblemCache()
        self._max_silence_s = compute_max_silence(settings.limits)
        self._last_verdict_time = time.monotonic()
        self._reported: set[str] = set()
        self._lock = threading.Lock()
        try:
            self.missing_fences = self._evaluator.missing
        except TimeoutError as error:
            self.close()
            raise RewardTimeout("the evaluator's first sandbox did not start in time (docs/rewards.md)") from error
        except BaseException:
            self.close()
            raise

    def judge(self, answers: Iterable[tuple[ProblemSource, str]], *, all_tests: bool) -> list[Verdict]:
        """Judge answers and return their verdicts in order. Raises RewardTimeout."""
        pending: list[PendingVerdict] = []
        try:
            for source, answer in answers:
                pending.append(self.submit(source, answer, all_tests=all_tests))
            self._wait(pending)
        finally:  # also after Ctrl-C: nobody waits for them any longer
            for item in pending:
                item.future.cancel()  # no effect on finished ones
        return [item.future.result() for item in pending]

    def submit(self, source: ProblemSource, answer: str, *, all_tests: bool) -> PendingVerdict:
        """Queue an answer. Nothing in the row or in the answer raises: without a verdict it is a ``sandbox_error``."""
        try:
            problem = self._problems.load(source)
        except ProblemError as error:
            pending = PendingVerdict(find_question_id(source), Future())
            self._deliver(pending, _build_sandbox_error(f"the row is not a valid problem: {error}"))
            return pending
        pending = PendingVerdict(problem.question_id, Future())
        try:
            extraction = self._extraction.submit(extract_code, answer, problem.func_name)
        except RuntimeError:
            self._deliver(pending, _build_sandbox_error(CLOSED))
        else:
            extraction.add_done_callback(partial(self._judge_extracted, problem, all_tests, pending))
        return pending

    async def wait_async(self, pending: PendingVerdict) -> Verdict:
        """Wait for one verdict without blocking the event loop. Raises RewardTimeout."""
        began = time.monotonic()
        verdict = asyncio.wrap_future(pending.future)
        try:
            while not verdict.done():
                await asyncio.wait({verdict}, timeout=self._compute_time_left(began, [pending]))
        finally:
            verdict.cancel()  # if the caller was cancelled; a finished future ignores it
        return verdict.result()

    def close(self) -> None:
        """Give unjudged answers a ``sandbox_error``, wait for running tests and stop all sandboxes."""
        self._extraction.shutdown(wait=True, cancel_futures=True)
        self._evaluator.close()

    def _wait(self, pending: Sequence[PendingVerdict]) -> None:
        began = time.monotonic()
        unfinished = {item.future for item in pending}
        while unfinished:
            seconds_left = self._compute_time_left(began, pending)
            unfinished = concurrent.futures.wait(unfinished, timeout=seconds_left).not_done

    def _judge_extracted(
        self, problem: Problem, all_tests: bool, pending: PendingVerdict, extraction: Future[Extraction]
    ) -> None:
        """Submit the extracted program, unless nobody waits for it any longer."""
        if extraction.cancelled():
            self._deliver(pending, _build_sandbox_error(CLOSED))
            return
        if (error := extraction.exception()) is not None:
            if not isinstance(error, SandboxError):  # a bug
                message = "cannot extract a program from an answer to problem %r"
                logger.error(message, problem.question_id, exc_info=error)
            self._deliver(pending, _build_sandbox_error(f"extraction failed: {error!r}"))
            return
        if pending.future.cancelled():
            return
        try:
            judging = self._evaluator.submit(problem, extraction.result().code, all_tests=all_tests)
        except RuntimeError:
            self._deliver(pending, _build_sandbox_error(CLOSED))
            return
        pending.future.add_done_callback(lambda future: future.cancelled() and judging.cancel())
        judging.add_done_callback(partial(self._deliver_judged, pending))

    def _deliver_judged(self, pending: PendingVerdict, judging: Future[Verdict]) -> None:
        if judging.cancelled():
            verdict = _build_sandbox_error(CLOSED)
        elif (error := judging.exception()) is not None:
            logger.error("cannot judge an answer to problem %r", pending.question_id, exc_info=error)
            verdict = _build_sandbox_error(f"judging failed: {error!r}")
        else:
            verdict = judging.result()
        self._deliver(pending, verdict)

    def _deliver(self, pending: PendingVerdict, verdict: Verdict) -> None:
        self._last_verdict_time = time.monotonic()
        if not pending.future.set_running_or_notify_cancel():
            return  # nobody waits for it any longer
        if verdict.status is Status.SANDBOX_ERROR:
            with self._lock:
                is_first = pending.question_id not in self._reported
                self._reported.add(pending.question_id)
            level = logging.WARNING if is_first else logging.DEBUG  # a broken problem would fill the log
            logger.log(level, "no reward for an answer to problem %r: %s", pending.question_id, verdict.detail)
        pending.future.set_result(verdict)

    def _compute_time_left(self, began: float, pending: Sequence[PendingVerdict]) -> float:
        """Return for how many more seconds no verdict may arrive. Raises RewardTimeout if none are left."""
        silence_s = time.monotonic() - max(began, self._last_verdict_time)
        if silence_s < self._max_silence_s:
            return self._max_silence_s - silence_s
        waiting = [item for item in pending if not item.future.done()]
        names = ", ".join(dict.fromkeys(repr(item.question_id) for item in waiting[:MAX_NAMED_PROBLEMS]))
        raise RewardTimeout(
            f"the evaluator delivered no verdict for {silence_s:.0f} s, while {len(waiting)} of {len(pending)} answers "
            f"were waiting, the first to problem {names}; running programs must end within {self._max_silence_s:.0f} s "
            "(docs/rewards.md)"
        )


def count_default_workers() -> int:
    """Return how many CPUs this process may use, divided by the number of training processes of this host.

    torchrun and accelerate set LOCAL_WORLD_SIZE.
    """
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def compute_max_silence(limits: Limits) -> float:
    """Return within how many seconds a program ends whose sandbox fails once, with a start of the sandbox each time."""
    last_test_s = LAST_TEST_FACTOR * limits.wall_s  # may begin just before the budget is used up
    return 2 * (START_TIMEOUT_S + limits.budget_s + last_test_s + 2 * GRACE_S)


def _build_sandbox_error(detail: str) -> Verdict:
    """Return the verdict on an answer that could not be judged."""
    return build_verdict_without_tests(Status.SANDBOX_ERROR, detail)
