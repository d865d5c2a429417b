"""Index of pool members by load, and the load meter of a pool."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.evaluators.load import EvaluatorLoad, LoadBuckets, LoadMeter


class FakeClock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_meter_reports_busy_share_over_time_and_longest_queue():
    clock = FakeClock()
    meter = LoadMeter(clock)
    meter.record_state(queue=0, busy=0, sandboxes=2, actors=1)
    clock.now += 6
    meter.record_state(queue=7, busy=2, sandboxes=2, actors=1)
    clock.now += 1
    meter.record_state(queue=3, busy=4, sandboxes=4, actors=2)
    meter.count_retry()
    meter.count_unjudged()
    meter.count_repeat()
    clock.now += 2
    # Sandbox time: 2 x 6 + 2 x 1 + 4 x 2 = 22 s, of which 2 x 1 + 4 x 2 = 10 s with a program.
    share: Any = pytest.approx(10 / 22)
    assert meter.take() == EvaluatorLoad(queue_max=7, busy_share=share, actors=2, retried=1, unjudged=1, repeated=1)


def test_take_starts_a_new_interval_at_the_current_state():
    clock = FakeClock()
    meter = LoadMeter(clock)
    meter.record_state(queue=9, busy=2, sandboxes=2, actors=1)
    clock.now += 1
    meter.count_retry()
    meter.take()
    clock.now += 5
    assert meter.take() == EvaluatorLoad(queue_max=9, busy_share=1.0, actors=1, retried=0, unjudged=0, repeated=0)
    meter.record_state(queue=0, busy=0, sandboxes=0, actors=0)
    meter.take()
    clock.now += 5
    assert meter.take() == EvaluatorLoad(queue_max=0, busy_share=0.0, actors=0, retried=0, unjudged=0, repeated=0)


@given(
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(0, 5), st.integers(0, 4)),
            st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
        ),
        max_size=60,
    ),
)
def test_buckets_find_the_same_member_as_a_full_search(max_load, changes):
    buckets = LoadBuckets(max_load)
    loads = {}  # by member, in the order in which the loads were set
    for change, member, load in changes:
        if change == "set":
            loads.pop(member, None)
            loads[member] = min(load, max_load)
            buckets.set_load(member, min(load, max_load))
        elif member in loads:
            del loads[member]
            buckets.remove(member)
        else:
            with pytest.raises(KeyError):
                buckets.remove(member)
        open_members = [member for member in loads if loads[member] < max_load]
        assert buckets.least_loaded() == min(open_members, key=lambda member: loads[member], default=None)
        assert len(buckets) == len(loads)
