"""Generator pool with in-process fake generators: each request is answered once or fails with an error naming it."""

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.activity import PoolCounts
from actors.generators.actor import SampleRequest
from actors.generators.members import MAX_RESTARTS
from actors.generators.pool import MAX_RETRIES, GenerationFailed, GeneratorPool, assign_by_question
from actors.lifecycle import MemberFailed, NoLiveMember
from tests.factories import make_completion
from tests.virtual_time import run_in_virtual_time


class FakeGenerator:
    """Generator that answers when the test calls ``answer`` and fails its pending requests when it dies."""

    def __init__(self, name, index, restart):
        self.name = name
        self.index = index
        self.restart = restart
        self.actor = self  # the pool passes it to `admit`
        self.started = False
        self.pending = {}
        self.requested = []
        self.killed = False
        self.dead = asyncio.get_running_loop().create_future()

    async def start(self):
        self.started = True

    async def watch(self):
        await asyncio.shield(self.dead)

    def kill(self):
        self.killed = True
        self.die("killed")

    def die(self, reason="it died"):
        if not self.dead.done():
            self.dead.set_exception(MemberFailed(self.name, reason))
            self.dead.exception()

    async def generate(self, request):
        assert self.started and not self.killed
        self.requested.append(request.name)
        answer = self.pending[request.name] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({answer, self.dead}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.dead.result()
            return answer.result()
        finally:
            del self.pending[request.name]

    async def sample_in_order(self, requests, seed):
        for index in reversed(range(len(requests))):
            yield index, await self.generate(requests[index])

    def answer(self, name):
        question, index = name.split("#")
        self.pending[name].set_result(make_completion(question_id=question, sample_index=int(index)))


class PoolHarness:
    """A pool and all fake generators that it has created, in order."""

    def __init__(self, count):
        self.generators = []
        self.pool = GeneratorPool(count, self.create)

    def create(self, name, index, restart):
        self.generators.append(FakeGenerator(name, index, restart))
        return self.generators[-1]

    def newest(self, index):
        """Return the latest generator with this ``index`` in the pool."""
        return [generator for generator in self.generators if generator.index == index][-1]

    async def answer_all(self):
        """Answer all pending requests."""
        await settle()
        for generator in self.generators:
            for name in list(generator.pending):
                generator.answer(name)


def make_request(question, index=0, tokens=100):
    return SampleRequest(
        claim=0,
        question_id=question,
        sample_index=index,
        prompt_token_ids=np.array([5, 6], dtype=np.int32),
        max_tokens=tokens,
        temperature=1.0,
        top_p=1.0,
    )


async def settle():
    """Run the event loop until every task waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def start_pool(count, admit=None):
    """Start a pool of ``count`` fake generators; return its harness."""
    harness = PoolHarness(count)
    await harness.pool.start(10.0, admit)
    return harness


def async_test(test):
    """Turn the coroutine function ``test`` into a test that runs in virtual time, limited to ten virtual seconds."""

    def run():
        async def run_with_deadline():
            await asyncio.wait_for(test(), 10.0)

        run_in_virtual_time(run_with_deadline())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@async_test
async def test_samples_of_a_question_go_to_the_same_generator():
    harness = await start_pool(2)
    tasks = [asyncio.ensure_future(harness.pool.generate(make_request(f"q{q}", i))) for q in range(4) for i in range(3)]
    await settle()
    assert harness.newest(0).requested == [f"q{q}#{i}" for q in (0, 2) for i in range(3)]
    assert harness.newest(1).requested == [f"q{q}#{i}" for q in (1, 3) for i in range(3)]
    await harness.answer_all()
    assert [(completion.question_id, completion.sample_index) for completion in await asyncio.gather(*tasks)] == [
        (f"q{q}", i) for q in range(4) for i in range(3)
    ]


@async_test
async def test_requests_of_a_dead_generator_are_retried_on_another():
    harness = await start_pool(2)
    tasks = [asyncio.ensure_future(harness.pool.generate(make_request("q", i))) for i in range(3)]
    await settle()
    harness.newest(0).answer("q#0")
    await settle()
    harness.newest(0).die()
    await settle()
    assert harness.generators[1].requested == ["q#1", "q#2"]
    await harness.answer_all()
    assert [completion.sample_index for completion in await asyncio.gather(*tasks)] == [0, 1, 2]
    assert (harness.pool.retried, harness.pool.restarts) == (2, 1)
    assert [(event.name, event.change, event.reason) for event in harness.pool.events] == [
        ("generator 0", "removed", "it died"),
        ("generator 0", "replaced", f"restart 1 of at most {MAX_RESTARTS}"),
    ]


@async_test
async def test_request_that_kills_every_generator_fails_with_its_name():
    harness = await start_pool(4)
    task = asyncio.ensure_future(harness.pool.generate(make_request("poison", 3)))
    for _ in range(MAX_RETRIES + 1):
        await settle()
        (victim,) = [generator for generator in harness.generators if generator.pending]
        victim.die()
    with pytest.raises(
        GenerationFailed, match=r"completion poison#3: 3 engines died while sampling it: .*generator 0: it died"
    ):
        await task
    assert not harness.pool.router.load


@async_test
async def test_restarted_generator_serves_only_after_its_admission():
    """Requests wait while no generator serves."""
    admitted = []
    go = asyncio.Event()

    async def admit(name, actor):
        admitted.append((name, actor.restart))
        await go.wait()

    harness = await start_pool(1, admit)
    assert admitted == []  # `start` admits nobody: the driver publishes weights to the first generators itself
    harness.newest(0).die()
    task = asyncio.ensure_future(harness.pool.generate(make_request("q")))
    await settle()
    assert admitted == [("generator 0", 1)]
    assert not harness.newest(0).requested and not task.done()
    go.set()
    await harness.answer_all()
    await harness.answer_all()
    assert (await task).question_id == "q"
    assert harness.newest(0).restart == 1


@async_test
async def test_generators_are_counted_by_state():
    go = asyncio.Event()

    async def admit(name, actor):
        await go.wait()

    harness = PoolHarness(3)
    pool = harness.pool
    assert pool.count_members() == PoolCounts(busy=0, idle=0, dead=0, starting=3, restarts=0)
    await pool.start(10.0, admit)
    tasks = [asyncio.ensure_future(pool.generate(make_request("q", index))) for index in range(2)]
    await settle()
    assert pool.count_members() == PoolCounts(busy=1, idle=2, dead=0, starting=0, restarts=0)
    harness.newest(2).die()
    await settle()
    assert pool.count_members() == PoolCounts(busy=1, idle=1, dead=1, starting=0, restarts=1)
    go.set()
    await harness.answer_all()
    await asyncio.gather(*tasks)
    assert pool.count_members() == PoolCounts(busy=0, idle=3, dead=0, starting=0, restarts=1)


@async_test
async def test_replace_kills_the_generator_and_starts_another():
    harness = await start_pool(2)
    task = asyncio.ensure_future(harness.pool.generate(make_request("q")))
    await settle()
    harness.pool.replace("generator 0", "it did not take version 3 in time")
    harness.pool.replace("generator 0", "a second time")
    await settle()
    assert harness.generators[0].killed
    assert [generator.restart for generator in harness.generators] == [0, 0, 1]
    assert [event.reason for event in harness.pool.events if event.change == "removed"] == [
        "it did not take version 3 in time"
    ]
    await harness.answer_all()
    await task
    assert harness.generators[1].requested == ["q#0"]


@async_test
async def test_generator_is_given_up_after_the_maximum_of_restarts():
    """A request then fails instead of waiting for ever."""

    async def admit(name, actor):
        raise RuntimeError("no weights")

    harness = await start_pool(1, admit)
    harness.newest(0).die()
    with pytest.raises(NoLiveMember, match=re.escape(f"generator 0: it was restarted {MAX_RESTARTS} times")):
        await harness.pool.generate(make_request("q"))
    assert harness.pool.restarts == MAX_RESTARTS
    assert harness.pool.count_members().dead == 1
    assert all(generator.killed for generator in harness.generators)
    assert [event.reason for event in harness.pool.events if event.change == "replacement failed"] == [
        "RuntimeError: no weights"
    ] * MAX_RESTARTS


@async_test
async def test_restart_has_a_deadline():
    harness = PoolHarness(1)

    async def admit(name, actor):
        if actor.restart == 1:
            await asyncio.Event().wait()

    await harness.pool.start(0.2, admit)
    harness.newest(0).die()
    await harness.pool.members.wait_for_any()
    await settle()
    await harness.pool.members.wait_for("generator 0")
    assert harness.newest(0).restart == 2
    assert "restarting generator 0 did not finish within 0.2 s" in harness.pool.events[1].reason


@async_test
async def test_closed_pool_restarts_nothing():
    harness = await start_pool(2)
    harness.pool.close()
    harness.newest(0).die()
    await settle()
    assert len(harness.generators) == 2
    with pytest.raises(NoLiveMember, match="closed"):
        await harness.pool.generate(make_request("q"))


@async_test
async def test_cancelled_request_no_longer_counts_in_the_router_load():
    harness = await start_pool(1)
    task = asyncio.ensure_future(harness.pool.generate(make_request("q")))
    await settle()
    task.cancel()
    await settle()
    assert not harness.newest(0).pending
    assert not harness.pool.router.load


@async_test
async def test_completions_of_an_ordered_batch_are_available_as_they_finish():
    harness = await start_pool(2)
    requests = [make_request(f"q{q}", i) for q in range(3) for i in range(2)]
    completions = harness.pool.sample_in_order(requests, 1)
    await settle()
    assert (harness.newest(0).requested, harness.newest(1).requested) == (["q2#1"], ["q1#1"])
    harness.newest(1).answer("q1#1")
    assert (await completions[3]).question_id == "q1"
    assert sum(completion.done() for completion in completions) == 1
    for _ in range(6):
        await harness.answer_all()
    answers = await asyncio.gather(*completions)
    assert [(answer.question_id, answer.sample_index) for answer in answers] == [
        (request.question_id, request.sample_index) for request in requests
    ]


@async_test
async def test_replacement_samples_its_whole_share_of_an_ordered_batch_again():
    """No other generator samples it, and a completion that had finished is not delivered twice."""
    harness = await start_pool(2)
    requests = [make_request(f"q{q}") for q in range(4)]
    completions = harness.pool.sample_in_order(requests, 1)
    await settle()
    harness.newest(0).answer("q2#0")
    first = await completions[2]
    harness.newest(0).die()
    for _ in range(8):
        await harness.answer_all()
    answers = await asyncio.gather(*completions)
    assert answers[2] is first
    assert harness.generators[1].requested == ["q3#0", "q1#0"]
    assert harness.newest(0).restart == 1
    assert harness.newest(0).requested == ["q2#0", "q0#0"]


@async_test
async def test_ordered_batch_that_kills_its_generator_fails_with_the_names_of_its_requests():
    harness = await start_pool(1)
    completions = harness.pool.sample_in_order([make_request("q0"), make_request("q1")], 1)
    await settle()
    harness.newest(0).answer("q1#0")
    for _ in range(MAX_RETRIES + 1):
        await settle()
        harness.newest(0).die()
    with pytest.raises(GenerationFailed, match=r"completions q0#0: 3 engines died while sampling them"):
        await completions[0]


@async_test
async def test_ordered_batch_is_cancelled_with_its_last_unfinished_completion():
    harness = await start_pool(1)
    completions = harness.pool.sample_in_order([make_request("q0"), make_request("q1"), make_request("q2")], 1)
    await settle()
    harness.newest(0).answer("q2#0")
    await completions[2]
    completions[0].cancel()
    await settle()
    assert harness.pool.share_tasks
    completions[1].cancel()
    await settle()
    assert not harness.pool.share_tasks
    assert not harness.newest(0).pending


@async_test
async def test_close_cancels_ordered_batches():
    harness = await start_pool(2)
    completions = harness.pool.sample_in_order([make_request("q0"), make_request("q1")], 1)
    await settle()
    harness.pool.close()
    await settle()
    assert all(completion.cancelled() for completion in completions)
    assert not any(generator.pending for generator in harness.generators)


@given(st.integers(1, 4), st.lists(st.integers(0, 5), max_size=30))
def test_questions_of_an_ordered_batch_are_spread_evenly(count, questions):
    shares = assign_by_question([make_request(f"q{question}") for question in questions], count)
    assert sorted(index for share in shares for index in share) == list(range(len(questions)))
    assert all(share == sorted(share) for share in shares)
    sizes = [len({questions[index] for index in share}) for share in shares]
    assert sum(sizes) == len(set(questions))
    assert max(sizes) - min(sizes) <= 1


@given(
    st.integers(1, 3),
    st.lists(
        st.one_of(
            st.tuples(st.just("request"), st.integers(0, 3)),
            st.tuples(st.just("answer"), st.integers(0, 50)),
            st.tuples(st.just("die"), st.integers(0, 2)),
        ),
        max_size=40,
    ),
)
def test_every_request_is_answered_once_or_fails_with_its_name(count, actions):
    """Send requests, answer them and kill generators, in any order."""

    async def run():
        harness = await start_pool(count)
        tasks = []
        for action, number in actions:
            if action == "request":
                request = make_request(f"q{number}", len(tasks))
                tasks.append((request, asyncio.ensure_future(harness.pool.generate(request))))
            elif action == "answer":
                pending = [(generator, name) for generator in harness.generators for name in generator.pending]
                if pending:
                    generator, name = pending[number % len(pending)]
                    generator.answer(name)
            else:
                harness.newest(number % count).die()
            await settle()
        for _ in range(MAX_RETRIES + 2):
            await harness.answer_all()
        await settle()
        for request, task in tasks:
            assert task.done()
            if task.exception() is None:
                completion = task.result()
                assert (completion.question_id, completion.sample_index) == (request.question_id, request.sample_index)
            elif isinstance(task.exception(), GenerationFailed):
                assert request.name in str(task.exception())
            else:
                assert isinstance(task.exception(), NoLiveMember)
                assert harness.pool.restarts == count * MAX_RESTARTS
        requested = [name for generator in harness.generators for name in generator.requested]
        assert len(requested) == len(set(requested)) + harness.pool.retried
        assert not harness.pool.router.load and not harness.pool.router.assignments
        harness.pool.close()

    run_in_virtual_time(run())
