"""Rollouts on fake generators and evaluators: dynamic sampling, sampling ahead, deadlines, restarts."""

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
from launch.training.rollouts import RolloutPlan, Rollouts, expected_problems, has_signal
from launch.training.sampling import Sampler
from launch.training.work_buffer import DropReason, GroupState
from learner.checkpoint import CheckpointError
from learner.reward import passed
from learner.rollout import Group, Judgement
from tests.factories import make_completion, make_group, make_problem, make_rollout, make_verdict
from tests.virtual_time import run_in_virtual_time

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR
PROBLEMS = 40
SIZE = 2


class FakeEngines:
    """Fake generators: hang at the problems in ``hanging``, die at those in ``deadly``, and answer others at once."""

    def __init__(self, hanging=(), deadly=()):
        self.hanging = set(hanging)
        self.deadly = set(deadly)
        self.requests = []
        self.in_flight = 0
        self.released = asyncio.Event()

    async def generate(self, request):
        self.requests.append(request)
        self.in_flight += 1
        try:
            await asyncio.sleep(0)
            if int(request.question_id) in self.deadly:
                raise GenerationFailed(f"completion {request.question_id}#{request.sample_index}: engines died")
            if int(request.question_id) in self.hanging:
                await self.released.wait()
        finally:
            self.in_flight -= 1
        return make_completion(
            claim=request.claim,
            question_id=request.question_id,
            sample_index=request.sample_index,
            temperature=request.temperature,
        )


class FakeEvaluators:
    """Fake evaluators: the first answer to each problem in ``mixed`` passes, all other answers fail."""

    def __init__(self, mixed=()):
        self.mixed = set(mixed)
        self.judged = Counter()

    async def judge(self, problem, text):
        await asyncio.sleep(0)
        self.judged[problem.question_id] += 1
        right = int(problem.question_id) in self.mixed and self.judged[problem.question_id] % SIZE == 1
        return Judgement(verdict=make_verdict(PASSED if right else WRONG), code=text, incomplete=False, seconds=0.0)


def make_rollouts(
    engines, evaluators, *, steps=10, batch=8, staleness=0, rounds=0, deadline_s=60.0, seed=0, first_step=0
):
    prompts = tuple(
        PromptedProblem(make_problem(str(index)), np.array([5, 6], np.int32), (("user", ""),))
        for index in range(PROBLEMS)
    )
    plan = RolloutPlan(steps=steps, batch_size=batch, group_size=SIZE, max_staleness=staleness, max_rounds=rounds)
    display = Display(Console(file=io.StringIO()), steps, first_step)
    sampler = Sampler(
        generators=engines, evaluators=evaluators, max_tokens=16, deadline_s=deadline_s, seed=None, reward=passed
    )
    return Rollouts(
        plan=plan,
        problems=prompts,
        order=ProblemOrder(PROBLEMS, seed),
        sampler=sampler,
        display=display,
        first_step=first_step,
    )


def sample_step(mixed, *, step=0, **plan):
    """Sample one step; return it and the problems that were requested, in order."""
    engines = FakeEngines()
    rollouts = make_rollouts(engines, FakeEvaluators(mixed), first_step=step, **plan)

    async def run():
        rollouts.fill(step, lambda _: 1.0)
        sampled = await rollouts.verdicts(step, step)
        rollouts.release(step)
        await rollouts.close()
        return sampled

    sampled = run_in_virtual_time(run())
    assert rollouts.buffer.trained + rollouts.buffer.dropped.total() == rollouts.buffer.claimed
    return sampled, [int(request.question_id) for request in engines.requests if request.sample_index == 0]


def question_ids(sampled, is_trained):
    """Return the questions of the groups that are trained, or of the dropped ones."""
    return [
        group.question_id
        for group, trained in zip(sampled.groups, sampled.trained, strict=True)
        if trained is is_trained
    ]


def test_every_group_is_trained_without_dynamic_sampling():
    sampled, asked = sample_step(mixed=[])
    assert asked == ProblemOrder(PROBLEMS, 0).batch(0, 8)
    assert [int(name) for name in question_ids(sampled, True)] == asked
    assert (sampled.rounds, sampled.untrained, sampled.dropped.total()) == (0, 0, 0)


def test_dynamic_sampling_stops_if_all_groups_have_signal():
    sampled, asked = sample_step(mixed=range(PROBLEMS), rounds=4)
    assert len(asked) == 8
    assert sampled.trained == (True,) * 8


def test_dynamic_sampling_continues_until_enough_groups_have_signal():
    sampled, asked = sample_step(mixed=range(0, PROBLEMS, 2), rounds=10)
    assert sampled.rounds >= 1
    assert sum(sampled.trained) == 8
    assert all(int(name) % 2 == 0 for name in question_ids(sampled, True))
    assert sampled.untrained + 8 == len(sampled.groups) == len(asked)


@pytest.mark.parametrize(
    ("missing", "kept", "sampled", "expected"),
    [(4, 4, 8, 8), (1, 7, 8, 2), (3, 2, 16, 16), (8, 0, 8, 16), (1, 15, 16, 2), (6, 1, 100, 16)],
)
def test_a_round_samples_as_many_problems_as_are_expected_to_be_enough(missing, kept, sampled, expected):
    assert expected_problems(missing, kept, sampled, 16) == expected


def test_groups_beyond_the_batch_are_dropped_as_surplus():
    order = ProblemOrder(PROBLEMS, 0)
    first = order.batch(0, 8)
    sampled, requested = sample_step(mixed=[first[0], *(set(range(PROBLEMS)) - set(first))], rounds=1)
    assert len(requested) == 8 + 8  # one of eight had signal, so seven missing groups would take 56 problems
    assert sum(sampled.trained) == 8
    assert question_ids(sampled, True) == [str(index) for index in (first[0], *requested[8:15])]
    assert question_ids(sampled, False)[-1] == str(requested[15])


def test_dynamic_sampling_repeats_a_problem_only_after_all_others():
    _, asked = sample_step(mixed=[], rounds=5)
    assert sorted(asked[:PROBLEMS]) == list(range(PROBLEMS))
    assert len(asked) == PROBLEMS + 8


def test_dynamic_sampling_rounds_are_bounded():
    rare = ProblemOrder(PROBLEMS, 0).batch(0, 8)[:1]
    sampled, asked = sample_step(mixed=rare, rounds=2)
    assert (sampled.rounds, sum(sampled.trained)) == (2, 1)
    assert question_ids(sampled, True) == [str(rare[0])]
    assert sampled.untrained == len(sampled.groups) - 1 == len(asked) - 1


def test_problems_of_further_rounds_depend_on_seed_and_step():
    def asked(step=3, seed=0):
        return sample_step(mixed=[], step=step, seed=seed, rounds=4)[1]

    assert asked() == asked()
    assert asked(step=4) != asked()
    assert asked(seed=1) != asked()


@given(st.integers(1, 30), st.integers(0, 99), st.integers(1, 9), st.integers(1, 40), st.data())
def test_further_problems_prefer_unused_ones(problems, step, sampling_round, size, data):
    used = data.draw(st.lists(st.integers(0, problems - 1), max_size=20))
    found = ProblemOrder(problems, 5).further(step, sampling_round, size, used)
    assert len(found) == len(set(found)) == min(size, problems)
    fresh = set(range(problems)) - set(used)
    assert len(fresh & set(found)) == min(len(fresh), len(found)), "a used problem came before a fresh one"


@given(st.integers(1, 25), st.integers(1, 40), st.integers(0, 12))
def test_each_epoch_contains_every_problem_once(problems, size, step):
    order = ProblemOrder(problems, 3)
    flat = [index for number in range(step + 1) for index in order.batch(number, size)]
    for epoch in range(len(flat) // problems):
        assert sorted(flat[epoch * problems : (epoch + 1) * problems]) == list(range(problems))


@pytest.mark.parametrize(
    ("statuses", "signal"),
    [
        ((PASSED, WRONG), True),
        ((PASSED, PASSED), False),
        ((WRONG, Status.TIME_LIMIT), False),
        ((PASSED, OURS), False),
        ((PASSED, OURS, WRONG), True),
        ((OURS, OURS), False),
    ],
)
def test_group_has_signal_if_rewards_differ(statuses, signal):
    assert has_signal(make_group(*statuses)) is signal


def test_lengths_give_no_signal():
    """DAPO filters by accuracy: two failing answers, one of them penalised for its length, are equal."""
    group = Group("q", "", (make_rollout(WRONG, tokens=[7] * 3), make_rollout(WRONG, tokens=list(np.arange(20)))))
    assert not has_signal(group)


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_staleness_is_bounded_and_every_group_ends_once(staleness):
    """Steps are sampled as far ahead as allowed, in the order of problems, and no slot is left at the end."""
    engines = FakeEngines()
    evaluators = FakeEvaluators(range(0, PROBLEMS, 3))
    steps = 6
    rollouts = make_rollouts(engines, evaluators, steps=steps, batch=4, staleness=staleness)
    ahead = []

    async def run():
        for step in range(steps):
            rollouts.fill(step, lambda number: 1.0 + number)
            slots = rollouts.buffer.slots.values()
            assert all(step - slot.claim.version <= staleness for slot in slots if slot.claim.step == step)
            ahead.append(max(slot.claim.step for slot in slots) - step)
            sampled = await rollouts.verdicts(step, step)
            assert [int(name) for name in question_ids(sampled, True)] == ProblemOrder(PROBLEMS, 0).batch(step, 4)
            assert {one.completion.temperature for group in sampled.groups for one in group.rollouts} == {1.0 + step}
            rollouts.release(step)
        await rollouts.close()

    run_in_virtual_time(run())
    assert ahead == [min(staleness, steps - 1 - step) for step in range(steps)]
    assert (rollouts.buffer.claimed, rollouts.buffer.trained, rollouts.buffer.slots) == (steps * 4, steps * 4, {})


def test_next_step_is_sampled_during_training():
    engines = FakeEngines()
    rollouts = make_rollouts(engines, FakeEvaluators(), batch=4, staleness=1)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.verdicts(0, 0)
        await asyncio.sleep(0.05)  # the update
        assert {slot.state for slot in rollouts.buffer.step_slots(1)} == {GroupState.READY}
        await rollouts.close()

    run_in_virtual_time(run())
    assert rollouts.buffer.dropped == {DropReason.STOPPED: 8}


def test_groups_past_the_deadline_are_dropped_and_counted():
    late = ProblemOrder(PROBLEMS, 0).batch(0, 8)[2]
    engines = FakeEngines(hanging=[late])
    rollouts = make_rollouts(engines, FakeEvaluators(), deadline_s=0.2)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        sampled = await rollouts.verdicts(0, 0)
        rollouts.release(0)
        await asyncio.sleep(0.01)
        assert engines.in_flight == 0, "a request that nobody waits for is still running"
        await rollouts.close()
        return sampled

    sampled = run_in_virtual_time(run())
    assert str(late) not in question_ids(sampled, True)
    assert (len(sampled.groups), sampled.dropped) == (7, {DropReason.DEADLINE: 1})
    assert f"pending: 2:{late}#0, 2:{late}#1" in rollouts.display.console.file.getvalue()


def test_a_group_whose_engines_die_is_dropped():
    deadly = ProblemOrder(PROBLEMS, 0).batch(0, 8)[5]
    sampled_of = make_rollouts(FakeEngines(deadly=[deadly]), FakeEvaluators())

    async def run():
        sampled_of.fill(0, lambda _: 1.0)
        return await sampled_of.verdicts(0, 0)

    sampled = run_in_virtual_time(run())
    assert (len(sampled.groups), sampled.dropped) == (7, {DropReason.FAILED: 1})
    assert f"a group is dropped: completion {deadly}#0: engines died" in sampled_of.display.console.file.getvalue()


def test_drain_waits_for_completions_in_flight():
    later = ProblemOrder(PROBLEMS, 0).batch(1, 8)
    engines = FakeEngines(hanging=later)
    rollouts = make_rollouts(engines, FakeEvaluators(), staleness=1)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.verdicts(0, 0)
        draining = asyncio.ensure_future(rollouts.drain())
        await asyncio.sleep(0.02)
        assert not draining.done()
        engines.released.set()
        await asyncio.wait_for(draining, 10)
        assert engines.in_flight == 0
        await rollouts.close()

    run_in_virtual_time(run())


def test_drain_ends_at_the_deadline():
    late = ProblemOrder(PROBLEMS, 0).batch(1, 8)[0]
    engines = FakeEngines(hanging=[late])
    rollouts = make_rollouts(engines, FakeEvaluators(), staleness=1, deadline_s=0.2)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.verdicts(0, 0)
        await rollouts.drain()
        rollouts.release(0)
        sampled = await rollouts.verdicts(1, 1)
        await rollouts.close()
        return sampled

    sampled = run_in_virtual_time(run())
    assert (len(sampled.groups), sampled.dropped) == (7, {DropReason.DEADLINE: 1})
    assert engines.in_flight == 0


def test_completions_are_returned_in_order_before_their_verdicts():
    class WaitingEvaluators(FakeEvaluators):
        """Give no verdict before ``released`` is set."""

        def __init__(self):
            super().__init__()
            self.released = asyncio.Event()

        async def judge(self, problem, text):
            await self.released.wait()
            return await super().judge(problem, text)

    evaluators = WaitingEvaluators()
    rollouts = make_rollouts(FakeEngines(), evaluators)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        completions = await rollouts.completions(0)
        assert not evaluators.judged
        evaluators.released.set()
        sampled = await rollouts.verdicts(0, 0)
        await rollouts.close()
        return completions, sampled

    completions, sampled = run_in_virtual_time(run())
    assert completions == [one.completion for group in sampled.groups for one in group.rollouts]
    assert sampled.generation_seconds == 0


def test_late_completions_are_reported_with_the_verdicts():
    late = ProblemOrder(PROBLEMS, 0).batch(0, 8)[2]
    rollouts = make_rollouts(FakeEngines(hanging=[late]), FakeEvaluators(), deadline_s=0.2)

    async def run():
        rollouts.fill(0, lambda _: 1.0)
        completions = await rollouts.completions(0)
        sampled = await rollouts.verdicts(0, 0)
        await rollouts.close()
        return completions, sampled

    completions, sampled = run_in_virtual_time(run())
    assert len(completions) == 7 * SIZE
    assert (len(sampled.groups), sampled.dropped) == (7, {DropReason.DEADLINE: 1})


def test_resume_keeps_ready_groups_and_samples_the_others_again():
    first, second = (ProblemOrder(PROBLEMS, 0).batch(step, 4) for step in (1, 2))
    engines = FakeEngines(hanging=first[1:2])
    evaluators = FakeEvaluators()
    rollouts = make_rollouts(engines, evaluators, batch=4, staleness=2)

    async def until_killed():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.verdicts(0, 0)
        rollouts.release(0)
        await asyncio.sleep(0.05)
        state = rollouts.state()
        await rollouts.close()
        return state

    state = run_in_virtual_time(until_killed())
    assert (state.next_step, state.claimed, len(state.claims), len(state.ready)) == (3, 12, 8, 7)
    assert ready_parquet(read_ready(ready_parquet(state.ready))) == ready_parquet(state.ready)
    engines = FakeEngines()
    resumed = make_rollouts(engines, evaluators, batch=4, staleness=2, first_step=1)

    async def go_on():
        resumed.restore(state)
        resumed.fill(1, lambda _: 1.0)
        found = []
        for step in (1, 2, 3):
            completions = await resumed.completions(step)
            assert len(completions) == 4 * SIZE
            found.append(await resumed.verdicts(step, step))
            resumed.release(step)
        await resumed.close()
        return found

    one, two, three = run_in_virtual_time(go_on())
    asked = [int(request.question_id) for request in engines.requests if request.sample_index == 0]
    assert asked == [first[1], *ProblemOrder(PROBLEMS, 0).batch(3, 4)]
    assert [int(name) for name in question_ids(one, True)] == first
    assert [int(name) for name in question_ids(two, True)] == second
    assert [int(name) for name in question_ids(three, True)] == ProblemOrder(PROBLEMS, 0).batch(3, 4)


def test_checkpoint_groups_of_another_dataset_or_size_are_refused():
    rollouts = make_rollouts(FakeEngines(), FakeEvaluators(), batch=4, staleness=1)

    async def sampled_ahead():
        rollouts.fill(0, lambda _: 1.0)
        await rollouts.verdicts(0, 0)
        rollouts.release(0)
        await asyncio.sleep(0.05)
        return rollouts.state()

    state = run_in_virtual_time(sampled_ahead())
    other = make_rollouts(FakeEngines(), FakeEvaluators(), batch=4, staleness=1, first_step=1)
    other.problems = other.problems[::-1]
    with pytest.raises(CheckpointError, match=r"resume with the dataset and the algorithm\.group_size"):
        other.restore(state)
