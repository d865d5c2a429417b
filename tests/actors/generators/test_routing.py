"""Calls go to the least loaded member, and those of one key together."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.generators.routing import StickyRoutes


def test_the_least_loaded_member_is_chosen():
    routes = StickyRoutes()
    with (
        routes.acquire("ab", "q0", 10) as first,
        routes.acquire("ab", "q1", 4) as second,
        routes.acquire("ab", "q2", 5) as third,
    ):
        assert (first, second, third) == ("a", "b", "b")
        with routes.acquire("ab", "q3", 1) as fourth:  # 10 tokens against 9
            assert fourth == "b"


def test_a_key_keeps_its_member_while_a_call_of_it_is_outstanding():
    routes = StickyRoutes()
    with routes.acquire("ab", "busy", 5), ExitStack() as stack:
        assert [stack.enter_context(routes.acquire("ab", "q", 10)) for _ in range(3)] == ["b", "b", "b"]
    with routes.acquire("ab", "q", 1) as later:
        assert later == "a"


def test_a_key_moves_from_a_member_that_died():
    routes = StickyRoutes()
    with routes.acquire("ab", "q", 1) as before:
        assert before == "a"
        with routes.acquire("b", "q", 1) as after:
            assert after == "b"
            assert routes.places == {"q": "b"}
    assert routes.places == {}


def test_a_call_that_fails_is_no_longer_outstanding():
    routes = StickyRoutes()
    with pytest.raises(ValueError), routes.acquire("ab", "q", 1):
        raise ValueError
    assert not routes.load


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50), st.sets(st.integers(0, 3), min_size=1)), max_size=40),
    st.randoms(use_true_random=False),
)
def test_what_is_outstanding_adds_up_and_returns_to_nothing(calls, random):
    """Calls begin and end in any order while members come and go."""
    routes = StickyRoutes()
    open_calls = []
    for key, weight, live in calls:
        before = dict(routes.load)
        stack = ExitStack()
        member = stack.enter_context(routes.acquire(live, str(key), weight))
        assert member in live
        same = {other for other_key, other, *_ in open_calls if other_key == key and other in live}
        if not same:
            assert before.get(member, 0) == min(before.get(one, 0) for one in live)
        open_calls.append((key, member, weight, stack))
        if random.random() < 0.4:
            open_calls.pop(random.randrange(len(open_calls)))[3].close()
        assert sum(routes.load.values()) == sum(weight for *_, weight, _ in open_calls)
        assert set(routes.places) <= {str(key) for key, *_ in open_calls}
    for *_, stack in open_calls:
        stack.close()
    assert (len(routes.load), len(routes.calls), len(routes.places)) == (0, 0, 0)


@given(st.integers(1, 5), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_calls_of_a_key_under_way_are_at_one_member(members, keys):
    routes = StickyRoutes()
    with ExitStack() as stack:
        chosen = [(key, stack.enter_context(routes.acquire(range(members), str(key), 10))) for key in keys]
    assert len({key for key, _ in chosen}) == len(set(chosen))
