"""Target size of an evaluator pool: within bounds, large enough for the queue, and without oscillation."""

from hypothesis import given
from hypothesis import strategies as st

from actors.evaluators.autoscaling import (
    CALLS_PER_SANDBOX,
    IDLE_S,
    Bounds,
    PoolState,
    compute_target_size,
    has_spare_actor,
)

SANDBOXES = st.integers(1, 16)


def make_pool_state(queue, busy, actors, idle_s):
    return PoolState(queue=queue, busy=busy, actors=actors, idle_s=idle_s)


@st.composite
def scenarios(draw):
    """Draw a pool state, bounds, and sandboxes per actor."""
    minimum = draw(st.integers(1, 20))
    bounds = Bounds(minimum, minimum + draw(st.integers(0, 20)))
    sandboxes = draw(SANDBOXES)
    actors = draw(st.integers(0, 50))
    queue = draw(st.integers(0, 2000))
    busy = draw(st.integers(0, CALLS_PER_SANDBOX * sandboxes * actors))
    return make_pool_state(queue, busy, actors, draw(st.floats(0, 1000))), bounds, sandboxes


def test_pool_grows_until_its_actors_can_hold_all_calls():
    bounds = Bounds(1, 10)
    # An actor with 2 sandboxes holds 4 calls. 4 assigned and 5 queued calls need 3 actors.
    assert compute_target_size(make_pool_state(5, 4, 1, 0.0), bounds, 2) == 3
    assert compute_target_size(make_pool_state(1, 4, 1, 0.0), bounds, 2) == 2
    assert compute_target_size(make_pool_state(0, 4, 1, 0.0), bounds, 2) == 1
    assert compute_target_size(make_pool_state(500, 4, 1, 0.0), bounds, 2) == 10


def test_idle_pool_shrinks_by_one_actor_at_a_time():
    bounds = Bounds(1, 10)
    assert compute_target_size(make_pool_state(0, 0, 5, IDLE_S), bounds, 2) == 4
    assert compute_target_size(make_pool_state(0, 0, 5, IDLE_S - 0.1), bounds, 2) == 5
    assert compute_target_size(make_pool_state(0, 8, 5, IDLE_S), bounds, 2) == 4
    assert compute_target_size(make_pool_state(0, 9, 5, IDLE_S), bounds, 2) == 5
    assert compute_target_size(make_pool_state(0, 0, 1, IDLE_S), bounds, 2) == 1


@given(scenarios())
def test_target_size_is_within_bounds(scenario):
    state, bounds, sandboxes = scenario
    assert bounds.minimum <= compute_target_size(state, bounds, sandboxes) <= bounds.maximum


@given(scenarios())
def test_equal_bounds_fix_the_pool_size(scenario):
    state, bounds, sandboxes = scenario
    assert compute_target_size(state, Bounds(bounds.minimum, bounds.minimum), sandboxes) == bounds.minimum


@given(scenarios(), st.integers(1, 500))
def test_more_calls_never_lower_the_target_size(scenario, more):
    state, bounds, sandboxes = scenario
    busier = make_pool_state(state.queue + more, state.busy, state.actors, state.idle_s)
    assert compute_target_size(busier, bounds, sandboxes) >= compute_target_size(state, bounds, sandboxes)


@given(scenarios())
def test_target_size_is_stable_once_reached(scenario):
    """The same calls, spread over the new number of actors, give the same target size again."""
    state, bounds, sandboxes = scenario
    target = compute_target_size(state, bounds, sandboxes)
    calls = state.queue + state.busy
    busy = min(calls, CALLS_PER_SANDBOX * sandboxes * target)
    assert compute_target_size(make_pool_state(calls - busy, busy, target, 0.0), bounds, sandboxes) == target


@given(scenarios())
def test_pool_that_shrank_does_not_grow_until_its_calls_double(scenario):
    state, bounds, sandboxes = scenario
    target = compute_target_size(state, bounds, sandboxes)
    if bounds.minimum <= target < state.actors <= bounds.maximum:
        assert has_spare_actor(state, sandboxes)
        assert target == state.actors - 1
        after = make_pool_state(0, 2 * state.busy, target, 0.0)
        assert after.busy <= CALLS_PER_SANDBOX * sandboxes * target  # so nothing waits
        assert compute_target_size(after, bounds, sandboxes) == target


@given(SANDBOXES, st.integers(1, 20), st.integers(0, 100))
def test_idle_pool_shrinks_to_its_minimum(sandboxes, minimum, more):
    bounds = Bounds(minimum, minimum + more)
    actors = minimum + more
    for _ in range(more):
        actors = compute_target_size(make_pool_state(0, 0, actors, IDLE_S), bounds, sandboxes)
    assert actors == minimum
