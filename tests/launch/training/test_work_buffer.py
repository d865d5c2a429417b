"""Work buffer under random sequences of completions, failures and restarts, and single rules."""

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from launch.training.work_buffer import DropReason, GroupState, WorkBuffer, WorkBufferError
from tests.factories import make_rollout

CAPACITY = 4
SIZE = 3


class BufferMachine(RuleBasedStateMachine):
    """Claim, sample, judge, train and drop groups at random, and restart the driver from its saved state."""

    def __init__(self):
        super().__init__()
        self.buffer = WorkBuffer(capacity=CAPACITY, group_size=SIZE)
        self.ended: Counter[int] = Counter()
        self.sampled: dict[int, set[int]] = {}
        self.steps = 0

    def choose(self, data, *states):
        numbers = [number for number, slot in self.buffer.slots.items() if slot.state in states]
        return data.draw(st.sampled_from(numbers)) if numbers else None

    @precondition(lambda self: self.buffer.free)
    @rule()
    def claim(self):
        claim = self.buffer.claim(self.steps, claim_problem := self.steps % 5, 1.0, self.steps)
        assert claim.problem == claim_problem
        self.sampled[claim.number] = set()
        self.steps += 1

    @precondition(lambda self: not self.buffer.free)
    @rule()
    def claim_too_many(self):
        with pytest.raises(WorkBufferError, match="all 4 slots are taken"):
            self.buffer.claim(self.steps, 0, 1.0, 0)

    @rule(data=st.data())
    def request(self, data):
        number = self.choose(data, GroupState.WAITING)
        if number is not None:
            self.buffer.mark_generating(number)

    @rule(data=st.data())
    def complete(self, data):
        number = self.choose(data, GroupState.GENERATING)
        if number is not None:
            missing = set(range(SIZE)) - self.sampled[number]
            self.sampled[number].add(data.draw(st.sampled_from(sorted(missing))))
            self.buffer.mark_completed(number)

    @rule(data=st.data())
    def judge(self, data):
        number = self.choose(data, GroupState.GENERATING, GroupState.EVALUATING)
        if number is None:
            return
        judged = {rollout.completion.sample_index for rollout in self.buffer.slots[number].judged}
        unjudged = self.sampled[number] - judged
        if unjudged:
            self.buffer.add_rollout(number, make_rollout(sample_index=data.draw(st.sampled_from(sorted(unjudged)))))

    @rule(data=st.data(), reason=st.sampled_from(DropReason))
    def drop(self, data, reason):
        number = self.choose(data, *GroupState)
        if number is not None:
            self.buffer.drop(number, reason)
            self.ended[number] += 1

    @rule(data=st.data())
    def train(self, data):
        number = self.choose(data, GroupState.READY)
        if number is not None:
            self.buffer.mark_trained(number)
            self.ended[number] += 1

    @rule(data=st.data())
    def train_too_early(self, data):
        number = self.choose(data, GroupState.WAITING, GroupState.GENERATING, GroupState.EVALUATING)
        if number is not None:
            with pytest.raises(WorkBufferError, match="trained cannot follow"):
                self.buffer.mark_trained(number)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def change_an_ended_group(self, data):
        number = data.draw(st.sampled_from(sorted(self.ended)))
        with pytest.raises(WorkBufferError, match="has no slot"):
            data.draw(
                st.sampled_from([self.buffer.mark_generating, self.buffer.mark_completed, self.buffer.mark_trained])
            )(number)

    @rule()
    def restart(self):
        """Restore READY groups with their rollouts; others are sampled again."""
        before, self.buffer = self.buffer, WorkBuffer(capacity=CAPACITY, group_size=SIZE)
        self.buffer.trained = before.trained
        self.buffer.dropped = before.dropped
        self.buffer.claimed = before.claimed
        for number, slot in before.slots.items():
            ready = slot.state is GroupState.READY
            self.buffer.restore(slot.claim, slot.judged if ready else ())
            if not ready:
                self.sampled[number] = set()

    @invariant()
    def every_claim_is_in_a_slot_or_has_ended_once(self):
        assert set(self.ended.values()) <= {1}
        assert self.buffer.slots.keys().isdisjoint(self.ended)
        assert len(self.buffer.slots) + len(self.ended) == self.buffer.claimed == len(self.sampled)
        assert self.buffer.trained + self.buffer.dropped.total() == len(self.ended)

    @invariant()
    def memory_is_bounded(self):
        assert 0 <= self.buffer.free == CAPACITY - len(self.buffer.slots)

    @invariant()
    def states_agree_with_rollouts(self):
        for number, slot in self.buffer.slots.items():
            if slot.state is GroupState.READY:
                assert [rollout.completion.sample_index for rollout in slot.judged] == list(range(SIZE))
            elif slot.state is GroupState.EVALUATING:
                assert len(self.sampled[number]) == SIZE > len(slot.judged)
            else:
                assert len(self.sampled[number]) < SIZE


TestBuffer = BufferMachine.TestCase


def test_slots_of_a_step_are_in_the_order_of_claims():
    buffer = WorkBuffer(capacity=4, group_size=2)
    for step, problem in ((1, 7), (0, 3), (1, 5)):
        buffer.claim(step, problem, 1.0, 0)
    assert [slot.claim.problem for slot in buffer.step_slots(1)] == [7, 5]
    assert [slot.claim.number for slot in buffer.step_slots(1)] == [0, 2]


def test_a_second_verdict_is_refused():
    buffer = WorkBuffer(capacity=1, group_size=2)
    number = buffer.claim(0, 0, 1.0, 0).number
    buffer.mark_generating(number)
    buffer.mark_completed(number)
    buffer.add_rollout(number, make_rollout())
    with pytest.raises(WorkBufferError, match="claim 0: completion q#0 is judged twice"):
        buffer.add_rollout(number, make_rollout())


def test_verdicts_may_arrive_before_the_last_completion():
    buffer = WorkBuffer(capacity=1, group_size=2)
    number = buffer.claim(0, 0, 1.0, 0).number
    buffer.mark_generating(number)
    buffer.mark_completed(number)
    buffer.add_rollout(number, make_rollout(sample_index=1))
    assert buffer.slots[number].state is GroupState.GENERATING
    buffer.mark_completed(number)
    assert buffer.slots[number].state is GroupState.EVALUATING
    buffer.add_rollout(number, make_rollout(sample_index=0))
    assert buffer.slots[number].state is GroupState.READY
