"""The pool's promises with generators of this process: every request is answered once, or fails with its name."""

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.generators.actor import SampleRequest
from actors.generators.members import MOST_RESTARTS
from actors.generators.pool import RETRIES, GenerationFailed, GeneratorPool, places_by_question
from actors.lifecycle import MemberLost, NoMemberLeft
from tests.factories import completion
from tests.virtual_time import run_in_virtual_time


class FakeGenerator:
    """Answers when told to; when it dies, all it was asked for is lost. ``actor`` is itself."""

    def __init__(self, name, index, restart):
        self.name = name
        self.index = index
        self.restart = restart
        self.actor = self
        self.started = False
        self.waiting = {}
        self.asked = []
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
            self.dead.set_exception(MemberLost(self.name, reason))
            self.dead.exception()

    async def generate(self, request):
        assert self.started and not self.killed
        self.asked.append(request.name)
        answer = self.waiting[request.name] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({answer, self.dead}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.dead.result()
            return answer.result()
        finally:
            del self.waiting[request.name]

    async def sample_in_order(self, requests, seed):
        for place in reversed(range(len(requests))):
            yield place, await self.generate(requests[place])

    def answer(self, name):
        question, index = name.split("#")
        self.waiting[name].set_result(completion(question_id=question, sample_index=int(index)))


class Made:
    """A started pool and all generators that it made, in order."""

    def __init__(self, count):
        self.generators = []
        self.pool = GeneratorPool(count, self.create)

    def create(self, name, index, restart):
        self.generators.append(FakeGenerator(name, index, restart))
        return self.generators[-1]

    def at(self, index):
        return [generator for generator in self.generators if generator.index == index][-1]

    async def answer_all(self):
        await settle()
        for generator in self.generators:
            for name in list(generator.waiting):
                generator.answer(name)


def request(question, index=0, tokens=100):
    return SampleRequest(
        question_id=question,
        sample_index=index,
        prompt_token_ids=np.array([5, 6], dtype=np.int32),
        max_tokens=tokens,
        temperature=1.0,
        top_p=1.0,
    )


async def settle():
    """Let every task go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def started(count, admit=None):
    made = Made(count)
    await made.pool.start(10.0, admit)
    return made


def in_loop(test):
    """Run the coroutine ``test`` as a test; at most ten seconds."""

    def run():
        async def closing():
            await asyncio.wait_for(test(), 10.0)

        run_in_virtual_time(closing())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@in_loop
async def test_samples_of_a_question_go_to_one_generator():
    made = await started(2)
    tasks = [asyncio.ensure_future(made.pool.generate(request(f"q{q}", i))) for q in range(4) for i in range(3)]
    await settle()
    assert made.at(0).asked == [f"q{q}#{i}" for q in (0, 2) for i in range(3)]
    assert made.at(1).asked == [f"q{q}#{i}" for q in (1, 3) for i in range(3)]
    await made.answer_all()
    assert [(one.question_id, one.sample_index) for one in await asyncio.gather(*tasks)] == [
        (f"q{q}", i) for q in range(4) for i in range(3)
    ]


@in_loop
async def test_a_dead_generators_requests_are_asked_again_elsewhere():
    made = await started(2)
    tasks = [asyncio.ensure_future(made.pool.generate(request("q", i))) for i in range(3)]
    await settle()
    made.at(0).answer("q#0")
    await settle()
    made.at(0).die()
    await settle()
    assert made.generators[1].asked == ["q#1", "q#2"]
    await made.answer_all()
    assert [one.sample_index for one in await asyncio.gather(*tasks)] == [0, 1, 2]
    assert (made.pool.retried, made.pool.restarts) == (2, 1)
    assert [(event.name, event.what, event.reason) for event in made.pool.events] == [
        ("generator 0", "removed", "it died"),
        ("generator 0", "replaced", f"restart 1 of at most {MOST_RESTARTS}"),
    ]


@in_loop
async def test_a_request_that_ends_every_generator_fails_with_its_name():
    made = await started(4)
    task = asyncio.ensure_future(made.pool.generate(request("poison", 3)))
    for _ in range(RETRIES + 1):
        await settle()
        (victim,) = [generator for generator in made.generators if generator.waiting]
        victim.die()
    with pytest.raises(
        GenerationFailed, match=r"completion poison#3 lost its generator 3 times: .*generator 0: it died"
    ):
        await task
    assert not made.pool.routes.load


@in_loop
async def test_a_fresh_generator_serves_only_once_it_was_admitted():
    """And requests wait while there is no other."""
    asked = []
    go = asyncio.Event()

    async def admit(name, actor):
        asked.append((name, actor.restart))
        await go.wait()

    made = await started(1, admit)
    assert asked == []  # the driver publishes to those that it started itself
    made.at(0).die()
    task = asyncio.ensure_future(made.pool.generate(request("q")))
    await settle()
    assert asked == [("generator 0", 1)]
    assert not made.at(0).asked and not task.done()
    go.set()
    await made.answer_all()
    await made.answer_all()
    assert (await task).question_id == "q"
    assert made.at(0).restart == 1


@in_loop
async def test_a_replaced_member_is_killed_and_another_started():
    made = await started(2)
    task = asyncio.ensure_future(made.pool.generate(request("q")))
    await settle()
    made.pool.replace("generator 0", "it did not take version 3 in time")
    made.pool.replace("generator 0", "a second time")
    await settle()
    assert made.generators[0].killed
    assert [generator.restart for generator in made.generators] == [0, 0, 1]
    assert [event.reason for event in made.pool.events if event.what == "removed"] == [
        "it did not take version 3 in time"
    ]
    await made.answer_all()
    await task
    assert made.generators[1].asked == ["q#0"]


@in_loop
async def test_restarts_are_bounded():
    """One that never comes up is given up, and then a request says so instead of waiting for ever."""

    async def admit(name, actor):
        raise RuntimeError("no weights")

    made = await started(1, admit)
    made.at(0).die()
    with pytest.raises(NoMemberLeft, match=re.escape(f"generator 0: it was restarted {MOST_RESTARTS} times")):
        await made.pool.generate(request("q"))
    assert made.pool.restarts == MOST_RESTARTS
    assert all(generator.killed for generator in made.generators)
    assert [event.reason for event in made.pool.events if event.what == "replacement failed"] == [
        "RuntimeError: no weights"
    ] * MOST_RESTARTS


@in_loop
async def test_a_restart_has_a_deadline():
    made = Made(1)

    async def admit(name, actor):
        if actor.restart == 1:
            await asyncio.Event().wait()

    await made.pool.start(0.2, admit)
    made.at(0).die()
    await made.pool.members.wait_for_any()
    await settle()
    await made.pool.members.wait_for("generator 0")
    assert made.at(0).restart == 2
    assert "restarting generator 0 did not finish within 0.2 s" in made.pool.events[1].reason


@in_loop
async def test_nothing_is_restarted_after_closing():
    made = await started(2)
    made.pool.close()
    made.at(0).die()
    await settle()
    assert len(made.generators) == 2
    with pytest.raises(NoMemberLeft, match="closed"):
        await made.pool.generate(request("q"))


@in_loop
async def test_a_cancelled_request_is_no_longer_outstanding():
    made = await started(1)
    task = asyncio.ensure_future(made.pool.generate(request("q")))
    await settle()
    task.cancel()
    await settle()
    assert not made.at(0).waiting
    assert not made.pool.routes.load


@in_loop
async def test_an_ordered_batch_comes_back_as_it_finishes():
    made = await started(2)
    asked = [request(f"q{q}", i) for q in range(3) for i in range(2)]
    completions = made.pool.sample_in_order(asked, 1)
    await settle()
    assert (made.at(0).asked, made.at(1).asked) == (["q2#1"], ["q1#1"])
    made.at(1).answer("q1#1")
    assert (await completions[3]).question_id == "q1"
    assert sum(one.done() for one in completions) == 1
    for _ in range(6):
        await made.answer_all()
    answers = await asyncio.gather(*completions)
    assert [(one.question_id, one.sample_index) for one in answers] == [
        (one.question_id, one.sample_index) for one in asked
    ]


@in_loop
async def test_a_dead_generators_share_of_an_ordered_batch_is_sampled_anew_by_its_successor():
    """By no other, and what it had finished is not given out twice."""
    made = await started(2)
    asked = [request(f"q{q}") for q in range(4)]
    completions = made.pool.sample_in_order(asked, 1)
    await settle()
    made.at(0).answer("q2#0")
    first = await completions[2]
    made.at(0).die()
    for _ in range(8):
        await made.answer_all()
    answers = await asyncio.gather(*completions)
    assert answers[2] is first
    assert made.generators[1].asked == ["q3#0", "q1#0"]
    assert made.at(0).restart == 1
    assert made.at(0).asked == ["q2#0", "q0#0"]


@in_loop
async def test_an_ordered_batch_that_ends_its_generator_fails_with_the_names():
    made = await started(1)
    completions = made.pool.sample_in_order([request("q0"), request("q1")], 1)
    await settle()
    made.at(0).answer("q1#0")
    for _ in range(RETRIES + 1):
        await settle()
        made.at(0).die()
    with pytest.raises(GenerationFailed, match=r"completions q0#0 lost their generator 3 times"):
        await completions[0]


@in_loop
async def test_an_ordered_batch_ends_when_nobody_waits_for_it_any_more():
    made = await started(1)
    completions = made.pool.sample_in_order([request("q0"), request("q1"), request("q2")], 1)
    await settle()
    made.at(0).answer("q2#0")
    await completions[2]
    completions[0].cancel()
    await settle()
    assert made.pool.shares
    completions[1].cancel()
    await settle()
    assert not made.pool.shares
    assert not made.at(0).waiting


@in_loop
async def test_closing_ends_an_ordered_batch():
    made = await started(2)
    completions = made.pool.sample_in_order([request("q0"), request("q1")], 1)
    await settle()
    made.pool.close()
    await settle()
    assert all(one.cancelled() for one in completions)
    assert not any(generator.waiting for generator in made.generators)


@given(st.integers(1, 4), st.lists(st.integers(0, 5), max_size=30))
def test_an_ordered_batch_is_dealt_out_by_question(count, questions):
    places = places_by_question([request(f"q{one}") for one in questions], count)
    assert sorted(place for dealt in places for place in dealt) == list(range(len(questions)))
    assert all(dealt == sorted(dealt) for dealt in places)
    of_engine = [{questions[place] for place in dealt} for dealt in places]
    sizes = [len(one) for one in of_engine]
    assert sum(sizes) == len(set(questions))
    assert max(sizes) - min(sizes) <= 1


@given(
    st.integers(1, 3),
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 3)),
            st.tuples(st.just("answer"), st.integers(0, 50)),
            st.tuples(st.just("die"), st.integers(0, 2)),
        ),
        max_size=40,
    ),
)
def test_every_request_is_answered_once_or_fails_with_its_name(count, actions):
    """Requests, answers and deaths in any order."""

    async def run():
        made = await started(count)
        tasks = []
        for what, number in actions:
            if what == "ask":
                one = request(f"q{number}", len(tasks))
                tasks.append((one, asyncio.ensure_future(made.pool.generate(one))))
            elif what == "answer":
                waiting = [(generator, name) for generator in made.generators for name in generator.waiting]
                if waiting:
                    generator, name = waiting[number % len(waiting)]
                    generator.answer(name)
            else:
                made.at(number % count).die()
            await settle()
        for _ in range(RETRIES + 2):
            await made.answer_all()
        await settle()
        for one, task in tasks:
            assert task.done()
            if task.exception() is None:
                found = task.result()
                assert (found.question_id, found.sample_index) == (one.question_id, one.sample_index)
            elif isinstance(task.exception(), GenerationFailed):
                assert one.name in str(task.exception())
            else:
                assert isinstance(task.exception(), NoMemberLeft)
                assert made.pool.restarts == count * MOST_RESTARTS
        asked = [name for generator in made.generators for name in generator.asked]
        assert len(asked) == len(set(asked)) + made.pool.retried
        assert not made.pool.routes.load and not made.pool.routes.places
        made.pool.close()

    run_in_virtual_time(run())
