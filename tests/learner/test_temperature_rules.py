"""Temperature rules: decisions computed by hand, properties for any diversities, and the choice by calibration."""

import itertools
import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.temperature_rules import (
    MIN_STAGE_STEPS,
    REFERENCE_STEPS,
    Decision,
    DiversityController,
    Measurement,
    TemperatureSchedule,
    TemperatureState,
    choose_initial_temperature,
    decide_temperature,
    record_diversity,
)

GRID = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
RULE = DiversityController(GRID, floor=0.5)


def run_steps(rule, state, diversities, first=0):
    """Run one step per diversity from step ``first``.

    Returns the state that each step was sampled with, the decisions, and the state after the last step.
    """
    states = []
    decisions = []
    for step, diversity in enumerate(diversities, first):
        state, decision = decide_temperature(rule, state, step)
        states.append(state)
        decisions += [decision] if decision else []
        state = record_diversity(state, diversity)
    return states, decisions, state


def test_moving_average_matches_hand_computed_values():
    state = TemperatureState(value=0.6)
    averages = []
    for diversity in (0.7, 0.6, None, 0.5):
        state = record_diversity(state, diversity)
        averages.append((state.steps, state.ema))
    # 0.9 x 0.7 + 0.1 x 0.6 = 0.69; 0.9 x 0.69 + 0.1 x 0.5 = 0.671
    assert averages == [
        (1, 0.7),
        (2, pytest.approx(0.69)),
        (3, pytest.approx(0.69)),
        (4, pytest.approx(0.671)),
    ]


def test_reference_is_the_average_after_twenty_steps():
    """D is 0.8 for 19 steps and 0.7 in the 20th: 0.9 x 0.8 + 0.1 x 0.7 = 0.79; later steps do not change it."""
    state = TemperatureState(value=0.6)
    for diversity in [0.8] * 19:
        state = record_diversity(state, diversity)
    assert state.reference is None
    for diversity in [0.7, 0.1, 0.1]:
        state = record_diversity(state, diversity)
    assert state.reference == pytest.approx(0.79)


def test_controller_raises_the_papers_run_near_step_140():
    """In the paper, D falls from 0.575 to 0.44 in 260 steps at T = 0.6, and T is raised at step 140."""
    falling = [0.575 - (0.575 - 0.44) * step / 260 for step in range(200)]
    _, decisions, _ = run_steps(RULE, TemperatureState(value=0.6), falling)
    first = decisions[0]
    # The moving average of a line a - b t is a - b (t - 9 (1 - 0.9^t)), which is 0.56918 after 20 steps (t = 19). The
    # line falls to 0.9 x this value at t = 120.8, its average 9 steps later: step 131 is the first at 0.8.
    assert (first.step, first.old, first.new, first.rule, first.steps) == (131, 0.6, 0.8, "drop", 131)
    assert first.reference == pytest.approx(0.56918, abs=1e-5)
    assert 0.9 * first.reference - 0.0006 < first.ema < 0.9 * first.reference


def test_drop_begins_a_stage_after_forty_steps_and_explains_it():
    """D falls to 0.6 at step 20: the average is 0.6 + 0.2 x 0.9^k after k more steps, under 0.72 from k = 5 on."""
    states, (decision,), _ = run_steps(RULE, TemperatureState(value=1.0), [0.8] * 20 + [0.6] * 45)
    assert [state.value for state in states] == [1.0] * 40 + [1.2] * 25
    ema = 0.6 + 0.2 * 0.9**20
    approx: Any = pytest.approx
    assert decision == Decision(
        step=40,
        old=1.0,
        new=1.2,
        rule="drop",
        explanation=decision.explanation,
        steps=40,
        ema=approx(ema),
        reference=approx(0.8),
    )
    assert decision.line == (
        "step   40  temperature 1 -> 1.2: average D 0.6243 after 40 steps: "
        "under 0.9 x 0.8000, the average 20 steps after it began"
    )
    # The new stage begins without an average: its first D becomes the average.
    assert states[40] == TemperatureState(value=1.2, stage=1)
    assert states[41] == TemperatureState(value=1.2, stage=1, steps=1, ema=0.6)


def test_diversity_below_the_floor_begins_a_stage():
    """A constant D of 0.49 does not drop but is below the floor of 0.5; a constant D of 0.5 is not."""
    _, (decision,), _ = run_steps(RULE, TemperatureState(value=0.8), [0.49] * 41)
    assert (decision.step, decision.new, decision.rule) == (40, 1.0, "floor")
    assert decision.ema == pytest.approx(0.49)
    assert decision.line.endswith("average D 0.4900 after 40 steps: under 0.5")
    assert run_steps(RULE, TemperatureState(value=0.8), [0.5] * 200)[1] == []


def test_drop_threshold_is_nine_tenths_of_the_reference():
    """The threshold is 0.9 x 0.8 = 0.72: an average that approaches 0.721 stays above it, one for 0.719 does not."""
    assert run_steps(RULE, TemperatureState(value=1.0), [0.8] * 20 + [0.721] * 300)[1] == []
    assert run_steps(RULE, TemperatureState(value=1.0), [0.8] * 20 + [0.719] * 300)[1] != []


def test_top_of_the_grid_is_reported_once():
    states, decisions, _ = run_steps(RULE, TemperatureState(value=1.4), [0.3] * 300)
    assert [(decision.step, decision.old, decision.new, decision.rule) for decision in decisions] == [
        (40, 1.4, 1.6, "floor"),
        (80, 1.6, 1.6, "top"),
    ]
    assert decisions[1].explanation.endswith("the grid has no higher temperature")
    assert {(state.value, state.stage) for state in states[80:]} == {(1.6, 1)}


def test_steps_without_diversity_change_no_temperature():
    _, decisions, last = run_steps(RULE, TemperatureState(value=0.6), [None] * 100)
    assert decisions == []
    assert last == TemperatureState(value=0.6, steps=100)
    # If the first D comes after the twentieth step, the first average becomes the reference.
    assert record_diversity(last, 0.7).reference == 0.7


diversities = st.lists(st.one_of(st.none(), st.floats(0.0, 1.0)), max_size=300)
# Runs of equal values: independent draws would seldom change the moving average.
runs = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.49, 0.6, 0.7, 0.9, None]), st.integers(1, 90)), max_size=8)
sequences = st.one_of(diversities, runs.map(lambda parts: [value for value, times in parts for _ in range(times)]))


@given(sequences, st.sampled_from(GRID))
def test_stages_have_a_minimum_length_and_climb_the_grid(values, first):
    states, decisions, _ = run_steps(RULE, TemperatureState(value=first), values)
    temperatures = [state.value for state in states]
    starts = [0] + [step for step in range(1, len(states)) if temperatures[step] != temperatures[step - 1]]
    assert all(later - earlier >= MIN_STAGE_STEPS for earlier, later in itertools.pairwise(starts))
    stage_temperatures = [temperatures[start] for start in starts if states]
    place = GRID.index(first)
    assert stage_temperatures == list(GRID[place : place + len(stage_temperatures)])
    assert [decision.step for decision in decisions if decision.rule != "top"] == starts[1:]
    assert [state.stage for state in states] == [GRID.index(value) - place for value in temperatures]


@given(sequences, st.integers(0, 300))
def test_a_state_restored_from_json_continues_identically(values, cut):
    """The cut may be in the middle of a stage, before its reference, or just before a decision."""
    whole = run_steps(RULE, TemperatureState(value=0.6), values)
    states, decisions, middle = run_steps(RULE, TemperatureState(value=0.6), values[:cut])
    restored = TemperatureState(**json.loads(json.dumps(asdict(middle))))
    assert restored == middle
    rest = run_steps(RULE, restored, values[cut:], first=min(cut, len(values)))
    assert (states + rest[0], decisions + rest[1], rest[2]) == whole


@given(sequences)
def test_a_repeated_decision_is_the_same(values):
    """A run that is killed between a decision and the step's checkpoint decides again."""
    _, _, state = run_steps(RULE, TemperatureState(value=0.6), values)
    once = decide_temperature(RULE, state, len(values))
    assert decide_temperature(RULE, state, len(values)) == once
    assert decide_temperature(RULE, once[0], len(values)) == (once[0], None)


def test_schedule_changes_the_temperature_at_its_steps():
    rule = TemperatureSchedule(0.6, ((140, 1.2), (200, 1.0)))
    states, decisions, last = run_steps(rule, TemperatureState(value=0.6), [0.5] * 140 + [0.7] * 80)
    assert [state.value for state in states] == [0.6] * 140 + [1.2] * 60 + [1.0] * 20
    assert [(decision.step, decision.old, decision.new, decision.rule, decision.steps) for decision in decisions] == [
        (140, 0.6, 1.2, "schedule", 140),
        (200, 1.2, 1.0, "schedule", 60),
    ]
    assert decisions[0].ema == decisions[0].reference == pytest.approx(0.5)
    assert decisions[0].line == ("step  140  temperature 0.6 -> 1.2: as scheduled; average D 0.5000 after 140 steps")
    assert (last.stage, last.steps, last.ema) == (2, 20, pytest.approx(0.7))


def test_schedule_without_changes_keeps_the_temperature():
    states, decisions, last = run_steps(TemperatureSchedule(1.2), TemperatureState(value=1.2), [0.9] * 50 + [0.1] * 300)
    assert ({state.value for state in states}, decisions) == ({1.2}, [])
    assert last.ema == pytest.approx(0.1)


def test_a_resumed_run_adopts_another_configuration():
    before = TemperatureState(value=1.0, stage=2, steps=30, ema=0.6, reference=0.65)
    state, decision = decide_temperature(TemperatureSchedule(1.2), before, 30)
    assert state == TemperatureState(value=1.2, stage=3)
    assert (decision.rule, decision.old, decision.new, decision.ema) == ("configuration", 1.0, 1.2, 0.6)
    # The diversity controller continues from the temperature of the state and climbs to the next one of the grid.
    assert decide_temperature(RULE, replace(before, value=0.7), 30) == (replace(before, value=0.7), None)
    later = TemperatureState(value=0.7, steps=40, ema=0.4, reference=0.65)
    assert decide_temperature(RULE, later, 40)[0] == TemperatureState(value=0.8, stage=1)


def test_step_constants_are_those_of_the_method_page():
    assert (REFERENCE_STEPS, MIN_STAGE_STEPS) == (20, 40)


def make_measurements(rows):
    return [Measurement(*row) for row in rows]


def choose(rows, target=0.68):
    """Choose among (temperature, diversity, reward) rows; return the temperature and the name of the rule."""
    decision = choose_initial_temperature(make_measurements(rows), target)
    return decision.new, decision.rule


def test_calibration_chooses_the_lowest_temperature_with_enough_diversity_and_reward():
    rows = [(0.6, 0.5, 0.50), (0.8, 0.6, 0.50), (1.0, 0.68, 0.45), (1.2, 0.75, 0.50), (1.4, 0.9, 0.1)]
    assert choose(rows) == (1.0, "calibration")  # exactly at the target and at 0.9 x 0.5
    assert choose(rows[::-1]) == (1.0, "calibration")
    # If its reward is just too low, the next temperature is chosen.
    assert choose([*rows[:2], (1.0, 0.68, 0.449), *rows[3:]]) == (1.2, "calibration")
    decision = choose_initial_temperature(make_measurements(rows), 0.68)
    assert (decision.step, decision.old, decision.ema) == (0, None, None)
    assert decision.line == (
        "step    0  temperature 1: D 0.6800, reward 0.4500; the smallest with D >= 0.68 and reward >= 0.9 x 0.5000"
    )


def test_calibration_falls_back_to_the_highest_diversity_with_enough_reward():
    # The temperatures with D >= 0.68 have too little reward: 1.2 has the highest D of the others.
    rows = [(0.6, 0.4, 0.5), (1.0, 0.5, 0.49), (1.2, 0.6, 0.46), (1.4, 0.7, 0.44), (1.6, 0.9, 0.1)]
    assert choose(rows) == (1.2, "calibration_fallback")
    decision = choose_initial_temperature(make_measurements(rows), 0.68)
    assert "none has D >= 0.68 and reward >= 0.9 x 0.5000" in decision.line
    # It is not simply the highest temperature.
    assert choose([(0.6, 0.4, 0.5), (1.0, 0.6, 0.5), (1.2, 0.55, 0.5)]) == (1.0, "calibration_fallback")
    # In a tie, the lowest temperature is chosen.
    assert choose([(1.2, 0.6, 0.5), (1.0, 0.6, 0.5)]) == (1.0, "calibration_fallback")


def test_calibration_with_reward_zero_everywhere_chooses_by_diversity():
    """If no temperature has any reward, all satisfy the reward condition."""
    assert choose([(0.6, 0.5, 0.0), (0.8, 0.7, 0.0), (1.0, 0.8, 0.0)]) == (0.8, "calibration")


def test_calibration_without_measurements_is_an_error():
    with pytest.raises(ValueError, match="without measurements"):
        choose_initial_temperature([], 0.68)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6),
    st.floats(0.01, 0.99),
)
def test_calibration_always_satisfies_the_reward_condition(pairs, target):
    rows = [(temperature, *pair) for temperature, pair in zip(GRID, pairs, strict=False)]
    decision = choose_initial_temperature(make_measurements(rows), target)
    _, diversity, reward = next(row for row in rows if row[0] == decision.new)
    highest = max(row[2] for row in rows)
    assert reward >= 0.9 * highest
    diverse = [row for row in rows if row[1] >= target and row[2] >= 0.9 * highest]
    assert (decision.rule == "calibration") == (diversity >= target) == bool(diverse)
    assert not any(row[0] < decision.new for row in diverse)


RESTORING = DiversityController(GRID, floor=0.5, restore=True)
ENDED = TemperatureState(value=0.8, stage=2, steps=MIN_STAGE_STEPS, ema=0.4, reference=0.7, start_diversity=0.6)


def measure(*diversities):
    """Return a measurement per temperature of the grid, without rewards."""
    return [Measurement(value, diversity, 0.0) for value, diversity in zip(GRID, diversities, strict=True)]


@pytest.mark.parametrize(
    ("diversities", "chosen"),
    [
        ((0.3, 0.4, 0.5, 0.6, 0.7, 0.8), 1.2),
        ((0.7, 0.5, 0.5, 0.5, 0.7, 0.8), 0.6),
        ((0.3, 0.6, 0.7, 0.7, 0.7, 0.7), 0.8),
        ((0.3, 0.4, 0.5, 0.5, 0.5, 0.4), 1.0),
    ],
    ids=["the smallest that is diverse enough", "a lower one", "the present one", "none: the highest D"],
)
def test_restore_chooses_the_smallest_temperature_as_diverse_as_the_start(diversities, chosen):
    state, decision = decide_temperature(RESTORING, ENDED, 120, measure(*diversities))
    assert decision is not None
    assert (decision.step, decision.old, decision.new, decision.rule) == (120, 0.8, chosen, "restore")
    assert state == TemperatureState(value=chosen, stage=3, start_diversity=0.6)


def test_only_restore_needs_measurements_and_only_at_the_end_of_a_stage():
    assert RESTORING.needs_measurements(ENDED)
    assert not RESTORING.needs_measurements(replace(ENDED, ema=0.69))
    assert not RULE.needs_measurements(ENDED)


def test_a_new_stage_keeps_the_diversity_of_the_start():
    state, _ = decide_temperature(RULE, ENDED, 120)
    assert (state.value, state.start_diversity) == (1.0, 0.6)
