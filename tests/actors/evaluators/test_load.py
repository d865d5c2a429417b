"""The members of a pool by load, and its load between two looks at it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.evaluators.load import EvaluatorLoad, LoadBuckets, LoadMeter


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_share_is_over_time_and_the_queue_is_the_longest():
    clock = Clock()
    meter = LoadMeter(clock)
    meter.now_is(queue=0, busy=0, sandboxes=2, actors=1)
    clock.now += 6
    meter.now_is(queue=7, busy=2, sandboxes=2, actors=1)
    clock.now += 1
    meter.now_is(queue=3, busy=4, sandboxes=4, actors=2)
    meter.retried()
    meter.lost()
    meter.repeated()
    clock.now += 2
    # 2 x 6 + 2 x 1 + 4 x 2 = 22 s of sandboxes, 2 x 1 + 4 x 2 = 10 s of them with a program.
    share: Any = pytest.approx(10 / 22)
    assert meter.take() == EvaluatorLoad(queue_max=7, busy_share=share, actors=2, retried=1, lost=1, repeated=1)


def test_a_look_starts_a_new_stretch_with_what_there_is():
    clock = Clock()
    meter = LoadMeter(clock)
    meter.now_is(queue=9, busy=2, sandboxes=2, actors=1)
    clock.now += 1
    meter.retried()
    meter.take()
    clock.now += 5
    assert meter.take() == EvaluatorLoad(queue_max=9, busy_share=1.0, actors=1, retried=0, lost=0, repeated=0)
    meter.now_is(queue=0, busy=0, sandboxes=0, actors=0)
    meter.take()
    clock.now += 5
    assert meter.take() == EvaluatorLoad(queue_max=0, busy_share=0.0, actors=0, retried=0, lost=0, repeated=0)


@given(
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 5), st.integers(0, 4)),
            st.tuples(st.just("drop"), st.integers(0, 5), st.just(0)),
        ),
        max_size=60,
    ),
)
def test_buckets_find_the_same_member_as_a_look_at_all(most, changes):
    buckets, model = LoadBuckets(most), {}  # the model holds members in the order they got their loads
    for what, member, load in changes:
        if what == "put":
            model.pop(member, None)
            model[member] = min(load, most)
            buckets.put(member, min(load, most))
        elif member in model:
            del model[member]
            buckets.drop(member)
        else:
            with pytest.raises(KeyError):
                buckets.drop(member)
        open_members = [one for one in model if model[one] < most]
        assert buckets.least() == min(open_members, key=lambda one: model[one], default=None)
        assert len(buckets) == len(model)
