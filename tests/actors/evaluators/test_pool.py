"""The pool of evaluators, with actors that do as told: order, bounds, retries, replacement, growth and shrinking."""

import asyncio
import logging
from dataclasses import replace

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from actors.evaluators import autoscaling
from actors.evaluators.actor import EvaluatorSettings
from actors.evaluators.autoscaling import IN_HAND, Bounds
from actors.evaluators.pool import TRIES, EvaluatorPool, call_deadline_s
from actors.evaluators.roster import PoolTimeouts
from evaluator.sandbox import Limits
from evaluator.verdict import Status
from learner.rollout import Judgement, Rollout
from tests.factories import completion, problem, verdict
from tests.virtual_time import run_in_virtual_time

QUICK = PoolTimeouts(call_s=30.0, start_s=30.0, ping_s=0.1, alone_s=0.2, tick_s=0.01)
DONE = Judgement(verdict=verdict(), code="print(1)", incomplete=False, seconds=0.5)


class Evaluator:
    """A fake actor: finishes each call when told to, in any order; dies or hangs when told to."""

    def __init__(self, factory):
        self.factory = factory
        self.calls = {}
        self.dead = self.killed = self.stopped = False
        self.answers_pings = True
        self.actor = self

    async def start(self):
        await asyncio.sleep(self.factory.start_s)
        self.live()
        return self.factory.missing

    def live(self):
        if self.dead or self.killed:
            raise ActorDiedError()

    async def judge(self, reference, text):
        self.live()
        self.factory.begun.append(text)
        call = self.calls[text] = asyncio.get_running_loop().create_future()
        try:
            return await call
        finally:
            del self.calls[text]

    async def ping(self):
        self.live()
        if not self.answers_pings:
            await asyncio.sleep(1000)

    async def stop(self):
        self.live()
        assert not self.calls
        self.stopped = True

    def kill(self):
        self.killed = True
        self.die()

    def die(self):
        self.dead = True
        for call in self.calls.values():
            if not call.done():
                call.set_exception(ActorDiedError())

    def finish(self, *texts, result=DONE):
        for text in texts or list(self.calls):
            if not self.calls[text].done():
                self.calls[text].set_result(result)


class Factory:
    """Makes a pool's fake evaluators."""

    def __init__(self, start_s=0.0):
        self.start_s = start_s
        self.missing = ("landlock",)
        self.created = []
        self.begun = []

    def create(self):
        self.created.append(Evaluator(self))
        return self.created[-1]

    def pool(self, least=1, most=None, sandboxes=1, timeouts=QUICK):
        return EvaluatorPool(
            self.create,
            sandboxes=sandboxes,
            cpus=0.5,
            bounds=Bounds(least, most or least),
            timeouts=timeouts,
            put=lambda one: one,
        )


async def until(condition, what="it"):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} did not happen")


def run(scenario, **settings):
    """Start a pool, play ``scenario(factory, pool, judge)`` and stop it. ``judge(text)`` is a task."""

    async def play():
        factory = Factory(settings.pop("start_s", 0.0))
        pool = factory.pool(**settings)
        one = problem()
        assert await pool.start(10.0) == ["landlock"]
        try:
            await scenario(factory, pool, lambda text: asyncio.ensure_future(pool.judge(one, text)))
        finally:
            await pool.stop()
        assert all(task is asyncio.current_task() for task in asyncio.all_tasks())

    run_in_virtual_time(play())


def test_calls_in_hand_are_bounded_and_the_rest_keeps_its_order():
    async def scenario(factory, pool, judge):
        texts = [f"{index:02}" for index in range(12)]
        tasks = [judge(text) for text in texts]
        (only,) = factory.created
        most = finished = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            most = max(most, len(only.calls))
            if only.calls and len(only.calls) == min(2 * IN_HAND, 12 - finished):
                only.finish(next(iter(only.calls)))
                finished += 1
        assert most == 2 * IN_HAND
        assert factory.begun == texts
        assert {task.result() for task in tasks} == {DONE}
        assert pool.load().queue_max == 12 - 2 * IN_HAND

    run(scenario, sandboxes=2)


def test_the_least_busy_gets_the_next_call():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        tasks = [judge(text) for text in "abc"]
        await until(lambda: len(factory.begun) == 3)
        assert (sorted(first.calls), sorted(second.calls)) == (["a", "c"], ["b"])
        second.finish()
        await until(lambda: not second.calls)
        tasks.append(judge("d"))
        await until(lambda: "d" in second.calls)
        first.finish()
        second.finish()
        await asyncio.gather(*tasks)

    run(scenario, least=2)


def test_a_call_of_a_dead_actor_is_judged_by_another_and_the_dead_one_is_replaced():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        task = judge("a")
        await until(lambda: "a" in first.calls)
        first.die()
        await until(lambda: "a" in second.calls)
        await until(lambda: len(factory.created) == 3 and pool.load().actors == 2, "a replacement")
        assert first.killed
        assert pool.actors == [second, factory.created[2]]
        second.finish()
        assert await task is DONE

    run(scenario, least=2)


def test_calls_of_a_dead_actor_come_before_those_who_wait():
    async def scenario(factory, pool, judge):
        (first,) = factory.created
        tasks = [judge(text) for text in "abcd"]
        await until(lambda: len(factory.begun) == IN_HAND)
        first.die()
        await until(lambda: len(factory.begun) == 2 * IN_HAND, "a second start")
        assert sorted(factory.begun[IN_HAND:]) == ["a", "b"]
        while not all(task.done() for task in tasks):
            factory.created[-1].finish()
            await asyncio.sleep(0.01)
        load = pool.load()
        assert (load.retried, load.lost, load.actors) == (2, 0, 1)

    run(scenario)


def test_what_kills_each_actor_is_a_sandbox_error_and_no_reward():
    async def scenario(factory, pool, judge):
        task = judge("a")
        killed = set()
        while not task.done():
            for one in factory.created:
                if "a" in one.calls and one not in killed:
                    killed.add(one)
                    one.die()
            await asyncio.sleep(0.005)
        judgement = task.result()
        assert len(killed) == TRIES == 3
        assert judgement.verdict.status is Status.SANDBOX_ERROR
        assert judgement.verdict.detail.startswith("not judged: evaluator 0: ActorDiedError: ")
        assert judgement.verdict.detail.count("ActorDiedError") == TRIES
        assert Rollout(completion(), judgement).reward is None
        await until(lambda: pool.load().actors == 1, "a replacement")

    run(scenario)


def test_load_counts_retries_and_losses_once():
    async def scenario(factory, pool, judge):
        task = judge("a")
        while not task.done():
            for one in factory.created:
                if "a" in one.calls and not one.dead:
                    one.die()
            await asyncio.sleep(0.005)
        first = pool.load()
        second = pool.load()
        assert (first.retried, first.lost) == (TRIES - 1, 1)
        assert (second.retried, second.lost) == (0, 0)

    run(scenario)


def test_a_call_past_its_deadline_counts_as_failed_and_its_actor_is_killed():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        task = judge("a")
        await until(lambda: "a" in second.calls, "a second try")
        assert first.killed
        second.finish()
        assert await task is DONE
        assert pool.load().retried == 1

    run(scenario, least=2, timeouts=replace(QUICK, call_s=0.1))


def test_an_actor_that_answers_no_ping_is_replaced_with_and_without_calls():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        task = judge("a")
        await until(lambda: "a" in first.calls)
        first.answers_pings = second.answers_pings = False
        await until(lambda: first.killed and second.killed, "both to be found out")
        await until(lambda: any("a" in one.calls for one in factory.created[2:]), "another try")
        for one in factory.created[2:]:
            one.finish()
        assert await task is DONE
        assert pool.load().actors == 2

    run(scenario, least=2)


def test_an_actor_that_dies_idle_is_replaced():
    async def scenario(factory, pool, judge):
        factory.created[0].die()
        await until(lambda: len(factory.created) == 2 and pool.load().actors == 1)
        task = judge("a")
        await until(lambda: "a" in factory.created[1].calls)
        factory.created[1].finish()
        assert await task is DONE

    run(scenario)


def test_without_any_actor_nobody_waits_for_ever(caplog):
    async def scenario(factory, pool, judge):
        factory.start_s = 1000.0
        tasks = [judge(text) for text in "abc"]
        await until(lambda: len(factory.begun) == IN_HAND)
        factory.created[0].die()
        for judgement in await asyncio.gather(*tasks):
            assert judgement.verdict.status is Status.SANDBOX_ERROR
            assert judgement.verdict.detail.endswith("no evaluator runs, for 0.2 s")
        assert pool.load().lost == 3

    caplog.set_level(logging.WARNING)
    run(scenario)
    assert "evaluator 0 removed: ActorDiedError" in caplog.text


def test_an_error_of_our_own_code_is_raised_and_tried_once():
    async def scenario(factory, pool, judge):
        task = judge("a")
        await until(lambda: "a" in factory.created[0].calls)
        factory.created[0].calls["a"].set_exception(RayTaskError("judge", "Traceback", ValueError("a bug")))
        with pytest.raises(RayTaskError):
            await task
        assert not factory.created[0].killed
        assert factory.begun == ["a"]

    run(scenario)


def test_cancelled_calls_give_their_places_back():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abcd"]
        await until(lambda: len(factory.begun) == IN_HAND)
        for task in tasks[:3]:
            task.cancel()
        await until(lambda: factory.begun == ["a", "b", "d"])
        last = judge("e")
        await until(lambda: factory.begun == ["a", "b", "d", "e"])
        factory.created[0].finish()
        assert [await tasks[3], await last] == [DONE, DONE]

    run(scenario)


def test_a_place_given_in_the_moment_of_the_cancellation_is_given_back():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abc"]
        await until(lambda: len(factory.begun) == IN_HAND)
        factory.created[0].finish("a")
        await tasks[0]  # its place has gone to c, which has not run yet
        tasks[2].cancel()
        others = [judge(text) for text in "de"]
        await until(lambda: "d" in factory.created[0].calls)
        factory.created[0].finish()
        await until(lambda: "e" in factory.begun)
        factory.created[0].finish()
        await asyncio.gather(tasks[1], *others)

    run(scenario)


def test_the_pool_grows_while_work_waits_and_new_actors_take_of_it():
    async def scenario(factory, pool, judge):
        tasks = [judge(f"{index}") for index in range(20)]
        await until(lambda: pool.load().actors == 4)
        await until(lambda: all(len(one.calls) == IN_HAND for one in factory.created))
        assert len(factory.created) == 4
        while not all(task.done() for task in tasks):
            for one in factory.created:
                one.finish()
            await asyncio.sleep(0.01)

    run(scenario, least=1, most=4)


def test_the_pool_shrinks_when_idle_and_an_actor_ends_its_work_first(monkeypatch):
    monkeypatch.setattr(autoscaling, "IDLE_S", 0.3)

    async def scenario(factory, pool, judge):
        tasks = [judge(f"{index}") for index in range(20)]
        await until(lambda: len(factory.begun) == 3 * IN_HAND)
        while sum(task.done() for task in tasks) < 18:
            for one in factory.created:
                one.finish()
            await asyncio.sleep(0.01)
        await until(lambda: sum(one.stopped for one in factory.created) == 1, "the first to be removed")
        for one in factory.created:
            one.finish()
        await asyncio.gather(*tasks)
        await until(lambda: len(pool.actors) == 1)
        assert sum(one.stopped and one.killed for one in factory.created) == 2
        assert pool.load().actors == 1

    run(scenario, least=1, most=3)


def test_resizing_removes_busy_actors_only_after_their_calls():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abcd"]
        await until(lambda: len(factory.begun) == 4)
        pool.resize(1)
        first, second = sorted(factory.created, key=lambda one: min(one.calls))
        late = judge("e")
        await asyncio.sleep(0.05)
        assert not first.killed
        assert not second.killed
        assert factory.begun == list("abcd")
        assert (pool.load().actors, len(pool.actors)) == (1, 2)
        first.finish()
        second.finish()
        await until(lambda: len(pool.actors) == 1)
        (left,) = pool.actors
        await until(lambda: "e" in left.calls)
        left.finish()
        assert [await task for task in (*tasks, late)] == [DONE] * 5
        pool.resize(3)
        await until(lambda: pool.load().actors == 3)

    run(scenario, least=2)


def test_an_actor_no_longer_wanted_while_it_starts_is_ended_at_once():
    async def scenario(factory, pool, judge):
        factory.start_s = 1000.0
        pool.resize(3)
        pool.resize(1)
        await until(lambda: [one.killed for one in factory.created] == [False, True, True])
        assert pool.actors == factory.created[:1]

    run(scenario)


def test_actors_that_cannot_start_are_tried_again_and_harm_nobody(caplog):
    async def scenario(factory, pool, judge):
        started = Evaluator.start

        async def fail(self):
            raise ActorDiedError()

        Evaluator.start = fail
        try:
            pool.resize(2)
            await until(lambda: len(factory.created) > 3, "several tries")
        finally:
            Evaluator.start = started
        await until(lambda: pool.load().actors == 2)
        task = judge("a")
        await until(lambda: "a" in factory.begun)
        factory.created[0].finish()
        assert await task is DONE

    caplog.set_level(logging.WARNING)
    run(scenario)
    assert "evaluator 1 removed: ActorDiedError" in caplog.text


def test_a_fence_that_only_a_later_host_lacks_is_logged(caplog):
    async def scenario(factory, pool, judge):
        factory.missing = ("landlock", "seccomp")
        pool.resize(2)
        await until(lambda: pool.load().actors == 2)

    caplog.set_level(logging.WARNING)
    run(scenario)
    assert "evaluator 1: its host does not support landlock, seccomp" in caplog.text


def test_a_fault_of_the_pool_itself_is_raised_to_those_who_wait():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abc"]
        await until(lambda: len(factory.begun) == IN_HAND)

        def broken():
            raise KeyError("a bug")

        factory.created[0].ping = broken
        with pytest.raises(KeyError):
            await tasks[2]
        with pytest.raises(KeyError):
            await judge("d")
        factory.created[0].finish()
        assert [await task for task in tasks[:2]] == [DONE, DONE]

    run(scenario)


def test_one_copy_of_a_problem_for_all_completions_that_are_judged():
    async def play():
        factory = Factory()
        puts = []
        pool = EvaluatorPool(
            factory.create,
            sandboxes=1,
            cpus=0.5,
            bounds=Bounds(1, 1),
            timeouts=QUICK,
            put=lambda one: puts.append(one) or one,
        )
        await pool.start(10.0)
        one = problem()
        tasks = [asyncio.ensure_future(pool.judge(one, text)) for text in "abc"]
        for task, text in zip(tasks, "abc", strict=True):
            await until(lambda text=text: text in factory.created[0].calls)
            factory.created[0].finish(text)
            await task
        assert puts == [one]
        await pool.stop()

    run_in_virtual_time(play())


def test_stopping_ends_the_waiting():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abc"]
        await until(lambda: len(factory.begun) == IN_HAND)
        await pool.stop()
        judgement = await tasks[2]
        assert judgement.verdict.detail == "not judged: the evaluators were stopped"
        factory.created[0].finish()
        await asyncio.gather(*tasks)

    run(scenario)


def test_the_deadline_of_a_call_follows_the_budget():
    settings = EvaluatorSettings(
        limits=Limits(budget_s=100.0), workers=2, policy="judge", adaptive_timeout=False, strict=False
    )
    assert call_deadline_s(settings) == 2 * 100 + 160
    assert call_deadline_s(replace(settings, adaptive_timeout=True)) == 4 * 100 + 160
