"""The temperature: decisions by hand, what no sequence of diversities can do, the choice of calibration."""

import itertools
import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.temperature import (
    REFERENCE_STEPS,
    STAGE_STEPS,
    Decision,
    DiversityController,
    Measurement,
    Schedule,
    TemperatureState,
    calibrated,
    decided,
    observed,
)

GRID = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
RULE = DiversityController(GRID, floor=0.5)


def followed(rule, state, diversities, first=0):
    """The states that the steps were sampled with, the decisions, and the state after the last step."""
    states = []
    decisions = []
    for step, diversity in enumerate(diversities, first):
        state, decision = decided(rule, state, step)
        states.append(state)
        decisions += [decision] if decision else []
        state = observed(state, diversity)
    return states, decisions, state


def test_the_average_by_hand():
    state = TemperatureState(value=0.6)
    found = []
    for diversity in (0.7, 0.6, None, 0.5):
        state = observed(state, diversity)
        found.append((state.steps, state.ema))
    # 0.9 x 0.7 + 0.1 x 0.6 = 0.69; 0.9 x 0.69 + 0.1 x 0.5 = 0.671
    assert found == [
        (1, 0.7),
        (2, pytest.approx(0.69)),
        (3, pytest.approx(0.69)),
        (4, pytest.approx(0.671)),
    ]


def test_the_reference_is_the_average_after_twenty_steps():
    """D is 0.8 for 19 steps, 0.7 in the 20th: 0.9 x 0.8 + 0.1 x 0.7 = 0.79, whatever comes later."""
    state = TemperatureState(value=0.6)
    for diversity in [0.8] * 19:
        state = observed(state, diversity)
    assert state.reference is None
    for diversity in [0.7, 0.1, 0.1]:
        state = observed(state, diversity)
    assert state.reference == pytest.approx(0.79)


def test_the_papers_run_at_0_6_changes_near_step_140():
    """P1: D falls from 0.575 to 0.44 in 260 steps at T = 0.6, and is raised at step 140."""
    falling = [0.575 - (0.575 - 0.44) * step / 260 for step in range(200)]
    _, decisions, _ = followed(RULE, TemperatureState(value=0.6), falling)
    first = decisions[0]
    # The average of a line a - b t is a - b (t - 9 (1 - 0.9^t)): 0.56918 after 20 steps (t = 19). The line is at 0.9 x
    # that at t = 120.8, the average 9 steps later: the step after t = 130 is the first at 0.8.
    assert (first.step, first.old, first.new, first.rule, first.steps) == (131, 0.6, 0.8, "drop", 131)
    assert first.reference == pytest.approx(0.56918, abs=1e-5)
    assert 0.9 * first.reference - 0.0006 < first.ema < 0.9 * first.reference


def test_a_drop_waits_for_forty_steps_and_names_its_numbers():
    """A fall to 0.6 at step 20: the average is 0.6 + 0.2 x 0.9^k after k steps of it, under 0.72 from k = 5 on."""
    states, (decision,), _ = followed(RULE, TemperatureState(value=1.0), [0.8] * 20 + [0.6] * 45)
    assert [state.value for state in states] == [1.0] * 40 + [1.2] * 25
    ema = 0.6 + 0.2 * 0.9**20
    near: Any = pytest.approx
    assert decision == Decision(
        step=40,
        old=1.0,
        new=1.2,
        rule="drop",
        explanation=decision.explanation,
        steps=40,
        ema=near(ema),
        reference=near(0.8),
    )
    assert decision.line == (
        "step   40  temperature 1 -> 1.2: average D 0.6243 after 40 steps: "
        "under 0.9 x 0.8000, the average 20 steps after it began"
    )
    # The stage begins with nothing: its average is its first D.
    assert states[40] == TemperatureState(value=1.2, stage=1)
    assert states[41] == TemperatureState(value=1.2, stage=1, steps=1, ema=0.6)


def test_the_floor():
    """D of 0.49 throughout never falls, and is under 0.5 all the same; 0.5 is not."""
    _, (decision,), _ = followed(RULE, TemperatureState(value=0.8), [0.49] * 41)
    assert (decision.step, decision.new, decision.rule) == (40, 1.0, "floor")
    assert decision.ema == pytest.approx(0.49)
    assert decision.line.endswith("average D 0.4900 after 40 steps: under 0.5")
    assert followed(RULE, TemperatureState(value=0.8), [0.5] * 200)[1] == []


def test_a_drop_just_not_large_enough():
    """Towards 0.721 the average stays above 0.9 x 0.8 = 0.72 for ever; towards 0.719 it does not."""
    assert followed(RULE, TemperatureState(value=1.0), [0.8] * 20 + [0.721] * 300)[1] == []
    assert followed(RULE, TemperatureState(value=1.0), [0.8] * 20 + [0.719] * 300)[1] != []


def test_the_top_of_the_grid_is_told_once():
    states, decisions, _ = followed(RULE, TemperatureState(value=1.4), [0.3] * 300)
    assert [(one.step, one.old, one.new, one.rule) for one in decisions] == [
        (40, 1.4, 1.6, "floor"),
        (80, 1.6, 1.6, "top"),
    ]
    assert decisions[1].explanation.endswith("the grid has no higher temperature")
    assert {(state.value, state.stage) for state in states[80:]} == {(1.6, 1)}


def test_responses_too_short_for_diversity_change_nothing():
    _, decisions, last = followed(RULE, TemperatureState(value=0.6), [None] * 100)
    assert decisions == []
    assert last == TemperatureState(value=0.6, steps=100)
    # Where a D comes late, the first average past the twentieth step is the reference.
    assert observed(last, 0.7).reference == 0.7


diversities = st.lists(st.one_of(st.none(), st.floats(0.0, 1.0)), max_size=300)
# Runs of equal values: single draws would seldom move an average.
runs = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.49, 0.6, 0.7, 0.9, None]), st.integers(1, 90)), max_size=8)
sequences = st.one_of(diversities, runs.map(lambda parts: [value for value, times in parts for _ in range(times)]))


@given(sequences, st.sampled_from(GRID))
def test_stages_are_long_and_climb_the_grid(values, first):
    states, decisions, _ = followed(RULE, TemperatureState(value=first), values)
    temperatures = [state.value for state in states]
    starts = [0] + [step for step in range(1, len(states)) if temperatures[step] != temperatures[step - 1]]
    assert all(later - earlier >= STAGE_STEPS for earlier, later in itertools.pairwise(starts))
    taken = [temperatures[start] for start in starts if states]
    place = GRID.index(first)
    assert taken == list(GRID[place : place + len(taken)])
    assert [one.step for one in decisions if one.rule != "top"] == starts[1:]
    assert [state.stage for state in states] == [GRID.index(value) - place for value in temperatures]


@given(sequences, st.integers(0, 300))
def test_a_state_goes_on_through_json(values, cut):
    """Also in the middle of a stage, before its reference, and where the next step brings a decision."""
    whole = followed(RULE, TemperatureState(value=0.6), values)
    states, decisions, middle = followed(RULE, TemperatureState(value=0.6), values[:cut])
    restored = TemperatureState(**json.loads(json.dumps(asdict(middle))))
    assert restored == middle
    rest = followed(RULE, restored, values[cut:], first=min(cut, len(values)))
    assert (states + rest[0], decisions + rest[1], rest[2]) == whole


@given(sequences)
def test_a_decision_taken_again_is_the_same(values):
    """A run killed after the decision, before the step's checkpoint, decides again."""
    _, _, state = followed(RULE, TemperatureState(value=0.6), values)
    once = decided(RULE, state, len(values))
    assert decided(RULE, state, len(values)) == once
    assert decided(RULE, once[0], len(values)) == (once[0], None)


def test_a_schedule():
    rule = Schedule(0.6, ((140, 1.2), (200, 1.0)))
    states, decisions, last = followed(rule, TemperatureState(value=0.6), [0.5] * 140 + [0.7] * 80)
    assert [state.value for state in states] == [0.6] * 140 + [1.2] * 60 + [1.0] * 20
    assert [(one.step, one.old, one.new, one.rule, one.steps) for one in decisions] == [
        (140, 0.6, 1.2, "schedule", 140),
        (200, 1.2, 1.0, "schedule", 60),
    ]
    assert decisions[0].ema == decisions[0].reference == pytest.approx(0.5)
    assert decisions[0].line == ("step  140  temperature 0.6 -> 1.2: as scheduled; average D 0.5000 after 140 steps")
    assert (last.stage, last.steps, last.ema) == (2, 20, pytest.approx(0.7))


def test_a_fixed_temperature_stays():
    states, decisions, last = followed(Schedule(1.2), TemperatureState(value=1.2), [0.9] * 50 + [0.1] * 300)
    assert ({state.value for state in states}, decisions) == ({1.2}, [])
    assert last.ema == pytest.approx(0.1)


def test_a_run_resumed_with_another_configuration_takes_it():
    before = TemperatureState(value=1.0, stage=2, steps=30, ema=0.6, reference=0.65)
    state, decision = decided(Schedule(1.2), before, 30)
    assert state == TemperatureState(value=1.2, stage=3)
    assert (decision.rule, decision.old, decision.new, decision.ema) == ("configuration", 1.0, 1.2, 0.6)
    # By diversity it goes on from the temperature it had, and climbs to the grid's next.
    assert decided(RULE, replace(before, value=0.7), 30) == (replace(before, value=0.7), None)
    later = TemperatureState(value=0.7, steps=40, ema=0.4, reference=0.65)
    assert decided(RULE, later, 40)[0] == TemperatureState(value=0.8, stage=1)


def test_the_constants_are_the_method():
    assert (REFERENCE_STEPS, STAGE_STEPS) == (20, 40)


def measured(*rows):
    return [Measurement(*row) for row in rows]


def chosen(rows, target=0.68):
    found = calibrated(measured(*rows), target)
    return found.new, found.rule


def test_calibration_takes_the_smallest_temperature_that_is_diverse_and_good():
    rows = [(0.6, 0.5, 0.50), (0.8, 0.6, 0.50), (1.0, 0.68, 0.45), (1.2, 0.75, 0.50), (1.4, 0.9, 0.1)]
    assert chosen(rows) == (1.0, "calibration")  # at the target, and at 0.9 x 0.5
    assert chosen(rows[::-1]) == (1.0, "calibration")
    # With a reward just too low it is the next.
    assert chosen([*rows[:2], (1.0, 0.68, 0.449), *rows[3:]]) == (1.2, "calibration")
    decision = calibrated(measured(*rows), 0.68)
    assert (decision.step, decision.old, decision.ema) == (0, None, None)
    assert decision.line == (
        "step    0  temperature 1: D 0.6800, reward 0.4500; the smallest with D >= 0.68 and reward >= 0.9 x 0.5000"
    )


def test_calibration_falls_back_to_the_most_diverse_that_keeps_the_reward():
    # The diverse ones have lost the reward: 1.2 has the highest D of those that keep it.
    rows = [(0.6, 0.4, 0.5), (1.0, 0.5, 0.49), (1.2, 0.6, 0.46), (1.4, 0.7, 0.44), (1.6, 0.9, 0.1)]
    assert chosen(rows) == (1.2, "calibration_fallback")
    assert "none has D >= 0.68 and reward >= 0.9 x 0.5000" in calibrated(measured(*rows), 0.68).line
    # Not simply the hottest.
    assert chosen([(0.6, 0.4, 0.5), (1.0, 0.6, 0.5), (1.2, 0.55, 0.5)]) == (1.0, "calibration_fallback")
    # Of equal ones the smallest.
    assert chosen([(1.2, 0.6, 0.5), (1.0, 0.6, 0.5)]) == (1.0, "calibration_fallback")


def test_calibration_of_a_policy_that_solves_nothing():
    """Every temperature keeps a reward of 0: diversity alone decides."""
    assert chosen([(0.6, 0.5, 0.0), (0.8, 0.7, 0.0), (1.0, 0.8, 0.0)]) == (0.8, "calibration")


def test_calibration_needs_measurements():
    with pytest.raises(ValueError, match="without measurements"):
        calibrated([], 0.68)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6),
    st.floats(0.01, 0.99),
)
def test_calibration_always_keeps_the_reward(pairs, target):
    rows = [(temperature, *pair) for temperature, pair in zip(GRID, pairs, strict=False)]
    decision = calibrated(measured(*rows), target)
    _, diversity, reward = next(row for row in rows if row[0] == decision.new)
    highest = max(row[2] for row in rows)
    assert reward >= 0.9 * highest
    better = [row for row in rows if row[1] >= target and row[2] >= 0.9 * highest]
    assert (decision.rule == "calibration") == (diversity >= target) == bool(better)
    assert not any(row[0] < decision.new for row in better)
