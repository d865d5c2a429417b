"""The evaluator actors behind one call: routed by load, replaced when they die or hang, more of them when work waits.

    judge ──► queue, in order ──► the least busy actor, IN_HAND calls a sandbox at most ──► Judgement
                ▲                                  │ died, hung, or too late
                └── to the front, TRIES in all ────┘        then Judgement with status sandbox_error

Nothing here changes a verdict: an actor that fails gives none, and ``sandbox_error`` excludes a completion from its
group. Wherever time is counted, it is bounded by ``Patience``.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from actors.activity import Activity
from actors.autoscaling import IN_HAND, Bounds, PoolState, has_spare, wanted_actors
from actors.evaluator import EvaluatorSettings
from actors.evaluator_load import EvaluatorLoad, LoadMeter
from actors.repeated_programs import RepeatedPrograms
from actors.scaling_desk import PoolReport
from actors.shared_problems import SharedProblems
from actors.shutdown import STOP_DEADLINE_S
from actors.waiting import DeadlineExceeded, gather
from evaluator.problem import Problem
from evaluator.sandbox import GRACE_S, START_S
from evaluator.verdict import Status, Verdict
from learner.rollout import Judgement

log = logging.getLogger(__name__)

TRIES = 3
"""Actors that may fail over one completion before it is given up."""
FAILED = (RayError, DeadlineExceeded)


class Handle(Protocol):
    """What the pool asks of an actor; see ``EvaluatorHandle``."""

    @property
    def actor(self) -> Any: ...
    def start(self) -> Awaitable[tuple[str, ...]]: ...
    def judge(self, problem: Any, text: str) -> Awaitable[Judgement]: ...
    def ping(self) -> Awaitable[None]: ...
    def stop(self) -> Awaitable[None]: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class Patience:
    """Seconds: ``call_s`` for one judgement by one actor, ``start_s`` for a start, ``ping_s`` for the answer to a ping,
    ``alone_s`` that calls wait while no actor runs. The pool looks after its actors every ``tick_s``."""

    call_s: float
    start_s: float
    ping_s: float = 60.0
    alone_s: float = 120.0
    tick_s: float = 1.0


def call_deadline_s(settings: EvaluatorSettings) -> float:
    """Longest that an actor may take for a call: its program's budget and, before, that of the program ahead in its
    sandbox. A program that met a provisional time limit has both again. A sandbox may have to start, twice."""
    turns = IN_HAND * (2 if settings.adaptive_timeout else 1)
    return turns * settings.limits.budget_s + 2 * (START_S + GRACE_S)


class NoEvaluator(Exception):
    """No actor of the pool runs, for too long."""


@dataclass(eq=False)
class _Member:
    """``ready``: it has started. ``leaving``: it gets no further calls and is stopped after those it has."""

    name: str
    handle: Handle
    busy: int = 0
    ready: bool = False
    leaving: bool = False
    ping: asyncio.Future[None] | None = None
    unanswered: int = 0


class EvaluatorPool:
    """Between ``bounds.least`` and ``bounds.most`` actors of ``sandboxes`` each, made by ``hire``.

    ``start`` it, ``judge``, and ``stop`` it; then end ``actors`` (``actors.shutdown.stop_all``). ``cpus`` (what an
    actor takes) is for reports; ``put`` is ``ray.put``.
    """

    def __init__(
        self,
        hire: Callable[[], Handle],
        sandboxes: int,
        cpus: float,
        bounds: Bounds,
        patience: Patience,
        put: Callable[[Problem], Any] = ray.put,
    ) -> None:
        self._hire, self._sandboxes, self._cpus = hire, sandboxes, cpus
        self._bounds, self._patience = bounds, patience
        self._problems = SharedProblems(put)
        self._members: list[_Member] = []
        self._numbers = itertools.count()
        self._turns: deque[asyncio.Future[_Member]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self.activity = Activity()
        self._meter = LoadMeter(time.monotonic)
        self._repeated = RepeatedPrograms(self._meter.repeated)
        self._no_spare_at = time.monotonic()
        self._alone_ticks = 0
        self._missing: set[str] = set()

    @property
    def actors(self) -> list[Any]:
        """Handles of all Ray actors there are, also of those that are starting or leaving."""
        return [member.handle.actor for member in self._members]

    async def start(self, deadline_s: float) -> list[str]:
        """Warm a sandbox on each of the first actors; returns the names of the fences that one of their hosts lacks."""
        members = [self._new_member() for _ in range(self._bounds.least)]
        starts = {member.name: member.handle.start() for member in members}
        for missing in await gather(starts, "starting the evaluators", deadline_s):
            self._missing.update(missing)
        for member in members:
            member.ready = True
        self._assign()
        self._spawn(self._tend())
        return sorted(self._missing)

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
                    member = await self._turn(again=bool(failures))
                except NoEvaluator as error:
                    failures.append(str(error))
                    break
                try:
                    return await self._call(member, problem, reference, text)
                except RayTaskError:  # raised by our own code over there: not for another actor to try
                    raise
                except FAILED as error:
                    failures.append(f"{member.name}: {_brief(error)}")
                    self._lose(member, error)
                finally:
                    self._release(member)
        self._meter.lost()
        log.warning("%s: not judged: %s", problem.question_id, "; ".join(failures))
        return _not_judged(problem, failures)

    def hold(self, problem: Problem) -> AbstractContextManager[object]:
        """Keep one copy of ``problem`` in the object store for all completions judged inside the ``with``."""
        return self._problems.use(problem)

    def load(self) -> EvaluatorLoad:
        """What was done since the last call."""
        return self._meter.take()

    def resize(self, actors: int) -> None:
        """From here on have exactly so many actors."""
        self._bounds = Bounds(actors, actors)
        self._adjust()

    def listen(self, desk: Any) -> None:
        """Take the sizes that are asked for at ``desk`` (a ScalingDesk's actor handle), for as long as it lives."""
        self._spawn(self._obey(desk))

    async def stop(self) -> None:
        """Start no further actors, watch none and let nobody wait any more; the caller ends ``actors``."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_DEADLINE_S)
        self._fail_turns(NoEvaluator("the evaluators were stopped"))
        for member in self._members:
            if member.ping is not None:
                member.ping.cancel()

    async def _call(self, member: _Member, problem: Problem, reference: Any, text: str) -> Judgement:
        call = {problem.question_id: member.handle.judge(reference, text)}
        self.activity.begin(member.name)
        try:
            (judgement,) = await gather(call, f"judging on {member.name}", self._patience.call_s)
        finally:
            self.activity.end(member.name)
        return judgement

    async def _turn(self, again: bool) -> _Member:
        """Wait for an actor with room; those that were with one before come first. Raises NoEvaluator."""
        if self._broken is not None:
            raise self._broken
        turn: asyncio.Future[_Member] = asyncio.get_running_loop().create_future()
        if again:
            self._turns.appendleft(turn)
        else:
            self._turns.append(turn)
        self._assign()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # had its turn in the moment it was cancelled
                self._release(turn.result())
            raise

    def _assign(self) -> None:
        """Give the calls that wait to actors with room, then take note of the load."""
        while self._turns and (member := self._least_busy()) is not None:
            turn = self._turns.popleft()
            if not turn.done():
                member.busy += 1
                turn.set_result(member)
        ready = [member for member in self._members if member.ready]
        busy = sum(min(member.busy, self._sandboxes) for member in ready)
        self._meter.now_is(len(self._turns), busy, self._sandboxes * len(ready), self._running)
        if not has_spare(self._state(), self._sandboxes):
            self._no_spare_at = time.monotonic()

    def _least_busy(self) -> _Member | None:
        open_to_calls = [
            member
            for member in self._members
            if member.ready and not member.leaving and member.busy < IN_HAND * self._sandboxes
        ]
        return min(open_to_calls, key=lambda member: member.busy, default=None)

    def _release(self, member: _Member) -> None:
        member.busy -= 1
        if member.leaving and member.busy == 0 and member in self._members:
            self._spawn(self._dismiss(member))
        self._assign()

    @property
    def _running(self) -> int:
        return sum(member.ready and not member.leaving for member in self._members)

    @property
    def _staff(self) -> list[_Member]:
        return [member for member in self._members if not member.leaving]

    def _state(self) -> PoolState:
        busy = sum(member.busy for member in self._members)
        return PoolState(len(self._turns), busy, len(self._staff), time.monotonic() - self._no_spare_at)

    async def _tend(self) -> None:
        """Every tick: replace the dead, hire or retire, and leave nobody waiting in vain."""
        while True:
            await asyncio.sleep(self._patience.tick_s)
            for member in [member for member in self._members if member.ready]:
                self._check(member)
            self._adjust()
            # In ticks, not by the clock: none passes while something else blocks this process.
            self._alone_ticks = 0 if self._running else self._alone_ticks + 1
            if self._alone_ticks * self._patience.tick_s >= self._patience.alone_s:
                self._fail_turns(NoEvaluator(f"no evaluator runs, for {self._patience.alone_s:g} s"))

    def _check(self, member: _Member) -> None:
        """Send a ping, or see what became of the last one."""
        if member.ping is None:
            member.ping, member.unanswered = asyncio.ensure_future(member.handle.ping()), 0
        elif not member.ping.done():
            member.unanswered += 1
            if member.unanswered * self._patience.tick_s >= self._patience.ping_s:
                self._lose(member, DeadlineExceeded(f"no answer to a ping in {self._patience.ping_s:g} s"))
        elif (error := member.ping.exception()) is not None:
            self._lose(member, error)
        else:
            member.ping = None

    def _adjust(self) -> None:
        """Hire or retire until the pool has as many as it should."""
        staff = self._staff
        wanted = wanted_actors(self._state(), self._bounds, self._sandboxes)
        for _ in range(wanted - len(staff)):
            self._spawn(self._enlist(self._new_member()))
        superfluous = sorted(staff, key=lambda member: (member.ready, member.busy))[: max(0, len(staff) - wanted)]
        for member in superfluous:
            self._retire(member)
        if wanted != len(staff):
            self._no_spare_at = time.monotonic()
            self._assign()

    def _new_member(self) -> _Member:
        member = _Member(f"evaluator {next(self._numbers)}", self._hire())
        self._members.append(member)
        return member

    async def _enlist(self, member: _Member) -> None:
        try:
            start = {member.name: member.handle.start()}
            (missing,) = await gather(start, "starting an evaluator", self._patience.start_s)
        except FAILED as error:
            self._lose(member, error)
            return
        if not self._missing.issuperset(missing):
            log.warning("%s: its host refuses %s", member.name, ", ".join(missing))
            self._missing.update(missing)
        member.ready = True
        self._assign()

    def _lose(self, member: _Member, error: BaseException) -> None:
        """Part with an actor that failed, whatever it does; the next tick hires another where one is wanted."""
        if member in self._members:  # else somebody else noticed before, or it was no longer wanted
            log.warning("%s is lost: %s", member.name, _brief(error))
            self._remove(member)

    def _remove(self, member: _Member) -> None:
        if member.ping is not None:
            member.ping.cancel()
        if member in self._members:
            self._members.remove(member)
            member.handle.kill()
        self._assign()

    def _retire(self, member: _Member) -> None:
        member.leaving = True
        if not member.ready:
            self._remove(member)
        elif member.busy == 0:
            self._spawn(self._dismiss(member))

    async def _dismiss(self, member: _Member) -> None:
        try:
            await gather({member.name: member.handle.stop()}, "stopping an evaluator", STOP_DEADLINE_S)
        except FAILED as error:
            log.warning("%s did not stop, and is killed: %s", member.name, _brief(error))
        self._remove(member)

    async def _obey(self, desk: Any) -> None:
        while True:
            await asyncio.sleep(self._patience.tick_s)
            report = PoolReport(self._running, self._bounds, self._cpus)
            try:
                exchange = {"the desk": desk.exchange.remote(report)}
                (wish,) = await gather(exchange, "asking for the size of the evaluator pool", self._patience.ping_s)
            except FAILED as error:
                log.warning("launch.scale does not reach this run any more: %s", _brief(error))
                return
            if wish is not None and self._bounds != Bounds(wish, wish):
                self.resize(wish)

    def _fail_turns(self, error: BaseException) -> None:
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(error)
        self._turns.clear()
        self._assign()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A background task that fails is a fault of this file: nobody may go on waiting for it."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error
            self._fail_turns(error)


def _brief(error: BaseException) -> str:
    """What and why, in a line: Ray's messages have pages between the two."""
    lines = [line for line in str(error).splitlines() if line and not line[0].isspace()]
    return f"{type(error).__name__}: {' '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:400]}"


def _not_judged(problem: Problem, failures: list[str]) -> Judgement:
    detail = "not judged: " + "; ".join(failures)
    verdict = Verdict(Status.SANDBOX_ERROR, 0, 0, len(problem.tests), None, None, 0.0, detail)
    return Judgement(verdict, None, False, 0.0)
