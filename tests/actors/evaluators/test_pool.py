"""FakeEvaluator pool with fake actors: order of calls, bounds, retries, replacement, and autoscaling."""

import asyncio
import logging
from dataclasses import replace

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from actors.activity import PoolCounts
from actors.evaluators import autoscaling
from actors.evaluators.actor import EvaluatorSettings
from actors.evaluators.autoscaling import CALLS_PER_SANDBOX, Bounds
from actors.evaluators.members import PoolTimeouts
from actors.evaluators.pool import MAX_ATTEMPTS, EvaluatorPool, compute_call_deadline
from evaluator.sandbox import Limits
from evaluator.verdict import Status
from learner.reward import passed, reward_rollout
from learner.rollout import Judgement
from tests.factories import make_completion, make_problem, make_verdict
from tests.virtual_time import run_in_virtual_time

SHORT_TIMEOUTS = PoolTimeouts(call_s=30.0, start_s=30.0, ping_s=0.1, no_actor_s=0.2, tick_s=0.01)
DONE = Judgement(verdict=make_verdict(), code="print(1)", incomplete=False, seconds=0.5)


class FakeEvaluator:
    """Fake evaluator actor whose calls, death and hanging the test controls.

    Attributes:
        calls: future of each unfinished call, by the text to judge.
    """

    def __init__(self, factory):
        self.factory = factory
        self.calls = {}
        self.dead = self.killed = self.stopped = False
        self.answers_pings = True
        self.actor = self

    async def start(self):
        await asyncio.sleep(self.factory.start_s)
        self.check_alive()
        return self.factory.missing

    def check_alive(self):
        """Raise the error that Ray raises for a call to a dead actor, if this one is dead."""
        if self.dead or self.killed:
            raise ActorDiedError()

    async def judge(self, reference, text):
        self.check_alive()
        self.factory.started_texts.append(text)
        call = self.calls[text] = asyncio.get_running_loop().create_future()
        try:
            return await call
        finally:
            del self.calls[text]

    async def ping(self):
        self.check_alive()
        if not self.answers_pings:
            await asyncio.sleep(1000)

    async def stop(self):
        self.check_alive()
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
        """Finish the calls for ``texts``, or all calls."""
        for text in texts or list(self.calls):
            if not self.calls[text].done():
                self.calls[text].set_result(result)


class FakeEvaluatorFactory:
    """Factory of a pool's fake evaluators.

    Attributes:
        start_s: seconds that the start of an evaluator takes.
        missing: isolation mechanisms that the hosts do not support.
        created: all evaluators created so far.
        started_texts: texts of all calls that began, in order.
    """

    def __init__(self, start_s=0.0):
        self.start_s = start_s
        self.missing = ("landlock",)
        self.created = []
        self.started_texts = []

    def create(self, name):
        self.created.append(FakeEvaluator(self))
        return self.created[-1]

    def create_pool(self, minimum=1, maximum=None, sandboxes=1, timeouts=SHORT_TIMEOUTS):
        return EvaluatorPool(
            self.create,
            sandboxes=sandboxes,
            cpus=0.5,
            bounds=Bounds(minimum, maximum or minimum),
            timeouts=timeouts,
            put=lambda problem: problem,
        )


async def wait_until(condition, event="the expected state"):
    """Wait for up to 5 virtual seconds until ``condition()`` is true."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"timed out waiting for {event}")


def run_scenario(scenario, **settings):
    """Start a pool, run ``scenario(factory, pool, judge)`` in virtual time, and stop the pool.

    Args:
        scenario: coroutine function; its argument ``judge(text)`` starts a call of the pool and returns its task.
        settings: ``start_s`` of the factory, and arguments of ``create_pool``.
    """

    async def start_run_and_stop():
        factory = FakeEvaluatorFactory(settings.pop("start_s", 0.0))
        pool = factory.create_pool(**settings)
        problem = make_problem()
        assert await pool.start(10.0) == ["landlock"]
        try:
            await scenario(factory, pool, lambda text: asyncio.ensure_future(pool.judge(problem, text)))
        finally:
            await pool.stop()
        assert all(task is asyncio.current_task() for task in asyncio.all_tasks())

    run_in_virtual_time(start_run_and_stop())


def test_assigned_calls_are_bounded_and_queued_calls_keep_their_order():
    async def scenario(factory, pool, judge):
        texts = [f"{index:02}" for index in range(12)]
        tasks = [judge(text) for text in texts]
        (evaluator,) = factory.created
        max_assigned = finished = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            max_assigned = max(max_assigned, len(evaluator.calls))
            if evaluator.calls and len(evaluator.calls) == min(2 * CALLS_PER_SANDBOX, 12 - finished):
                evaluator.finish(next(iter(evaluator.calls)))
                finished += 1
        assert max_assigned == 2 * CALLS_PER_SANDBOX
        assert factory.started_texts == texts
        assert {task.result() for task in tasks} == {DONE}
        assert pool.load().queue_max == 12 - 2 * CALLS_PER_SANDBOX

    run_scenario(scenario, sandboxes=2)


def test_next_call_goes_to_the_least_busy_evaluator():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        tasks = [judge(text) for text in "abc"]
        await wait_until(lambda: len(factory.started_texts) == 3)
        assert (sorted(first.calls), sorted(second.calls)) == (["a", "c"], ["b"])
        second.finish()
        await wait_until(lambda: not second.calls)
        tasks.append(judge("d"))
        await wait_until(lambda: "d" in second.calls)
        first.finish()
        second.finish()
        await asyncio.gather(*tasks)

    run_scenario(scenario, minimum=2)


def test_dead_actor_is_replaced_and_its_call_retried_on_another():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        task = judge("a")
        await wait_until(lambda: "a" in first.calls)
        first.die()
        await wait_until(lambda: "a" in second.calls)
        await wait_until(lambda: len(factory.created) == 3 and pool.load().actors == 2, "a replacement")
        assert first.killed
        assert pool.actors == [second, factory.created[2]]
        second.finish()
        assert await task is DONE

    run_scenario(scenario, minimum=2)


def test_retried_calls_go_to_the_front_of_the_queue():
    async def scenario(factory, pool, judge):
        (first,) = factory.created
        tasks = [judge(text) for text in "abcd"]
        await wait_until(lambda: len(factory.started_texts) == CALLS_PER_SANDBOX)
        first.die()
        await wait_until(
            lambda: len(factory.started_texts) == 2 * CALLS_PER_SANDBOX, "the replacement to get the calls"
        )
        assert sorted(factory.started_texts[CALLS_PER_SANDBOX:]) == ["a", "b"]
        while not all(task.done() for task in tasks):
            factory.created[-1].finish()
            await asyncio.sleep(0.01)
        load = pool.load()
        assert (load.retried, load.unjudged, load.actors) == (2, 0, 1)

    run_scenario(scenario)


def test_call_that_kills_every_actor_is_a_sandbox_error_without_reward():
    async def scenario(factory, pool, judge):
        task = judge("a")
        killed = set()
        while not task.done():
            for evaluator in factory.created:
                if "a" in evaluator.calls and evaluator not in killed:
                    killed.add(evaluator)
                    evaluator.die()
            await asyncio.sleep(0.005)
        judgement = task.result()
        assert len(killed) == MAX_ATTEMPTS == 3
        assert judgement.verdict.status is Status.SANDBOX_ERROR
        assert judgement.verdict.detail.startswith("not judged: evaluator 0: ActorDiedError: ")
        assert judgement.verdict.detail.count("ActorDiedError") == MAX_ATTEMPTS
        assert reward_rollout(make_problem(), make_completion(), judgement, passed).reward is None
        await wait_until(lambda: pool.load().actors == 1, "a replacement")

    run_scenario(scenario)


def test_load_counts_each_retry_and_unjudged_call_once():
    async def scenario(factory, pool, judge):
        task = judge("a")
        while not task.done():
            for evaluator in factory.created:
                if "a" in evaluator.calls and not evaluator.dead:
                    evaluator.die()
            await asyncio.sleep(0.005)
        first = pool.load()
        second = pool.load()
        assert (first.retried, first.unjudged) == (MAX_ATTEMPTS - 1, 1)
        assert (second.retried, second.unjudged) == (0, 0)

    run_scenario(scenario)


def test_call_past_its_deadline_fails_and_its_actor_is_killed():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        task = judge("a")
        await wait_until(lambda: "a" in second.calls, "a retry")
        assert first.killed
        second.finish()
        assert await task is DONE
        assert pool.load().retried == 1

    run_scenario(scenario, minimum=2, timeouts=replace(SHORT_TIMEOUTS, call_s=0.1))


def test_busy_and_idle_actors_that_answer_no_ping_are_replaced():
    async def scenario(factory, pool, judge):
        first, second = factory.created
        task = judge("a")
        await wait_until(lambda: "a" in first.calls)
        first.answers_pings = second.answers_pings = False
        await wait_until(lambda: first.killed and second.killed, "the removal of both actors")
        await wait_until(lambda: any("a" in evaluator.calls for evaluator in factory.created[2:]), "a retry")
        for evaluator in factory.created[2:]:
            evaluator.finish()
        assert await task is DONE
        assert pool.load().actors == 2

    run_scenario(scenario, minimum=2)


def test_actors_are_counted_by_state():
    async def scenario(factory, pool, judge):
        assert pool.count_members() == PoolCounts(busy=0, idle=2, dead=0, starting=0, restarts=0)
        tasks = [judge(text) for text in "abc"]
        await wait_until(lambda: len(factory.started_texts) == 3)
        assert pool.count_members() == PoolCounts(busy=2, idle=0, dead=0, starting=0, restarts=0)
        tasks += [judge(text) for text in "de"]
        await wait_until(lambda: pool.count_members().queue == 1)
        factory.start_s = 1.0
        factory.created[0].die()
        await wait_until(lambda: len(factory.created) == 3)
        assert (pool.count_members().dead, pool.count_members().restarts) == (1, 1)
        pool.resize(4)
        assert (pool.count_members().dead, pool.count_members().starting) == (1, 2)
        await wait_until(lambda: pool.count_members().starting == 0)
        assert pool.count_members().dead == 0
        factory.created[1].die()
        await wait_until(lambda: pool.count_members().dead == 1)
        pool.resize(1)
        assert pool.count_members().dead == 0
        load = pool.load()
        assert load.queue_max > 0  # counting has not started a new interval
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_scenario(scenario, minimum=2)


def test_idle_actor_that_dies_is_replaced():
    async def scenario(factory, pool, judge):
        factory.created[0].die()
        await wait_until(lambda: len(factory.created) == 2 and pool.load().actors == 1)
        task = judge("a")
        await wait_until(lambda: "a" in factory.created[1].calls)
        factory.created[1].finish()
        assert await task is DONE

    run_scenario(scenario)


def test_calls_fail_after_a_time_without_any_actor(caplog):
    async def scenario(factory, pool, judge):
        factory.start_s = 1000.0
        tasks = [judge(text) for text in "abc"]
        await wait_until(lambda: len(factory.started_texts) == CALLS_PER_SANDBOX)
        factory.created[0].die()
        for judgement in await asyncio.gather(*tasks):
            assert judgement.verdict.status is Status.SANDBOX_ERROR
            assert judgement.verdict.detail.endswith("no evaluator has run for 0.2 s")
        assert pool.load().unjudged == 3

    caplog.set_level(logging.WARNING)
    run_scenario(scenario)
    assert "evaluator 0 removed: ActorDiedError" in caplog.text


def test_error_raised_by_the_actors_code_is_not_retried():
    async def scenario(factory, pool, judge):
        task = judge("a")
        await wait_until(lambda: "a" in factory.created[0].calls)
        factory.created[0].calls["a"].set_exception(RayTaskError("judge", "Traceback", ValueError("a bug")))
        with pytest.raises(RayTaskError):
            await task
        assert not factory.created[0].killed
        assert factory.started_texts == ["a"]

    run_scenario(scenario)


def test_cancelled_calls_free_their_slots():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abcd"]
        await wait_until(lambda: len(factory.started_texts) == CALLS_PER_SANDBOX)
        for task in tasks[:3]:
            task.cancel()
        await wait_until(lambda: factory.started_texts == ["a", "b", "d"])
        last = judge("e")
        await wait_until(lambda: factory.started_texts == ["a", "b", "d", "e"])
        factory.created[0].finish()
        assert [await tasks[3], await last] == [DONE, DONE]

    run_scenario(scenario)


def test_slot_assigned_to_a_call_just_cancelled_is_freed():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abc"]
        await wait_until(lambda: len(factory.started_texts) == CALLS_PER_SANDBOX)
        factory.created[0].finish("a")
        await tasks[0]  # its slot was assigned to call c, whose task has not run yet
        tasks[2].cancel()
        others = [judge(text) for text in "de"]
        await wait_until(lambda: "d" in factory.created[0].calls)
        factory.created[0].finish()
        await wait_until(lambda: "e" in factory.started_texts)
        factory.created[0].finish()
        await asyncio.gather(tasks[1], *others)

    run_scenario(scenario)


def test_pool_grows_while_calls_queue_and_new_actors_serve_them():
    async def scenario(factory, pool, judge):
        tasks = [judge(f"{index}") for index in range(20)]
        await wait_until(lambda: pool.load().actors == 4)
        await wait_until(lambda: all(len(evaluator.calls) == CALLS_PER_SANDBOX for evaluator in factory.created))
        assert len(factory.created) == 4
        while not all(task.done() for task in tasks):
            for evaluator in factory.created:
                evaluator.finish()
            await asyncio.sleep(0.01)

    run_scenario(scenario, minimum=1, maximum=4)


def test_idle_pool_shrinks_after_actors_finish_their_calls(monkeypatch):
    monkeypatch.setattr(autoscaling, "IDLE_S", 0.3)

    async def scenario(factory, pool, judge):
        tasks = [judge(f"{index}") for index in range(20)]
        await wait_until(lambda: len(factory.started_texts) == 3 * CALLS_PER_SANDBOX)
        while sum(task.done() for task in tasks) < 18:
            for evaluator in factory.created:
                evaluator.finish()
            await asyncio.sleep(0.01)
        await wait_until(lambda: sum(evaluator.stopped for evaluator in factory.created) == 1, "the first removal")
        for evaluator in factory.created:
            evaluator.finish()
        await asyncio.gather(*tasks)
        await wait_until(lambda: len(pool.actors) == 1)
        assert sum(evaluator.stopped and evaluator.killed for evaluator in factory.created) == 2
        assert pool.load().actors == 1

    run_scenario(scenario, minimum=1, maximum=3)


def test_resize_removes_busy_actors_only_after_their_calls():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abcd"]
        await wait_until(lambda: len(factory.started_texts) == 4)
        pool.resize(1)
        first, second = sorted(factory.created, key=lambda evaluator: min(evaluator.calls))
        late = judge("e")
        await asyncio.sleep(0.05)
        assert not first.killed
        assert not second.killed
        assert factory.started_texts == list("abcd")
        assert (pool.load().actors, len(pool.actors)) == (1, 2)
        first.finish()
        second.finish()
        await wait_until(lambda: len(pool.actors) == 1)
        (remaining,) = pool.actors
        await wait_until(lambda: "e" in remaining.calls)
        remaining.finish()
        assert [await task for task in (*tasks, late)] == [DONE] * 5
        pool.resize(3)
        await wait_until(lambda: pool.load().actors == 3)

    run_scenario(scenario, minimum=2)


def test_surplus_actor_that_is_still_starting_is_killed_at_once():
    async def scenario(factory, pool, judge):
        factory.start_s = 1000.0
        pool.resize(3)
        pool.resize(1)
        await wait_until(lambda: [evaluator.killed for evaluator in factory.created] == [False, True, True])
        assert pool.actors == factory.created[:1]

    run_scenario(scenario)


def test_failed_starts_of_actors_are_retried(caplog):
    async def scenario(factory, pool, judge):
        original_start = FakeEvaluator.start

        async def fail(self):
            raise ActorDiedError()

        FakeEvaluator.start = fail
        try:
            pool.resize(2)
            await wait_until(lambda: len(factory.created) > 3, "several attempts")
        finally:
            FakeEvaluator.start = original_start
        await wait_until(lambda: pool.load().actors == 2)
        task = judge("a")
        await wait_until(lambda: "a" in factory.started_texts)
        factory.created[0].finish()
        assert await task is DONE

    caplog.set_level(logging.WARNING)
    run_scenario(scenario)
    assert "evaluator 1 removed: ActorDiedError" in caplog.text


def test_isolation_missing_on_a_later_host_is_logged(caplog):
    async def scenario(factory, pool, judge):
        factory.missing = ("landlock", "seccomp")
        pool.resize(2)
        await wait_until(lambda: pool.load().actors == 2)

    caplog.set_level(logging.WARNING)
    run_scenario(scenario)
    assert "evaluator 1: its host does not support landlock, seccomp" in caplog.text


def test_bug_in_the_pool_is_raised_to_waiting_callers():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abc"]
        await wait_until(lambda: len(factory.started_texts) == CALLS_PER_SANDBOX)

        def raise_bug():
            raise KeyError("a bug")

        factory.created[0].ping = raise_bug
        with pytest.raises(KeyError):
            await tasks[2]
        with pytest.raises(KeyError):
            await judge("d")
        factory.created[0].finish()
        assert [await task for task in tasks[:2]] == [DONE, DONE]

    run_scenario(scenario)


def test_calls_for_the_same_problem_share_a_copy():
    async def judge_three_answers():
        factory = FakeEvaluatorFactory()
        puts = []
        pool = EvaluatorPool(
            factory.create,
            sandboxes=1,
            cpus=0.5,
            bounds=Bounds(1, 1),
            timeouts=SHORT_TIMEOUTS,
            put=lambda problem: puts.append(problem) or problem,
        )
        await pool.start(10.0)
        problem = make_problem()
        tasks = [asyncio.ensure_future(pool.judge(problem, text)) for text in "abc"]
        for task, text in zip(tasks, "abc", strict=True):
            await wait_until(lambda text=text: text in factory.created[0].calls)
            factory.created[0].finish(text)
            await task
        assert puts == [problem]
        await pool.stop()

    run_in_virtual_time(judge_three_answers())


def test_stop_fails_queued_calls():
    async def scenario(factory, pool, judge):
        tasks = [judge(text) for text in "abc"]
        await wait_until(lambda: len(factory.started_texts) == CALLS_PER_SANDBOX)
        await pool.stop()
        judgement = await tasks[2]
        assert judgement.verdict.detail == "not judged: the evaluators were stopped"
        factory.created[0].finish()
        await asyncio.gather(*tasks)

    run_scenario(scenario)


def test_call_deadline_follows_from_the_budget():
    settings = EvaluatorSettings(
        limits=Limits(budget_s=100.0), workers=2, policy="judge", adaptive_timeout=False, strict=False, all_tests=False
    )
    assert compute_call_deadline(settings) == 2 * 100 + 160
    assert compute_call_deadline(replace(settings, adaptive_timeout=True)) == 4 * 100 + 160


class FakeMailbox:
    """Fake handle of a scaling mailbox whose answers, sizes or errors, come in order; None is no answer at all."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.exchange = self

    async def remote(self, report):
        answer = self.answers.pop(0)
        if answer is None:
            await asyncio.sleep(1000)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("failure", [None, ActorUnavailableError("busy", None)], ids=["no answer", "unavailable"])
def test_pool_follows_a_mailbox_that_did_not_answer_once(failure):
    async def scenario(factory, pool, judge):
        mailbox = FakeMailbox(1, failure, 2, ActorDiedError())
        pool.follow(mailbox)
        await wait_until(lambda: len(factory.created) == 2)
        await wait_until(lambda: not mailbox.answers)
        await asyncio.sleep(10 * SHORT_TIMEOUTS.tick_s)  # a dead one is not asked again: no answer is left

    run_scenario(scenario)
