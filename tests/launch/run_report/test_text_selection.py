"""Choice of the texts that a report contains."""

from hypothesis import given
from hypothesis import strategies as st

from launch.run_report.text_selection import (
    GUESSED_BYTES_PER_ROW,
    INDEX_BYTES,
    NEWEST_STEPS,
    SPREAD_STEPS,
    StepSize,
    choose_levels,
    count_levels,
    list_wishes,
)


def make_size(step, rows=10, signal_rows=4, **known):
    return StepSize(step=step, rows=rows, signal_rows=signal_rows, **known)


def test_order_of_wishes():
    steps = list(range(1, 101))
    wishes = list(list_wishes(steps, best=50))
    important = [100, 99, 98, 1, 50, 96, 92, 88]  # newest, first, best, then every fourth step
    assert wishes[: len(important)] == [(step, "all") for step in important]
    others = [step for step in reversed(steps) if step not in {*important, *range(4, 101, 4)}]
    assert wishes[-2 * len(others) :] == [*((step, "signal") for step in others), *((step, "all") for step in others)]


def test_wishes_of_few_steps_are_all_texts():
    assert list(list_wishes([], None)) == []
    assert list(list_wishes([7], best=3)) == [(7, "all")]
    assert list(list_wishes([1, 2, 3, 4], best=None)) == [(4, "all"), (3, "all"), (2, "all"), (1, "all")]


@given(steps=st.sets(st.integers(0, 3000), max_size=60), best=st.none() | st.integers(0, 3000))
def test_every_step_is_wished_completely_once(steps, best):
    wishes = list(list_wishes(sorted(steps), best))
    assert sorted(step for step, level in wishes if level == "all") == sorted(steps)
    assert len(set(wishes)) == len(wishes)


@given(length=st.integers(200, 5000), first=st.integers(0, 50), distance=st.sampled_from([1, 2, 4, 8]))
def test_spread_steps_are_bounded_and_stay_while_a_run_grows(length, first, distance):
    def find_spread(count):
        steps = [distance * (first + place) for place in range(count)]
        wishes = list(list_wishes(steps, None))
        others = {step for step, level in wishes if level == "signal"}
        return {step for step in steps if step not in others} - {steps[0], *steps[-NEWEST_STEPS:]}

    spread = find_spread(length)
    assert SPREAD_STEPS - NEWEST_STEPS - 2 <= len(spread) <= 2 * SPREAD_STEPS + 1
    new = {distance * (first + place) for place in range(length - NEWEST_STEPS, length + 5)}
    assert find_spread(length + 5) - new <= spread  # growing never asks for complete texts of an old step


def test_budget_is_given_in_order():
    sizes = [make_size(step, rows=10, signal_rows=4) for step in range(100)]
    per_row = GUESSED_BYTES_PER_ROW
    levels = choose_levels(sizes, None, int(10 * per_row * 5 + (4 * per_row + INDEX_BYTES) * 2))
    assert [step for step, level in levels.items() if level == "all"] == [99, 98, 97, 0, 96]
    assert [step for step, level in levels.items() if level == "signal"] == [95, 94]
    assert count_levels(levels) == {"all": 5, "signal": 2, "none": 93}
    assert next(iter(levels)) == 99  # most important first


def test_everything_fits_a_large_budget_and_nothing_an_empty_one():
    sizes = [make_size(step) for step in range(100)]
    assert set(choose_levels(sizes, None, 10**9).values()) == {"all"}
    assert set(choose_levels(sizes, None, 0).values()) == {"none"}
    assert choose_levels([], None, 100) == {}


def test_step_that_does_not_fit_leaves_room_for_others():
    large = make_size(1, all_bytes=10**6, signal_bytes=10**6)
    sizes = [make_size(0, all_bytes=10**4), large, make_size(2, all_bytes=10**4)]
    assert choose_levels(sizes, None, 50_000) == {2: "all", 1: "none", 0: "all"}


def test_known_sizes_replace_estimates():
    size = make_size(0, rows=10, signal_rows=4, signal_bytes=1000)
    assert size.estimate("signal", 7.0) == 1000 and size.estimate("all", 7.0) == 1000 + 6 * 7
    size = make_size(0, rows=10, signal_rows=4, all_bytes=1000)
    assert size.estimate("all", 7.0) == 1000 and size.estimate("none", 7.0) == 0
    assert size.estimate("signal", 7.0) == 400 + INDEX_BYTES
    size = make_size(0, rows=0, signal_rows=0, all_bytes=50)
    assert size.estimate("signal", 7.0) == INDEX_BYTES


def test_sizes_of_written_steps_are_those_of_the_others():
    sizes = [make_size(step, all_bytes=100 if step == 9 else None) for step in range(10)]  # 10 bytes a row
    assert set(choose_levels(sizes, None, 1000).values()) == {"all"}
    assert "none" in choose_levels(sizes, None, 700).values()


SIZES = st.lists(
    st.tuples(
        st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(0, 10**5), st.none() | st.integers(0, 10**5)
    ),
    max_size=30,
)


@given(values=SIZES, budget=st.integers(0, 10**6), best=st.none() | st.integers(0, 30))
def test_known_texts_that_are_chosen_fit_the_budget(values, budget, best):
    sizes = [
        make_size(step, rows=max(rows, signal), signal_rows=min(rows, signal), all_bytes=whole, signal_bytes=part)
        for step, (rows, signal, whole, part) in enumerate(values)
    ]
    levels = choose_levels(sizes, best, budget)
    assert set(levels) == {size.step for size in sizes}
    known = {size.step: {"all": size.all_bytes, "signal": size.signal_bytes, "none": 0} for size in sizes}
    assert sum(known[step][level] or 0 for step, level in levels.items()) <= budget
    assert choose_levels(sizes, best, budget) == levels
