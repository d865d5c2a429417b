"""The conditional truncation mask: each of its four conditions, its draw, and the repeat test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.verdict import Status
from learner.truncation_mask import MaskDraw, TruncationMask, mask_decision, repeats, repeats_any_period
from tests.factories import rollout, truncated

WINDOW = 4
PINNED = 0.7216194651095196
FRESH = tuple(range(10, 22))
REPEATING = (10, 11, 12, 13) * 3


def decide(item, probability=1.0, kind="conditional", **draw):
    return mask_decision(item, TruncationMask(kind, WINDOW, probability), MaskDraw(**({"seed": 0, "step": 0} | draw)))


def mask_uniform(seed, step, question_id, sample_index, occurrence=0):
    return MaskDraw(seed, step, occurrence).uniform(question_id, sample_index)


def test_masked_when_all_four_conditions_hold():
    decision = decide(truncated(incomplete=True, tokens=FRESH))
    assert (decision.truncated, decision.repeats, decision.eligible, decision.masked) == (True, False, True, True)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(rollout(Status.WRONG_ANSWER, incomplete=True, tokens=FRESH), id="not truncated"),
        pytest.param(truncated(incomplete=False, tokens=FRESH), id="incorrect: a complete program that fails"),
        pytest.param(truncated(incomplete=True, tokens=REPEATING), id="repeats"),
    ],
)
def test_one_condition_alone_decides(item):
    assert decide(truncated(incomplete=True, tokens=FRESH)).eligible
    decision = decide(item)
    assert not decision.eligible
    assert not decision.masked


def test_the_draw_alone_decides():
    item = truncated(incomplete=True, tokens=FRESH)
    drawn = mask_uniform(0, 0, "q", 0)
    below = decide(item, probability=drawn)
    above = decide(item, probability=drawn + 1e-9)
    assert (below.eligible, below.masked) == (True, False)
    assert (above.eligible, above.masked) == (True, True)
    assert not decide(item, probability=0.0).masked


@pytest.mark.parametrize("incomplete", [True, False])
def test_a_correct_truncated_output_is_non_incorrect(incomplete):
    assert decide(truncated(Status.PASSED, incomplete=incomplete, tokens=FRESH)).masked


@pytest.mark.parametrize("status", [Status.TIME_LIMIT, Status.RUNTIME_ERROR, Status.COMPILE_ERROR, Status.NO_CODE])
def test_whatever_fails_is_eligible_only_when_incomplete(status):
    assert decide(truncated(status, incomplete=True, tokens=FRESH)).eligible
    assert not decide(truncated(status, incomplete=False, tokens=FRESH)).eligible


def test_the_draw_belongs_to_seed_step_question_and_sample():
    # Pinned: a resumed run in another process, or with a later release, must draw the same.
    assert mask_uniform(0, 1, "q", 2) == pytest.approx(PINNED, abs=1e-15)
    others = [(1, 1, "q", 2), (0, 2, "q", 2), (0, 1, "r", 2), (0, 1, "q", 3), (1, 0, "q", 2), (0, 1, "q", 2, 1)]
    assert len({mask_uniform(0, 1, "q", 2), *(mask_uniform(*other) for other in others)}) == 7


def test_names_of_questions_cannot_collide():
    names = ["a", "a/1", "a', 1, 2", "1/a", "a'"]
    drawn = {mask_uniform(0, 1, name, sample, again) for name in names for sample in range(3) for again in range(3)}
    assert len(drawn) == len(names) * 9


@pytest.mark.parametrize(
    ("item", "failing", "everything"),
    [
        pytest.param(truncated(incomplete=True, tokens=FRESH), True, True, id="incomplete"),
        pytest.param(truncated(incomplete=False, tokens=FRESH), True, True, id="incorrect"),
        pytest.param(truncated(incomplete=True, tokens=REPEATING), True, True, id="repeats"),
        pytest.param(truncated(Status.PASSED, tokens=FRESH), False, True, id="correct"),
        pytest.param(rollout(Status.WRONG_ANSWER, incomplete=True), False, False, id="not truncated"),
        pytest.param(truncated(Status.SANDBOX_ERROR, tokens=FRESH), False, True, id="excluded"),
    ],
)
def test_the_other_masks(item, failing, everything):
    """They know neither the draw nor the repeat test."""
    for probability in (0.0, 1.0):
        assert decide(item, probability, "failing").masked is failing
        assert decide(item, probability, "all").masked is everything
        assert decide(item, probability, "none").masked is False
    assert {decide(item, kind=kind).eligible for kind in ("none", "failing", "all")} == {decide(item).eligible}


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.text(max_size=8), st.integers(0, 63), st.integers(0, 3))
def test_draws_are_uniform_numbers(seed, step, question_id, sample_index, occurrence):
    drawn = mask_uniform(seed, step, question_id, sample_index, occurrence)
    assert 0.0 <= drawn <= 1.0
    assert drawn == mask_uniform(seed, step, question_id, sample_index, occurrence)


def test_the_rate_is_the_probability():
    drawn = np.array([mask_uniform(7, step, f"q{place}", 3) for step in range(50) for place in range(200)])
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    for probability in (0.1, 0.2, 0.3):
        assert abs((drawn < probability).mean() - probability) < 0.02  # more than four standard errors


def test_rollouts_are_drawn_for_one_by_one():
    items = [truncated(incomplete=True, tokens=FRESH, question_id=f"q{place}") for place in range(300)]
    masked = [decide(item, probability=0.2).masked for item in items]
    assert masked == [decide(item, probability=0.2).masked for item in items]
    assert 0.1 < np.mean(masked) < 0.3
    assert masked != [decide(item, probability=0.2, step=1).masked for item in items]
    assert masked != [decide(item, probability=0.2, seed=1).masked for item in items]


@pytest.mark.parametrize(
    ("period", "found"), [(1, True), (2, True), (4, True), (8, True), (16, True), (3, False), (5, False), (32, False)]
)
def test_periods_that_divide_the_window_are_found(period, found):
    tail = np.resize(np.arange(period), 48)
    assert repeats(np.concatenate([[90, 91, 92], tail]), 16) is found


def test_too_short_to_repeat():
    assert not repeats(np.zeros(31, dtype=np.int32), 16)
    assert repeats(np.zeros(32, dtype=np.int32), 16)


def test_only_the_end_counts():
    assert not repeats(np.array([1, 2, 1, 2, 3]), 2)
    assert repeats(np.array([3, 1, 2, 1, 2]), 2)


@given(st.lists(st.integers(0, 1), max_size=14), st.integers(1, 4))
def test_repeats_token_by_token(tokens, window):
    long_enough = len(tokens) >= 2 * window
    equal = long_enough and all(tokens[-1 - back] == tokens[-1 - back - window] for back in range(window))
    assert repeats(np.array(tokens), window) is equal


@given(st.lists(st.integers(0, 2), max_size=20), st.lists(st.integers(0, 2), min_size=1, max_size=8), st.integers(1, 8))
def test_repeats_any_period_brute_force(start, unit, window):
    tokens = np.array(start + unit * (2 * window), dtype=np.int32)
    for some in (tokens, tokens[: len(start)]):
        tail = some[-2 * window :].tolist()
        periods = [period for period in range(1, window + 1) if tail[period:] == tail[:-period]]
        assert repeats_any_period(some, window) == (len(tail) == 2 * window and bool(periods))
