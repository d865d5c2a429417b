"""How many actors a pool is to have: within bounds, enough for what waits, and no to and fro."""

from hypothesis import given
from hypothesis import strategies as st

from actors.evaluators.autoscaling import IDLE_S, IN_HAND, Bounds, PoolState, has_spare, wanted_actors

SANDBOXES = st.integers(1, 16)


def pool_state(queue, busy, actors, idle_s):
    return PoolState(queue=queue, busy=busy, actors=actors, idle_s=idle_s)


@st.composite
def situations(draw):
    least = draw(st.integers(1, 20))
    bounds = Bounds(least, least + draw(st.integers(0, 20)))
    sandboxes = draw(SANDBOXES)
    actors = draw(st.integers(0, 50))
    queue = draw(st.integers(0, 2000))
    busy = draw(st.integers(0, IN_HAND * sandboxes * actors))
    return pool_state(queue, busy, actors, draw(st.floats(0, 1000))), bounds, sandboxes


def test_a_queue_makes_a_pool_grow_to_what_has_it_all_in_hand():
    bounds = Bounds(1, 10)
    # One actor of 2 sandboxes has 4 in hand, 5 more wait: 9 fit in the hands of 3.
    assert wanted_actors(pool_state(5, 4, 1, 0.0), bounds, 2) == 3
    assert wanted_actors(pool_state(1, 4, 1, 0.0), bounds, 2) == 2
    assert wanted_actors(pool_state(0, 4, 1, 0.0), bounds, 2) == 1
    assert wanted_actors(pool_state(500, 4, 1, 0.0), bounds, 2) == 10


def test_an_idle_pool_shrinks_one_by_one():
    bounds = Bounds(1, 10)
    assert wanted_actors(pool_state(0, 0, 5, IDLE_S), bounds, 2) == 4
    assert wanted_actors(pool_state(0, 0, 5, IDLE_S - 0.1), bounds, 2) == 5
    assert wanted_actors(pool_state(0, 8, 5, IDLE_S), bounds, 2) == 4
    assert wanted_actors(pool_state(0, 9, 5, IDLE_S), bounds, 2) == 5
    assert wanted_actors(pool_state(0, 0, 1, IDLE_S), bounds, 2) == 1


@given(situations())
def test_always_within_bounds(situation):
    state, bounds, sandboxes = situation
    assert bounds.least <= wanted_actors(state, bounds, sandboxes) <= bounds.most


@given(situations())
def test_equal_bounds_are_a_fixed_pool(situation):
    state, bounds, sandboxes = situation
    assert wanted_actors(state, Bounds(bounds.least, bounds.least), sandboxes) == bounds.least


@given(situations(), st.integers(1, 500))
def test_more_work_never_wants_fewer(situation, more):
    state, bounds, sandboxes = situation
    busier = pool_state(state.queue + more, state.busy, state.actors, state.idle_s)
    assert wanted_actors(busier, bounds, sandboxes) >= wanted_actors(state, bounds, sandboxes)


@given(situations())
def test_no_two_sizes_at_once_for_the_same_work(situation):
    """After a change the same work is spread over the new size, and leaves it as it is: no growth, and no shrinking."""
    state, bounds, sandboxes = situation
    wanted = wanted_actors(state, bounds, sandboxes)
    work = state.queue + state.busy
    busy = min(work, IN_HAND * sandboxes * wanted)
    assert wanted_actors(pool_state(work - busy, busy, wanted, 0.0), bounds, sandboxes) == wanted


@given(situations())
def test_who_shrinks_does_not_grow_with_up_to_twice_the_work(situation):
    state, bounds, sandboxes = situation
    wanted = wanted_actors(state, bounds, sandboxes)
    if bounds.least <= wanted < state.actors <= bounds.most:
        assert has_spare(state, sandboxes)
        assert wanted == state.actors - 1
        after = pool_state(0, 2 * state.busy, wanted, 0.0)
        assert after.busy <= IN_HAND * sandboxes * wanted  # so nothing waits
        assert wanted_actors(after, bounds, sandboxes) == wanted


@given(SANDBOXES, st.integers(1, 20), st.integers(0, 100))
def test_an_idle_pool_ends_at_its_least(sandboxes, least, more):
    bounds = Bounds(least, least + more)
    actors = least + more
    for _ in range(more):
        actors = wanted_actors(pool_state(0, 0, actors, IDLE_S), bounds, sandboxes)
    assert actors == least
