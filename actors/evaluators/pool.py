"""The evaluator actors behind one call: routed by load, replaced when they die or hang, more of them when work waits.

    judge ──► queue, in order ──► the least busy actor, IN_HAND calls a sandbox at most ──► Judgement
                ▲                                  │ died, hung, or too late
                └── to the front, TRIES in all ────┘        then Judgement with status sandbox_error

Nothing here changes a verdict: an actor that fails gives none, and ``sandbox_error`` excludes a completion from its
group. Wherever time is counted, it is bounded by ``Patience``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayTaskError

from actors.activity import Activity
from actors.background import Background
from actors.evaluators.actor import EvaluatorSettings
from actors.evaluators.autoscaling import IN_HAND, Bounds, PoolState, has_spare, wanted_actors
from actors.evaluators.crew import FAILED, EvaluatorCrew, Patience, brief
from actors.evaluators.load import EvaluatorLoad, LoadMeter
from actors.evaluators.roster import Handle, Member, Roster
from actors.evaluators.scaling_mailbox import PoolReport
from actors.evaluators.shared_problems import SharedProblems
from actors.evaluators.turns import Turns
from actors.evaluators.verdict_cache import RepeatedPrograms
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
        self._sandboxes, self._cpus, self._bounds, self._patience = sandboxes, cpus, bounds, patience
        self._problems = SharedProblems(put)
        self._background = Background(self._break)
        self._roster = Roster(sandboxes)
        self._crew = EvaluatorCrew(hire, self._roster, patience, self._background, self._assign)
        self._turns: Turns[Member] = Turns()
        self._broken: BaseException | None = None
        self.activity = Activity()
        self._meter = LoadMeter(time.monotonic)
        self._repeated = RepeatedPrograms(self._meter.repeated)
        self._no_spare_at = time.monotonic()
        self._alone_ticks = 0

    @property
    def actors(self) -> list[Any]:
        """Handles of all Ray actors there are, also of those that are starting or leaving."""
        return [member.handle.actor for member in self._roster.members]

    async def start(self, deadline_s: float) -> list[str]:
        """Warm a sandbox on each of the first actors; returns the names of the fences that one of their hosts lacks."""
        missing = await self._crew.start(self._bounds.least, deadline_s)
        self._background.spawn(self._tend())
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
                    member = await self._turn(again=bool(failures))
                except NoEvaluator as error:
                    failures.append(str(error))
                    break
                try:
                    return await self._call(member, problem, reference, text)
                except RayTaskError:  # raised by our own code over there: not for another actor to try
                    raise
                except FAILED as error:
                    failures.append(f"{member.name}: {brief(error)}")
                    self._crew.lose(member, error)
                finally:
                    self._crew.release(member)
                    self._assign()
        self._meter.lost()
        log.warning("%s: not judged: %s", problem.question_id, "; ".join(failures))
        return _not_judged(problem, failures)

    def load(self) -> EvaluatorLoad:
        """What was done since the last call."""
        return self._meter.take()

    def resize(self, actors: int) -> None:
        """From here on have exactly so many actors."""
        self._bounds = Bounds(actors, actors)
        self._adjust()

    def listen(self, desk: Any) -> None:
        """Take the sizes that are asked for at ``desk`` (a ScalingDesk's actor handle), for as long as it lives."""
        self._background.spawn(self._obey(desk))

    async def stop(self) -> None:
        """Start no further actors, watch none and let nobody wait any more; the caller ends ``actors``."""
        await self._background.stop()
        self._crew.forget_pings()
        self._fail_turns(NoEvaluator("the evaluators were stopped"))

    async def _call(self, member: Member, problem: Problem, reference: Any, text: str) -> Judgement:
        call = {problem.question_id: member.handle.judge(reference, text)}
        self.activity.begin(member.name)
        try:
            (judgement,) = await gather(call, f"judging on {member.name}", self._patience.call_s)
        finally:
            self.activity.end(member.name)
        return judgement

    async def _turn(self, again: bool) -> Member:
        """Wait for an actor with room; those that were with one before come first. Raises NoEvaluator."""
        if self._broken is not None:
            raise self._broken
        turn = self._turns.ask(first=again)
        self._assign()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # had its turn in the moment it was cancelled
                self._crew.release(turn.result())
                self._assign()
            raise

    def _assign(self) -> None:
        """Give the calls that wait to actors with room, then take note of the load."""
        roster = self._roster
        self._turns.serve(roster.take)
        self._meter.now_is(len(self._turns), roster.busy_sandboxes, roster.sandboxes, roster.running)
        if not has_spare(self._state(), self._sandboxes):
            self._no_spare_at = time.monotonic()

    def _state(self) -> PoolState:
        idle_s = time.monotonic() - self._no_spare_at
        return PoolState(len(self._turns), self._roster.busy, self._roster.staff, idle_s)

    async def _tend(self) -> None:
        """Every tick: replace the dead, hire or retire, and leave nobody waiting in vain."""
        while True:
            await asyncio.sleep(self._patience.tick_s)
            self._crew.check()
            self._adjust()
            self._alone_ticks = 0 if self._roster.running else self._alone_ticks + 1
            if self._alone_ticks * self._patience.tick_s >= self._patience.alone_s:
                self._fail_turns(NoEvaluator(f"no evaluator runs, for {self._patience.alone_s:g} s"))

    def _adjust(self) -> None:
        """Hire or retire until the pool has as many as it should."""
        wanted = wanted_actors(self._state(), self._bounds, self._sandboxes)
        if wanted != self._roster.staff:
            self._crew.resize(wanted)
            self._no_spare_at = time.monotonic()
            self._assign()

    async def _obey(self, desk: Any) -> None:
        while True:
            await asyncio.sleep(self._patience.tick_s)
            report = PoolReport(self._roster.running, self._bounds, self._cpus)
            try:
                exchange = {"the desk": desk.exchange.remote(report)}
                (wish,) = await gather(exchange, "asking for the size of the evaluator pool", self._patience.ping_s)
            except FAILED as error:
                log.warning("launch.scale does not reach this run any more: %s", brief(error))
                return
            if wish is not None and self._bounds != Bounds(wish, wish):
                self.resize(wish)

    def _fail_turns(self, error: BaseException) -> None:
        self._turns.fail(error)
        self._assign()

    def _break(self, error: BaseException) -> None:
        """A background task that fails is a fault of this file: nobody may go on waiting for it."""
        self._broken = error
        self._fail_turns(error)


def _not_judged(problem: Problem, failures: list[str]) -> Judgement:
    detail = "not judged: " + "; ".join(failures)
    verdict = Verdict(Status.SANDBOX_ERROR, 0, 0, len(problem.tests), None, None, 0.0, detail)
    return Judgement(verdict, None, False, 0.0)
