"""Rollouts on generators and evaluators that are none: further sampling, sampling ahead, deadlines, restarts."""

import asyncio
import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from actors.generators.pool import GenerationFailed
from evaluator.verdict import Status
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.training.driver_state import read_ready, ready_parquet
from launch.training.problem_order import ProblemOrder
from launch.training.rollouts import RolloutPlan, Rollouts, has_both_rewards
from launch.training.sampling import Sampler
from launch.training.work_buffer import DropReason, GroupState
from learner.checkpoint import CheckpointError
from learner.rollout import Group, Judgement
from tests.factories import completion, group_of, problem, rollout, verdict
from tests.virtual_time import run_in_virtual_time

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR
PROBLEMS = 40
SIZE = 2


class Engines:
    """Answer at once, but to the problems in ``hanging``; die over those in ``deadly``."""

    def __init__(self, hanging=(), deadly=()):
        self.hanging = set(hanging)
        self.deadly = set(deadly)
        self.asked = []
        self.under_way = 0
        self.most = 0
        self.released = asyncio.Event()

    async def generate(self, request):
        self.asked.append(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            if int(request.question_id) in self.deadly:
                raise GenerationFailed(f"completion {request.question_id}#{request.sample_index}: engines died")
            if int(request.question_id) in self.hanging:
                await self.released.wait()
        finally:
            self.under_way -= 1
        return completion(
            question_id=request.question_id, sample_index=request.sample_index, temperature=request.temperature
        )


class Judges:
    """Of the answers to the problems in ``mixed`` the first is right, to others none."""

    def __init__(self, mixed=()):
        self.mixed = set(mixed)
        self.judged = Counter()

    async def judge(self, problem, text):
        await asyncio.sleep(0)
        self.judged[problem.question_id] += 1
        right = int(problem.question_id) in self.mixed and self.judged[problem.question_id] % SIZE == 1
        return Judgement(verdict=verdict(PASSED if right else WRONG), code=text, incomplete=False, seconds=0.0)


def rollouts_of(engines, judges, *, steps=10, batch=8, staleness=0, rounds=0, deadline_s=60.0, seed=0, first_step=0):
    prompts = tuple(
        PromptedProblem(problem(str(index)), np.array([5, 6], np.int32), (("user", ""),)) for index in range(PROBLEMS)
    )
    plan = RolloutPlan(steps=steps, batch_size=batch, group_size=SIZE, max_staleness=staleness, most_rounds=rounds)
    display = Display(Console(file=io.StringIO()), steps, first_step)
    sampler = Sampler(generators=engines, evaluators=judges, max_tokens=16, deadline_s=deadline_s, seed=None)
    return Rollouts(
        plan=plan,
        problems=prompts,
        order=ProblemOrder(PROBLEMS, seed),
        sampler=sampler,
        display=display,
        first_step=first_step,
    )


def sample_step(mixed, *, step=0, **plan):
    """One step's groups, and the problems that were asked for, in order."""
    engines = Engines()
    rollouts = rollouts_of(engines, Judges(mixed), first_step=step, **plan)

    async def run():
        rollouts.fill(step, lambda _: 1.0)
        sampled = await rollouts.step(step, step)
        rollouts.served(step)
        await rollouts.close()
        return sampled

    sampled = run_in_virtual_time(run())
    assert rollouts.buffer.trained + rollouts.buffer.dropped.total() == rollouts.buffer.claimed
    return sampled, [int(request.question_id) for request in engines.asked if request.sample_index == 0]


def names(sampled, kept):
    return [
        group.question_id for group, trained in zip(sampled.groups, sampled.trained, strict=True) if trained is kept
    ]


def test_without_rounds_every_group_is_trained():
    sampled, asked = sample_step(mixed=[])
    assert asked == ProblemOrder(PROBLEMS, 0).batch(0, 8)
    assert [int(name) for name in names(sampled, True)] == asked
    assert (sampled.rounds, sampled.dropped, sampled.lost.total()) == (0, 0, 0)


def test_no_further_round_where_all_have_both_rewards():
    sampled, asked = sample_step(mixed=range(PROBLEMS), rounds=4)
    assert len(asked) == 8
    assert sampled.trained == (True,) * 8


def test_further_problems_until_enough_have_both_rewards():
    sampled, asked = sample_step(mixed=range(0, PROBLEMS, 2), rounds=10)
    assert sampled.rounds >= 1
    assert sum(sampled.trained) == 8
    assert all(int(name) % 2 == 0 for name in names(sampled, True))
    assert sampled.dropped + 8 == len(sampled.groups) == len(asked)


def test_no_problem_is_asked_for_again_while_others_are_left():
    _, asked = sample_step(mixed=[], rounds=5)
    assert sorted(asked[:PROBLEMS]) == list(range(PROBLEMS))
    assert len(asked) == PROBLEMS + 8


def test_rounds_are_bounded_and_the_step_trains_on_what_there_is():
    rare = ProblemOrder(PROBLEMS, 0).batch(0, 8)[:1]
    sampled, asked = sample_step(mixed=rare, rounds=2)
    assert (sampled.rounds, sum(sampled.trained)) == (2, 1)
    assert names(sampled, True) == [str(rare[0])]
    assert sampled.dropped == len(sampled.groups) - 1 == len(asked) - 1


def test_rounds_belong_to_seed_and_step():
    def asked(step=3, seed=0):
        return sample_step(mixed=[], step=step, seed=seed, rounds=4)[1]

    assert asked() == asked()
    assert asked(step=4) != asked()
    assert asked(seed=1) != asked()


@given(st.integers(1, 30), st.integers(0, 99), st.integers(1, 9), st.integers(1, 40), st.data())
def test_further_problems(problems, step, sampling_round, size, data):
    used = data.draw(st.lists(st.integers(0, problems - 1), max_size=20))
    found = ProblemOrder(problems, 5).further(step, sampling_round, size, used)
    assert len(found) == len(set(found)) == min(size, problems)
    fresh = set(range(problems)) - set(used)
    assert len(fresh & set(found)) == min(len(fresh), len(found)), "a used problem came before a fresh one"


@given(st.integers(1, 25), st.integers(1, 40), st.integers(0, 12))
def test_the_order_goes_through_all_problems_once_an_epoch(problems, size, step):
    order = ProblemOrder(problems, 3)
    flat = [index for number in range(step + 1) for index in order.batch(number, size)]
    for epoch in range(len(flat) // problems):
        assert sorted(flat[epoch * problems : (epoch + 1) * problems]) == list(range(problems))


@pytest.mark.parametrize(
    ("statuses", "both"),
    [
        ((PASSED, WRONG), True),
        ((PASSED, PASSED), False),
        ((WRONG, Status.TIME_LIMIT), False),
        ((PASSED, OURS), False),
        ((PASSED, OURS, WRONG), True),
        ((OURS, OURS), False),
    ],
)
def test_has_both_rewards(statuses, both):
    assert has_both_rewards(group_of(*statuses)) is both


def test_lengths_do_not_make_rewards_differ():
    """DAPO filters by accuracy: two failing answers, one of them penalised for its length, are equal."""
    group = Group("q", "", (rollout(WRONG, tokens=[7] * 3), rollout(WRONG, tokens=list(np.arange(20)))))
    assert not has_both_rewards(group)


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_no_group_is_staler_than_allowed_and_all_end_once(staleness):
    """Steps are sampled as far ahead as allowed, in the order of problems, and no slot is left at the end."""
    engines = Engines()
    judges = Judges(range(0, PROBLEMS, 3))
    steps = 6
    rollouts = rollouts_of(engines, judges, steps=steps, batch=4, staleness=staleness)
    ahead = []

    async def run():
        for step in range(steps):
            rollouts.fill(step, lambda number: 1.0 + number)
            slots = rollouts.buffer.slots.values()
            assert all(step - slot.claim.version <= staleness for slot in slots if slot.claim.step == step)
            ahead.append(max(slot.claim.step for slot in slots) - step)
            sampled = await rollouts.step(step, step)
            assert [int(name) for name in names(sampled, True)] == ProblemOrder(PROBLEMS, 0).batch(step, 4)
            assert {one.completion.temperature for group in sampled.groups for one in group.rollouts} == {1.0 + step}
            rollouts.served(step)
        await rollouts.close()

    run_in_virtual_time(run())
    assert ahead == [min(staleness, steps - 1 - step) for step in range(steps)]
    assert (rollouts.buffer.claimed, rollouts.buffer.trained, rollouts.buffer.slots) == (steps * 4, steps * 4, {})


def test_the_next_step_is_sampled_while_this_one_is_trained():
    engines = Engines()
    rollouts = rollouts_of(engines, Judges(), batch=4, staleness=1)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.step(0, 0)
        await asyncio.sleep(0.05)  # the update
        assert {slot.state for slot in rollouts.buffer.of_step(1)} == {GroupState.READY}
        await rollouts.close()

    run_in_virtual_time(run())
    assert rollouts.buffer.dropped == {DropReason.STOPPED: 8}


def test_what_is_late_is_left_out_and_counted():
    late = ProblemOrder(PROBLEMS, 0).batch(0, 8)[2]
    engines = Engines(hanging=[late])
    rollouts = rollouts_of(engines, Judges(), deadline_s=0.2)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        sampled = await rollouts.step(0, 0)
        rollouts.served(0)
        await asyncio.sleep(0.01)
        assert engines.under_way == 0, "a request that nobody waits for goes on"
        await rollouts.close()
        return sampled

    sampled = run_in_virtual_time(run())
    assert str(late) not in names(sampled, True)
    assert (len(sampled.groups), sampled.lost) == (7, {DropReason.DEADLINE: 1})
    assert f"pending: 2:{late}#0, 2:{late}#1" in rollouts.display.console.file.getvalue()


def test_a_group_that_engines_die_over_is_left_out():
    deadly = ProblemOrder(PROBLEMS, 0).batch(0, 8)[5]
    sampled_of = rollouts_of(Engines(deadly=[deadly]), Judges())

    async def run():
        sampled_of.fill(0, lambda _: 1.0)
        return await sampled_of.step(0, 0)

    sampled = run_in_virtual_time(run())
    assert (len(sampled.groups), sampled.lost) == (7, {DropReason.FAILED: 1})
    assert f"a group is left out: completion {deadly}#0: engines died" in sampled_of.display.console.file.getvalue()


def test_draining_waits_for_completions_in_flight():
    later = ProblemOrder(PROBLEMS, 0).batch(1, 8)
    engines = Engines(hanging=later)
    rollouts = rollouts_of(engines, Judges(), staleness=1)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.step(0, 0)
        draining = asyncio.ensure_future(rollouts.drain())
        await asyncio.sleep(0.02)
        assert not draining.done()
        engines.released.set()
        await asyncio.wait_for(draining, 10)
        assert engines.under_way == 0
        await rollouts.close()

    run_in_virtual_time(run())


def test_draining_is_bounded():
    late = ProblemOrder(PROBLEMS, 0).batch(1, 8)[0]
    engines = Engines(hanging=[late])
    rollouts = rollouts_of(engines, Judges(), staleness=1, deadline_s=0.2)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.step(0, 0)
        await rollouts.drain()
        rollouts.served(0)
        sampled = await rollouts.step(1, 1)
        await rollouts.close()
        return sampled

    sampled = run_in_virtual_time(run())
    assert (len(sampled.groups), sampled.lost) == (7, {DropReason.DEADLINE: 1})
    assert engines.under_way == 0


def test_completions_come_in_order_before_their_verdicts():
    class Silent(Judges):
        """Gives no verdict before it is told to."""

        def __init__(self):
            super().__init__()
            self.told = asyncio.Event()

        async def judge(self, problem, text):
            await self.told.wait()
            return await super().judge(problem, text)

    judges = Silent()
    rollouts = rollouts_of(Engines(), judges)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        completions = await rollouts.completions(0)
        assert not judges.judged
        judges.told.set()
        sampled = await rollouts.step(0, 0)
        await rollouts.close()
        return completions, sampled

    completions, sampled = run_in_virtual_time(run())
    assert completions == [one.completion for group in sampled.groups for one in group.rollouts]
    assert sampled.times.generation == 0


def test_late_completions_are_told_of_with_the_verdicts():
    late = ProblemOrder(PROBLEMS, 0).batch(0, 8)[2]
    rollouts = rollouts_of(Engines(hanging=[late]), Judges(), deadline_s=0.2)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        completions = await rollouts.completions(0)
        sampled = await rollouts.step(0, 0)
        await rollouts.close()
        return completions, sampled

    completions, sampled = run_in_virtual_time(run())
    assert len(completions) == 7 * SIZE
    assert (len(sampled.groups), sampled.lost) == (7, {DropReason.DEADLINE: 1})


def test_a_checkpoint_keeps_what_is_ready_and_samples_the_rest_again():
    first, second = (ProblemOrder(PROBLEMS, 0).batch(step, 4) for step in (1, 2))
    engines = Engines(hanging=first[1:2])
    judges = Judges()
    rollouts = rollouts_of(engines, judges, batch=4, staleness=2)

    async def until_killed():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.step(0, 0)
        rollouts.served(0)
        await asyncio.sleep(0.05)
        state = rollouts.state()
        await rollouts.close()
        return state

    state = run_in_virtual_time(until_killed())
    assert (state.next_step, state.claimed, len(state.claims), len(state.ready)) == (3, 12, 8, 7)
    assert ready_parquet(read_ready(ready_parquet(state.ready))) == ready_parquet(state.ready)
    engines = Engines()
    resumed = rollouts_of(engines, judges, batch=4, staleness=2, first_step=1)

    async def go_on():
        resumed.restore(state)
        resumed.fill(1, lambda _: 1.0)
        found = []
        for step in (1, 2, 3):
            completions = await resumed.completions(step)
            assert len(completions) == 4 * SIZE
            found.append(await resumed.step(step, step))
            resumed.served(step)
        await resumed.close()
        return found

    one, two, three = run_in_virtual_time(go_on())
    asked = [int(request.question_id) for request in engines.asked if request.sample_index == 0]
    assert asked == [first[1], *ProblemOrder(PROBLEMS, 0).batch(3, 4)]
    assert [int(name) for name in names(one, True)] == first
    assert [int(name) for name in names(two, True)] == second
    assert [int(name) for name in names(three, True)] == ProblemOrder(PROBLEMS, 0).batch(3, 4)


def test_groups_of_another_dataset_or_size_are_refused():
    rollouts = rollouts_of(Engines(), Judges(), batch=4, staleness=1)

    async def sampled_ahead():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.step(0, 0)
        rollouts.served(0)
        await asyncio.sleep(0.05)
        return rollouts.state()

    state = run_in_virtual_time(sampled_ahead())
    other = rollouts_of(Engines(), Judges(), batch=4, staleness=1, first_step=1)
    other.problems = other.problems[::-1]
    with pytest.raises(CheckpointError, match=r"resume with the dataset and the algorithm\.group_size"):
        other.restore(state)
