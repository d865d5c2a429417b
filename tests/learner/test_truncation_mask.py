"""Truncation masks: the four conditions of the conditional mask, its random draw, and detection of repetition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.verdict import Status
from learner.truncation_mask import (
    MaskDraw,
    TruncationMask,
    decide_mask,
    has_repeated_tail,
    has_repeated_tail_any_period,
)
from tests.factories import make_rollout, make_truncated_rollout

WINDOW = 4
EXPECTED_DRAW = 0.7216194651095196
FRESH = tuple(range(10, 22))
REPEATING = (10, 11, 12, 13) * 3


def decide(item, probability=1.0, kind="conditional", **draw):
    return decide_mask(item, TruncationMask(kind, WINDOW, probability), MaskDraw(**({"seed": 0, "step": 0} | draw)))


def draw_uniform(seed, step, question_id, sample_index, occurrence=0):
    return MaskDraw(seed, step, occurrence).uniform(question_id, sample_index)


def test_output_is_masked_if_all_four_conditions_hold():
    decision = decide(make_truncated_rollout(incomplete=True, tokens=FRESH))
    assert (decision.truncated, decision.repeats, decision.eligible, decision.masked) == (True, False, True, True)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(make_rollout(Status.WRONG_ANSWER, incomplete=True, tokens=FRESH), id="not truncated"),
        pytest.param(
            make_truncated_rollout(incomplete=False, tokens=FRESH), id="incorrect: a complete program that fails"
        ),
        pytest.param(make_truncated_rollout(incomplete=True, tokens=REPEATING), id="repeats"),
    ],
)
def test_output_is_not_masked_if_one_condition_fails(item):
    assert decide(make_truncated_rollout(incomplete=True, tokens=FRESH)).eligible
    decision = decide(item)
    assert not decision.eligible
    assert not decision.masked


def test_eligible_output_is_masked_if_its_draw_is_below_the_probability():
    item = make_truncated_rollout(incomplete=True, tokens=FRESH)
    drawn = draw_uniform(0, 0, "q", 0)
    below = decide(item, probability=drawn)
    above = decide(item, probability=drawn + 1e-9)
    assert (below.eligible, below.masked) == (True, False)
    assert (above.eligible, above.masked) == (True, True)
    assert not decide(item, probability=0.0).masked


@pytest.mark.parametrize("kind", ["none", "failing", "all", "conditional"])
@pytest.mark.parametrize("make_item", [make_rollout, make_truncated_rollout])
def test_decision_has_every_condition_and_the_draw(make_item, kind):
    """Check also masks that do not depend on them."""
    for incomplete, tokens in ((True, FRESH), (False, REPEATING)):
        item = make_item(Status.WRONG_ANSWER, incomplete=incomplete, tokens=tokens, sample_index=2)
        decision = decide(item, kind=kind, step=1)
        assert decision.truncated is (make_item is make_truncated_rollout)
        assert (decision.incomplete, decision.repeats) == (incomplete, tokens is REPEATING)
        assert decision.draw == pytest.approx(EXPECTED_DRAW, abs=1e-15)


@pytest.mark.parametrize("incomplete", [True, False])
def test_a_correct_truncated_output_is_non_incorrect(incomplete):
    assert decide(make_truncated_rollout(Status.PASSED, incomplete=incomplete, tokens=FRESH)).masked


@pytest.mark.parametrize("status", [Status.TIME_LIMIT, Status.RUNTIME_ERROR, Status.COMPILE_ERROR, Status.NO_CODE])
def test_failed_output_is_eligible_only_if_incomplete(status):
    assert decide(make_truncated_rollout(status, incomplete=True, tokens=FRESH)).eligible
    assert not decide(make_truncated_rollout(status, incomplete=False, tokens=FRESH)).eligible


def test_draw_depends_on_seed_step_question_sample_and_occurrence():
    # A fixed value: a resumed run in another process, or with a later release, must draw the same number.
    assert draw_uniform(0, 1, "q", 2) == pytest.approx(EXPECTED_DRAW, abs=1e-15)
    others = [(1, 1, "q", 2), (0, 2, "q", 2), (0, 1, "r", 2), (0, 1, "q", 3), (1, 0, "q", 2), (0, 1, "q", 2, 1)]
    assert len({draw_uniform(0, 1, "q", 2), *(draw_uniform(*other) for other in others)}) == 7


def test_draws_of_similar_question_names_differ():
    names = ["a", "a/1", "a', 1, 2", "1/a", "a'"]
    drawn = {draw_uniform(0, 1, name, sample, repeat) for name in names for sample in range(3) for repeat in range(3)}
    assert len(drawn) == len(names) * 9


@pytest.mark.parametrize(
    ("item", "failing", "everything"),
    [
        pytest.param(make_truncated_rollout(incomplete=True, tokens=FRESH), True, True, id="incomplete"),
        pytest.param(make_truncated_rollout(incomplete=False, tokens=FRESH), True, True, id="incorrect"),
        pytest.param(make_truncated_rollout(incomplete=True, tokens=REPEATING), True, True, id="repeats"),
        pytest.param(make_truncated_rollout(Status.PASSED, tokens=FRESH), False, True, id="correct"),
        pytest.param(make_rollout(Status.WRONG_ANSWER, incomplete=True), False, False, id="not truncated"),
        pytest.param(make_truncated_rollout(Status.SANDBOX_ERROR, tokens=FRESH), False, True, id="excluded"),
    ],
)
def test_other_masks_ignore_draw_and_repetition(item, failing, everything):
    for probability in (0.0, 1.0):
        assert decide(item, probability, "failing").masked is failing
        assert decide(item, probability, "all").masked is everything
        assert decide(item, probability, "none").masked is False
    assert {decide(item, kind=kind).eligible for kind in ("none", "failing", "all")} == {decide(item).eligible}


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.text(max_size=8), st.integers(0, 63), st.integers(0, 3))
def test_draws_are_reproducible_numbers_from_0_to_1(seed, step, question_id, sample_index, occurrence):
    drawn = draw_uniform(seed, step, question_id, sample_index, occurrence)
    assert 0.0 <= drawn <= 1.0
    assert drawn == draw_uniform(seed, step, question_id, sample_index, occurrence)


def test_share_of_draws_below_the_probability_equals_it():
    drawn = np.array([draw_uniform(7, step, f"q{place}", 3) for step in range(50) for place in range(200)])
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    for probability in (0.1, 0.2, 0.3):
        assert abs((drawn < probability).mean() - probability) < 0.02  # more than four standard errors


def test_each_rollout_has_its_own_draw():
    items = [make_truncated_rollout(incomplete=True, tokens=FRESH, question_id=f"q{place}") for place in range(300)]
    masked = [decide(item, probability=0.2).masked for item in items]
    assert masked == [decide(item, probability=0.2).masked for item in items]
    assert 0.1 < np.mean(masked) < 0.3
    assert masked != [decide(item, probability=0.2, step=1).masked for item in items]
    assert masked != [decide(item, probability=0.2, seed=1).masked for item in items]


@pytest.mark.parametrize(
    ("period", "detected"),
    [(1, True), (2, True), (4, True), (8, True), (16, True), (3, False), (5, False), (32, False)],
)
def test_has_repeated_tail_detects_periods_that_divide_the_window(period, detected):
    tail = np.resize(np.arange(period), 48)
    assert has_repeated_tail(np.concatenate([[90, 91, 92], tail]), 16) is detected


def test_has_repeated_tail_needs_two_windows():
    assert not has_repeated_tail(np.zeros(31, dtype=np.int32), 16)
    assert has_repeated_tail(np.zeros(32, dtype=np.int32), 16)


def test_has_repeated_tail_compares_only_the_end():
    assert not has_repeated_tail(np.array([1, 2, 1, 2, 3]), 2)
    assert has_repeated_tail(np.array([3, 1, 2, 1, 2]), 2)


@given(st.lists(st.integers(0, 1), max_size=14), st.integers(1, 4))
def test_has_repeated_tail_matches_token_by_token_comparison(tokens, window):
    long_enough = len(tokens) >= 2 * window
    equal = long_enough and all(tokens[-1 - back] == tokens[-1 - back - window] for back in range(window))
    assert has_repeated_tail(np.array(tokens), window) is equal


@given(st.lists(st.integers(0, 2), max_size=20), st.lists(st.integers(0, 2), min_size=1, max_size=8), st.integers(1, 8))
def test_has_repeated_tail_any_period_matches_brute_force(start, unit, window):
    tokens = np.array(start + unit * (2 * window), dtype=np.int32)
    for output in (tokens, tokens[: len(start)]):
        tail = output[-2 * window :].tolist()
        periods = [period for period in range(1, window + 1) if tail[period:] == tail[:-period]]
        assert has_repeated_tail_any_period(output, window) == (len(tail) == 2 * window and bool(periods))
