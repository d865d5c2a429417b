"""Router: a call goes to the least loaded member, and calls with the same key go to the same member."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.generators.routing import StickyRouter


def test_call_goes_to_the_least_loaded_member():
    router = StickyRouter()
    with (
        router.acquire("ab", "q0", 10) as first,
        router.acquire("ab", "q1", 4) as second,
        router.acquire("ab", "q2", 5) as third,
    ):
        assert (first, second, third) == ("a", "b", "b")
        with router.acquire("ab", "q3", 1) as fourth:  # 10 tokens against 9
            assert fourth == "b"


def test_key_keeps_its_member_while_it_has_an_outstanding_call():
    router = StickyRouter()
    with router.acquire("ab", "busy", 5), ExitStack() as stack:
        assert [stack.enter_context(router.acquire("ab", "q", 10)) for _ in range(3)] == ["b", "b", "b"]
    with router.acquire("ab", "q", 1) as later:
        assert later == "a"


def test_key_moves_away_from_a_dead_member():
    router = StickyRouter()
    with router.acquire("ab", "q", 1) as before:
        assert before == "a"
        with router.acquire("b", "q", 1) as after:
            assert after == "b"
            assert router.assignments == {"q": "b"}
    assert router.assignments == {}


def test_failed_call_is_removed_from_the_load():
    router = StickyRouter()
    with pytest.raises(ValueError), router.acquire("ab", "q", 1):
        raise ValueError
    assert not router.load


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50), st.sets(st.integers(0, 3), min_size=1)), max_size=40),
    st.randoms(use_true_random=False),
)
def test_load_is_the_sum_of_outstanding_calls_and_ends_at_zero(calls, random):
    """Begin and end calls in any order while members are added and removed."""
    router = StickyRouter()
    open_calls = []
    for key, weight, live in calls:
        before = dict(router.load)
        stack = ExitStack()
        member = stack.enter_context(router.acquire(live, str(key), weight))
        assert member in live
        current = {other for other_key, other, *_ in open_calls if other_key == key and other in live}
        if not current:
            assert before.get(member, 0) == min(before.get(candidate, 0) for candidate in live)
        open_calls.append((key, member, weight, stack))
        if random.random() < 0.4:
            open_calls.pop(random.randrange(len(open_calls)))[3].close()
        assert sum(router.load.values()) == sum(weight for *_, weight, _ in open_calls)
        assert set(router.assignments) <= {str(key) for key, *_ in open_calls}
    for *_, stack in open_calls:
        stack.close()
    assert (len(router.load), len(router.calls), len(router.assignments)) == (0, 0, 0)


@given(st.integers(1, 5), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_outstanding_calls_with_the_same_key_share_a_member(members, keys):
    router = StickyRouter()
    with ExitStack() as stack:
        chosen = [(key, stack.enter_context(router.acquire(range(members), str(key), 10))) for key in keys]
    assert len({key for key, _ in chosen}) == len(set(chosen))
