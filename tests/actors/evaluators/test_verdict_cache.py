"""Verdict cache: equal answers are judged once; failed judgements are not cached."""

import asyncio

import pytest

from actors.evaluators.verdict_cache import VerdictCache
from evaluator.verdict import Status
from learner.rollout import Judgement
from tests.factories import make_verdict


class CountingCache(VerdictCache):
    """Cache that counts its hits in ``hits``."""

    def __init__(self, **options):
        self.hits = 0
        super().__init__(self._count_hit, **options)

    def _count_hit(self):
        self.hits += 1


class FakeJudge:
    """FakeJudge that takes 10 ms and counts its calls.

    Args:
        results: a status or an exception for each call; later calls pass.
    """

    def __init__(self, *results):
        self.results = list(results)
        self.calls = 0

    async def __call__(self):
        self.calls += 1
        await asyncio.sleep(0.01)
        result = self.results.pop(0) if self.results else Status.PASSED
        if isinstance(result, Exception):
            raise result
        return Judgement(verdict=make_verdict(result), code=None, incomplete=False, seconds=0.0)


def test_equal_answers_share_a_judgement_in_progress_and_finished():
    async def run():
        cache = CountingCache()
        judge = FakeJudge()
        first, second = await asyncio.gather(*(cache.get_or_judge("q", "a", judge) for _ in range(2)))
        assert first is second is await cache.get_or_judge("q", "a", judge)
        assert (judge.calls, cache.hits) == (1, 2)

    asyncio.run(run())


@pytest.mark.parametrize("other", [("q", "b"), ("r", "a")])
def test_different_answer_or_problem_is_judged_separately(other):
    async def run():
        cache = CountingCache()
        judge = FakeJudge()
        await cache.get_or_judge("q", "a", judge)
        await cache.get_or_judge(other[0], other[1], judge)
        assert (judge.calls, cache.hits) == (2, 0)

    asyncio.run(run())


def test_evaluator_failures_are_not_cached():
    async def run():
        cache = CountingCache()
        judge = FakeJudge(Status.SANDBOX_ERROR, ValueError("broken"))
        assert (await cache.get_or_judge("q", "a", judge)).verdict.status is Status.SANDBOX_ERROR
        with pytest.raises(ValueError, match="broken"):
            await cache.get_or_judge("q", "a", judge)
        assert (await cache.get_or_judge("q", "a", judge)).verdict.passed
        assert judge.calls == 3

    asyncio.run(run())


def test_cancelling_a_caller_keeps_the_judgement_for_others():
    async def run():
        cache = CountingCache()
        judge = FakeJudge()
        first, second = (asyncio.ensure_future(cache.get_or_judge("q", "a", judge)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).verdict.passed
        assert judge.calls == 1

    asyncio.run(run())


def test_judgement_is_cancelled_with_its_last_caller():
    async def run():
        cache = CountingCache()
        judge = FakeJudge()
        callers = [asyncio.ensure_future(cache.get_or_judge("q", "a", judge)) for _ in range(2)]
        await asyncio.sleep(0)
        (task,) = (entry.task for entry in cache.entries.values())
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, task, return_exceptions=True)
        assert task.cancelled()
        assert not cache.entries
        assert (await cache.get_or_judge("q", "a", judge)).verdict.passed

    asyncio.run(run())


def test_cache_evicts_the_least_recently_used_entry():
    async def run():
        cache = CountingCache(capacity=2)
        judge = FakeJudge()
        for text in ("a", "b", "a", "c", "a", "b"):
            await cache.get_or_judge("q", text, judge)
        assert (judge.calls, len(cache.entries)) == (4, 2)

    asyncio.run(run())
