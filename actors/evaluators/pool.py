"""The evaluator actors behind one call: routed by load, replaced when they die or hang, scaled with the queue.

    judge ──► queue, in order ──► the least busy actor, IN_HAND calls a sandbox at most ──► Judgement
                ▲                                  │ died, hung, or too late
                └── to the front, TRIES in all ────┘        then Judgement with status sandbox_error

Nothing here changes a verdict: an actor that fails gives none, and ``sandbox_error`` excludes a completion from its
group. Every wait is bounded by ``PoolTimeouts``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayTaskError

from actors.activity import Activity
from actors.evaluators.actor import EvaluatorSettings
from actors.evaluators.autoscaling import IN_HAND, Bounds, PoolState, has_spare, wanted_actors
from actors.evaluators.load import EvaluatorLoad, LoadMeter
from actors.evaluators.roster import EvaluatorMember, EvaluatorMembers, Handle, PoolTimeouts
from actors.evaluators.scaling_mailbox import PoolReport
from actors.evaluators.shared_problems import SharedProblems
from actors.evaluators.verdict_cache import RepeatedPrograms
from actors.lifecycle import ACTOR_ERRORS, one_line
from actors.waiting import gather
from evaluator.problem import Problem
from evaluator.sandbox import GRACE_S, START_S
from evaluator.verdict import Status, Verdict
from learner.rollout import Judgement

log = logging.getLogger(__name__)

TRIES = 3
"""Actors that may fail over one completion before it is given up."""


def call_deadline_s(settings: EvaluatorSettings) -> float:
    """Longest that an actor may take for a call: its program's budget and, before, that of the program ahead in its
    sandbox. A program that met a provisional time limit has both again. A sandbox may have to start, twice."""
    turns = IN_HAND * (2 if settings.adaptive_timeout else 1)
    return turns * settings.limits.budget_s + 2 * (START_S + GRACE_S)


class NoEvaluator(Exception):
    """No actor of the pool runs, for too long."""


class CallQueue:
    """Calls that wait for an actor, as futures in the order they are served; a cancelled one loses its place."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[EvaluatorMember]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, first: bool) -> asyncio.Future[EvaluatorMember]:
        """Take a place at the end, or before all others; the future is the actor to come."""
        place: asyncio.Future[EvaluatorMember] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(place)
        else:
            self._waiting.append(place)
        return place

    def serve(self, acquire: Callable[[], EvaluatorMember | None]) -> None:
        """Give actors to those who wait, until ``acquire`` returns None."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
            elif (member := acquire()) is not None:
                self._waiting.popleft().set_result(member)
            else:
                return

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in all who wait."""
        for place in self._waiting:
            if not place.done():
                place.set_exception(error)
        self._waiting.clear()


class EvaluatorPool:
    """Between ``bounds.least`` and ``bounds.most`` actors of ``sandboxes`` each, made by ``create``.

    ``start`` it, ``judge``, and ``stop`` it; then end ``actors`` (``actors.lifecycle.stop_all``). ``cpus``, which each
    actor takes, is for reports; ``put`` is ``ray.put``.
    """

    def __init__(
        self,
        create: Callable[[], Handle],
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
        self._members = EvaluatorMembers(create, sandboxes, timeouts, on_change=self._assign, on_error=self._break)
        self._roster = self._members.roster
        self._queue = CallQueue()
        self._broken: BaseException | None = None
        self.activity = Activity()
        self._meter = LoadMeter(time.monotonic)
        self._repeated = RepeatedPrograms(self._meter.repeated)
        self._no_spare_at = time.monotonic()
        self._alone_ticks = 0

    @property
    def actors(self) -> list[Any]:
        """All Ray actors of the pool, also those that are starting or draining."""
        return [member.handle.actor for member in self._roster.members]

    async def start(self, deadline_s: float) -> list[str]:
        """Warm a sandbox on each of the first actors; returns the names of the fences that one of their hosts lacks."""
        missing = await self._members.start(self._bounds.least, deadline_s)
        self._members.background.spawn(self._supervise())
        return missing

    async def judge(self, problem: Problem, text: str) -> Judgement:
        """The verdict on the program in ``text``; ``sandbox_error`` when no actor lives to give one.

        An answer that is equal to one judged before, or being judged, gets its verdict.
        """
        return await self._repeated.judgement(problem.question_id, text, lambda: self._judge(problem, text))

    async def _judge(self, problem: Problem, text: str) -> Judgement:
        failures: list[str] = []
        with self._problems.use(problem) as reference:
            while len(failures) < TRIES:
                if failures:
                    self._meter.retried()
                try:
                    member = await self._acquire(first=bool(failures))
                except NoEvaluator as error:
                    failures.append(str(error))
                    break
                try:
                    return await self._call(member, problem, reference, text)
                except RayTaskError:  # raised by our own code over there: not for another actor to try
                    raise
                except ACTOR_ERRORS as error:
                    failures.append(f"{member.name}: {one_line(error)}")
                    self._members.replace(member, one_line(error))
                finally:
                    self._members.release(member)
                    self._assign()
        self._meter.lost()
        log.warning("%s: not judged: %s", problem.question_id, "; ".join(failures))
        return _not_judged(problem, failures)

    def load(self) -> EvaluatorLoad:
        """What was done since the last call."""
        return self._meter.take()

    def resize(self, actors: int) -> None:
        """Have exactly so many actors from here on."""
        self._bounds = Bounds(actors, actors)
        self._adjust()

    def follow(self, mailbox: Any) -> None:
        """Apply the sizes requested in ``mailbox`` (a ScalingMailbox's actor handle), for as long as it lives."""
        self._members.background.spawn(self._apply_requests(mailbox))

    async def stop(self) -> None:
        """Add and watch no actors from here on, and fail the calls that wait; the caller ends ``actors``."""
        await self._members.background.stop()
        self._fail_queue(NoEvaluator("the evaluators were stopped"))

    async def _call(self, member: EvaluatorMember, problem: Problem, reference: Any, text: str) -> Judgement:
        call = {problem.question_id: member.handle.judge(reference, text)}
        self.activity.begin(member.name)
        try:
            (judgement,) = await gather(call, f"judging on {member.name}", self._timeouts.call_s)
        finally:
            self.activity.end(member.name)
        return judgement

    async def _acquire(self, first: bool) -> EvaluatorMember:
        """Wait for an actor with room, at the end of the queue or ``first`` in it. Raises NoEvaluator."""
        if self._broken is not None:
            raise self._broken
        place = self._queue.join(first)
        self._assign()
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:  # got its actor just as it was cancelled
                self._members.release(place.result())
                self._assign()
            raise

    def _assign(self) -> None:
        """Give the calls that wait to actors with room, then record the load."""
        roster = self._roster
        self._queue.serve(roster.acquire)
        self._meter.now_is(len(self._queue), roster.busy_sandboxes, roster.sandboxes, roster.running)
        if not has_spare(self._state(), self._sandboxes):
            self._no_spare_at = time.monotonic()

    def _state(self) -> PoolState:
        idle_s = time.monotonic() - self._no_spare_at
        return PoolState(queue=len(self._queue), busy=self._roster.busy, actors=self._roster.size, idle_s=idle_s)

    async def _supervise(self) -> None:
        """Every tick, adjust the number of actors, and fail the calls that wait if none has run for too long."""
        while True:
            await asyncio.sleep(self._timeouts.tick_s)
            self._adjust()
            self._alone_ticks = 0 if self._roster.running else self._alone_ticks + 1
            if self._alone_ticks * self._timeouts.tick_s >= self._timeouts.alone_s:
                self._fail_queue(NoEvaluator(f"no evaluator runs, for {self._timeouts.alone_s:g} s"))

    def _adjust(self) -> None:
        """Add or remove actors until the pool has as many as it should."""
        wanted = wanted_actors(self._state(), self._bounds, self._sandboxes)
        if wanted != self._roster.size:
            self._members.resize(wanted)
            self._no_spare_at = time.monotonic()
            self._assign()

    async def _apply_requests(self, mailbox: Any) -> None:
        while True:
            await asyncio.sleep(self._timeouts.tick_s)
            report = PoolReport(self._roster.running, self._bounds, self._cpus)
            try:
                exchange = {"the scaling mailbox": mailbox.exchange.remote(report)}
                (requested,) = await gather(exchange, "the requested size of the evaluator pool", self._timeouts.ping_s)
            except ACTOR_ERRORS as error:
                log.warning("launch.scale cannot reach this run any more: %s", one_line(error))
                return
            if requested is not None and self._bounds != Bounds(requested, requested):
                self.resize(requested)

    def _fail_queue(self, error: BaseException) -> None:
        self._queue.fail(error)
        self._assign()

    def _break(self, error: BaseException) -> None:
        """Fail all calls, those to come included: a background task raised, which is a bug of the pool."""
        self._broken = error
        self._fail_queue(error)


def _not_judged(problem: Problem, failures: list[str]) -> Judgement:
    detail = "not judged: " + "; ".join(failures)
    verdict = Verdict(
        status=Status.SANDBOX_ERROR,
        tests_passed=0,
        tests_run=0,
        tests_total=len(problem.tests),
        first_failed=None,
        accepted_by=None,
        seconds=0.0,
        detail=detail,
    )
    return Judgement(verdict=verdict, code=None, incomplete=False, seconds=0.0)
