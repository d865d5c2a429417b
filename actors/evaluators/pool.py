"""Pool of evaluator actors: routes calls by load, replaces actors that die or hang, and scales with its queue.

    caller ──judge──► VerdictCache ──miss──► CallQueue ──► least busy actor ──► Judgement
                           │ hit                 ▲               │ died, hung or missed its deadline
                           ▼                     └── to front ◄──┤ fewer than MAX_ATTEMPTS failures
                       Judgement                                 └──► otherwise: Judgement with sandbox_error

Who waits for whom: ``judge`` waits in the queue until an actor has room (at most CALLS_PER_SANDBOX calls per sandbox),
then for the actor. A background task checks the pool every tick: it adds or removes actors, and fails queued calls when
no actor has accepted calls for too long. ``PoolTimeouts`` bounds the calls to actors. The time in the queue is bounded
only while no actor accepts calls: callers that need a deadline set their own.

Covered: actors that die, hang or fail to start. Not covered: exceptions raised by our own code in an actor, which are
passed to the caller of ``judge``.

The pool never changes a verdict. A completion that no actor could judge gets the status ``sandbox_error``, which
excludes it from its group.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from actors.activity import Activity, PoolCounts
from actors.evaluators.actor import EvaluatorSettings
from actors.evaluators.autoscaling import CALLS_PER_SANDBOX, Bounds, PoolState, compute_target_size, has_spare_actor
from actors.evaluators.load import EvaluatorLoad, LoadMeter
from actors.evaluators.members import EvaluatorMember, EvaluatorMembers, Handle, PoolTimeouts
from actors.evaluators.scaling_mailbox import PoolReport
from actors.evaluators.shared_problems import SharedProblems
from actors.evaluators.verdict_cache import VerdictCache
from actors.lifecycle import ACTOR_ERRORS, summarize_error
from actors.waiting import DeadlineExceeded, gather
from evaluator.problem import Problem
from evaluator.sandbox import GRACE_S, START_TIMEOUT_S
from evaluator.verdict import Status, Verdict
from learner.rollout import Judgement

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Actors that may fail while judging a completion before it gets the status ``sandbox_error``."""


def compute_call_deadline(settings: EvaluatorSettings) -> float:
    """Return the longest time in seconds that an actor may need for a call.

    That is the budget of its program and of the program ahead of it in the same sandbox, both twice if a provisional
    time limit may defer programs, and two starts of the sandbox.
    """
    budgets = CALLS_PER_SANDBOX * (2 if settings.adaptive_timeout else 1)
    return budgets * settings.limits.budget_s + 2 * (START_TIMEOUT_S + GRACE_S)


class NoLiveEvaluator(Exception):
    """No actor of the pool has accepted calls for too long, or the pool was stopped."""


class CallQueue:
    """FIFO queue of calls that wait for an actor.

    Each call is a future that is resolved with the member that will serve it. Cancelled futures are skipped.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[EvaluatorMember]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue(self, front: bool) -> asyncio.Future[EvaluatorMember]:
        """Add a call at the end of the queue, or at its ``front``; return the future of the member that serves it."""
        waiter: asyncio.Future[EvaluatorMember] = asyncio.get_running_loop().create_future()
        if front:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        return waiter

    def assign(self, acquire: Callable[[], EvaluatorMember | None]) -> None:
        """Assign members to waiting calls, in order, until the queue is empty or ``acquire`` returns None."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
            elif (member := acquire()) is not None:
                self._waiting.popleft().set_result(member)
            else:
                return

    def fail(self, error: BaseException) -> None:
        """Fail all waiting calls with ``error``."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()


class EvaluatorPool:
    """Pool of evaluator actors of variable size.

    Call ``start``, then ``judge`` any number of times, then ``stop``, and finally end ``actors`` with
    ``actors.lifecycle.stop_all``.

    Args:
        create: creates an actor with the given name and returns its handle.
        sandboxes: number of sandboxes of each actor.
        cpus: CPUs that each actor reserves, for the reports to ``launch.scale``.
        bounds: fewest and most actors.
        timeouts: deadlines.
        put: ``ray.put``, or a fake of it in tests.
    """

    def __init__(
        self,
        create: Callable[[str], Handle],
        *,
        sandboxes: int,
        cpus: float,
        bounds: Bounds,
        timeouts: PoolTimeouts,
        put: Callable[[Problem], Any] = ray.put,
    ) -> None:
        self._sandboxes = sandboxes
        self._cpus = cpus
        self._bounds = bounds
        self._timeouts = timeouts
        self._problems = SharedProblems(put)
        self._members = EvaluatorMembers(create, sandboxes, timeouts, on_change=self._assign, on_error=self._fail_all)
        self._membership = self._members.membership
        self._queue = CallQueue()
        self._broken: BaseException | None = None
        self.activity = Activity()
        self._meter = LoadMeter(time.monotonic)
        self._cache = VerdictCache(self._meter.count_repeat)
        self._last_without_spare = time.monotonic()  # when the pool last needed all its actors, or changed its size
        self._ticks_without_actor = 0

    @property
    def actors(self) -> list[Any]:
        """All Ray actors of the pool, including those that are starting or draining."""
        return [member.handle.actor for member in self._membership.members]

    async def start(self, deadline_s: float) -> list[str]:
        """Start the first ``bounds.minimum`` actors, each with a warm sandbox.

        Returns:
            Names of the isolation mechanisms that at least one of their hosts does not support.
        """
        missing = await self._members.start(self._bounds.minimum, deadline_s)
        self._members.background.spawn(self._supervise())
        return missing

    async def judge(self, problem: Problem, text: str) -> Judgement:
        """Judge the program in ``text``; the status is ``sandbox_error`` if no actor could judge it.

        If an equal answer to the same problem was judged before or is being judged, its verdict is returned.
        """
        return await self._cache.get_or_judge(problem.question_id, text, lambda: self._judge(problem, text))

    async def _judge(self, problem: Problem, text: str) -> Judgement:
        failures: list[str] = []
        with self._problems.use(problem) as reference:
            while len(failures) < MAX_ATTEMPTS:
                if failures:
                    self._meter.count_retry()
                try:
                    member = await self._acquire(front=bool(failures))
                except NoLiveEvaluator as error:
                    failures.append(str(error))
                    break
                try:
                    return await self._call(member, problem, reference, text)
                except RayTaskError:  # our own code in the actor raised it: another actor would raise it as well
                    raise
                except ACTOR_ERRORS as error:
                    failures.append(f"{member.name}: {summarize_error(error)}")
                    self._members.replace(member, summarize_error(error))
                finally:
                    self._members.release(member)
                    self._assign()
        self._meter.count_unjudged()
        log.warning("%s: not judged: %s", problem.question_id, "; ".join(failures))
        return _make_unjudged_judgement(problem, failures)

    def load(self) -> EvaluatorLoad:
        """Return the pool's load since the previous call, and start a new interval."""
        return self._meter.take()

    def count_members(self) -> PoolCounts:
        """Return the number of actors by state, without side effects. Other threads may call this."""
        members = self._membership
        running = members.running
        idle = members.idle
        dead = self._members.dead
        return PoolCounts(
            busy=max(0, running - idle) + members.draining,
            idle=idle,
            dead=dead,
            starting=max(0, members.size - running - dead),
            restarts=self._members.failures,
            queue=len(self._queue),
        )

    def resize(self, actors: int) -> None:
        """Set the pool's size to exactly ``actors`` from now on."""
        self._bounds = Bounds(actors, actors)
        self._adjust()

    def follow(self, mailbox: Any) -> None:
        """Apply the sizes requested in ``mailbox``, an actor handle to a ScalingMailbox, in the background."""
        self._members.background.spawn(self._apply_requests(mailbox))

    async def stop(self) -> None:
        """Stop adding and watching actors, and fail the queued calls. The caller then ends ``actors``."""
        await self._members.background.stop()
        self._fail_queue(NoLiveEvaluator("the evaluators were stopped"))

    async def _call(self, member: EvaluatorMember, problem: Problem, reference: Any, text: str) -> Judgement:
        call = {problem.question_id: member.handle.judge(reference, text)}
        self.activity.begin(member.name)
        try:
            (judgement,) = await gather(call, f"judging on {member.name}", self._timeouts.call_s)
        finally:
            self.activity.end(member.name)
        return judgement

    async def _acquire(self, front: bool) -> EvaluatorMember:
        """Wait at the end or at the ``front`` of the queue for an actor with room. Raises NoLiveEvaluator."""
        if self._broken is not None:
            raise self._broken
        waiter = self._queue.enqueue(front)
        self._assign()
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:  # got its actor just as it was cancelled
                self._members.release(waiter.result())
                self._assign()
            raise

    def _assign(self) -> None:
        """Assign queued calls to actors with room, then record the load."""
        members = self._membership
        self._queue.assign(members.acquire)
        self._meter.record_state(
            queue=len(self._queue), busy=members.busy_sandboxes, sandboxes=members.sandboxes, actors=members.running
        )
        if not has_spare_actor(self._state(), self._sandboxes):
            self._last_without_spare = time.monotonic()

    def _state(self) -> PoolState:
        return PoolState(
            queue=len(self._queue),
            busy=self._membership.busy,
            actors=self._membership.size,
            idle_s=time.monotonic() - self._last_without_spare,
        )

    async def _supervise(self) -> None:
        """Every tick: adjust the number of actors; fail queued calls if no actor has accepted calls for too long."""
        while True:
            await asyncio.sleep(self._timeouts.tick_s)
            self._adjust()
            self._ticks_without_actor = 0 if self._membership.running else self._ticks_without_actor + 1
            if self._ticks_without_actor * self._timeouts.tick_s >= self._timeouts.no_actor_s:
                self._fail_queue(NoLiveEvaluator(f"no evaluator has run for {self._timeouts.no_actor_s:g} s"))

    def _adjust(self) -> None:
        """Add or remove actors until the pool has its target size."""
        target = compute_target_size(self._state(), self._bounds, self._sandboxes)
        if target != self._membership.size:
            self._members.resize(target)
            self._last_without_spare = time.monotonic()
            self._assign()

    async def _apply_requests(self, mailbox: Any) -> None:
        while True:
            await asyncio.sleep(self._timeouts.tick_s)
            report = PoolReport(self._membership.running, self._bounds, self._cpus)
            try:
                exchange = {"the scaling mailbox": mailbox.exchange.remote(report)}
                (requested,) = await gather(exchange, "reading the requested pool size", self._timeouts.ping_s)
            except (DeadlineExceeded, ActorUnavailableError) as error:  # too busy at the moment, or out of reach
                log.warning("the scaling mailbox is asked again: %s", summarize_error(error))
                continue
            except RayError as error:
                log.warning("launch.scale can no longer reach this run: %s", summarize_error(error))
                return
            if requested is not None and self._bounds != Bounds(requested, requested):
                self.resize(requested)

    def _fail_queue(self, error: BaseException) -> None:
        self._queue.fail(error)
        self._assign()

    def _fail_all(self, error: BaseException) -> None:
        """Fail all queued and future calls with ``error``: a background task raised it, which is a bug of the pool."""
        self._broken = error
        self._fail_queue(error)


def _make_unjudged_judgement(problem: Problem, failures: list[str]) -> Judgement:
    verdict = Verdict(
        status=Status.SANDBOX_ERROR,
        tests_passed=0,
        tests_run=0,
        tests_total=len(problem.tests),
        first_failed=None,
        accepted_by=None,
        seconds=0.0,
        detail="not judged: " + "; ".join(failures),
    )
    return Judgement(verdict=verdict, code=None, incomplete=False, seconds=0.0)
