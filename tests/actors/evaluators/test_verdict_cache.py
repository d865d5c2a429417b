"""Equal answers are judged once; failures are judged again."""

import asyncio

import pytest

from actors.evaluators.verdict_cache import RepeatedPrograms
from evaluator.verdict import Status
from learner.rollout import Judgement
from tests.factories import verdict


class Counted(RepeatedPrograms):
    """``count``: of those that were given again."""

    def __init__(self, **most):
        self.count = 0
        super().__init__(self._one_more, **most)

    def _one_more(self):
        self.count += 1


class Judge:
    """Says what it is told to, after a moment; counts."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.calls = 0

    async def __call__(self):
        self.calls += 1
        await asyncio.sleep(0.01)
        status = self.statuses.pop(0) if self.statuses else Status.PASSED
        if isinstance(status, Exception):
            raise status
        return Judgement(verdict=verdict(status), code=None, incomplete=False, seconds=0.0)


def test_equal_answers_share_a_verdict_while_it_is_made_and_later():
    async def run():
        memory = Counted()
        judge = Judge()
        first, second = await asyncio.gather(*(memory.judgement("q", "a", judge) for _ in range(2)))
        assert first is second is await memory.judgement("q", "a", judge)
        assert (judge.calls, memory.count) == (1, 2)

    asyncio.run(run())


@pytest.mark.parametrize("other", [("q", "b"), ("r", "a")])
def test_another_answer_or_problem_is_judged(other):
    async def run():
        memory = Counted()
        judge = Judge()
        await memory.judgement("q", "a", judge)
        await memory.judgement(other[0], other[1], judge)
        assert (judge.calls, memory.count) == (2, 0)

    asyncio.run(run())


def test_a_failure_of_ours_is_not_remembered():
    async def run():
        memory = Counted()
        judge = Judge(Status.SANDBOX_ERROR, ValueError("broken"))
        assert (await memory.judgement("q", "a", judge)).verdict.status is Status.SANDBOX_ERROR
        with pytest.raises(ValueError, match="broken"):
            await memory.judgement("q", "a", judge)
        assert (await memory.judgement("q", "a", judge)).verdict.passed
        assert judge.calls == 3

    asyncio.run(run())


def test_a_cancelled_caller_does_not_take_the_verdict_from_others():
    async def run():
        memory = Counted()
        judge = Judge()
        one, other = (asyncio.ensure_future(memory.judgement("q", "a", judge)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        assert (await other).verdict.passed
        assert judge.calls == 1

    asyncio.run(run())


def test_a_judgement_ends_with_its_last_caller():
    async def run():
        memory = Counted()
        judge = Judge()
        callers = [asyncio.ensure_future(memory.judgement("q", "a", judge)) for _ in range(2)]
        await asyncio.sleep(0)
        (task,) = (known.task for known in memory.known.values())
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, task, return_exceptions=True)
        assert task.cancelled()
        assert not memory.known
        assert (await memory.judgement("q", "a", judge)).verdict.passed

    asyncio.run(run())


def test_what_is_remembered_is_bounded():
    async def run():
        memory = Counted(most=2)
        judge = Judge()
        for text in ("a", "b", "a", "c", "a", "b"):
            await memory.judgement("q", text, judge)
        assert (judge.calls, len(memory.known)) == (4, 2)

    asyncio.run(run())
