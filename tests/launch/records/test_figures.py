"""Line of a step, numbers and durations as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.verdict import Status
from launch.records.figures import (
    LINE_WIDTH,
    MISSING,
    STEP_LINE,
    average_rows,
    format_duration,
    format_number,
    format_step,
    join_fitting,
)
from tests.factories import make_credited_group, make_metrics_row

ROW = make_metrics_row(7, [make_credited_group(*[Status.PASSED] * 3, *[Status.WRONG_ANSWER] * 5)]) | {
    "diversity/distinct_4": 0.68
}
KEYS = [figure.key for figure in STEP_LINE]
ANY_ROW = st.dictionaries(st.sampled_from(KEYS), st.floats() | st.integers(-(10**300), 10**300))


def test_line_has_the_most_important_figures_first():
    assert format_step(ROW) == (
        "step    7  reward 0.375  D 0.68  length   4.0  trunc 0.000  20.0 s      2 tok/s  entropy 0.750"
    )


@given(ANY_ROW, st.integers(1, 200))
def test_line_never_exceeds_the_width_or_100_columns(row, width):
    assert 1 <= len(format_step(row, width)) <= min(width, LINE_WIDTH)


def test_line_at_80_columns_has_all_figures_up_to_the_throughput():
    row = ROW | {"step": 9999, "response_length/mean": 30_123.4, "timing_s/step": 812.4, "perf/throughput": 98_765.4}
    line = format_step(row, 80)
    assert line == "step 9999  reward 0.375  D 0.68  length 30123  trunc 0.000   812 s  98765 tok/s"
    assert len(line) < 80


def test_missing_figures_are_not_zero():
    line = format_step({"step": 3})
    assert (
        line.split()
        == (
            f"step 3 reward {MISSING} D {MISSING} length {MISSING} trunc {MISSING} {MISSING} s {MISSING} tok/s "
            f"entropy {MISSING}"
        ).split()
    )


def test_lines_of_ordinary_steps_are_aligned():
    other = ROW | {"critic/rewards/mean": -0.25, "response_length/mean": 1234.5, "timing_s/step": 7.25, "step": 123}
    assert len(format_step(ROW)) == len(format_step(other))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, MISSING),
        (0.0, "0.00"),
        (-0.001, "0.00"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (12345.6, "12346"),
        (123456.0, "1e+05"),
        (-1e308, "-1e+308"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_number_has_the_decimal_places_that_fit(value, text):
    assert format_number(value, 2, 5) == text


@given(st.floats(), st.integers(0, 6), st.integers(1, 12))
def test_number_is_as_wide_as_asked_or_seven_columns(value, digits, width):
    assert len(format_number(value, digits, width)) <= max(width, 7)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, MISSING),
        (float("nan"), MISSING),
        (-3.0, "0 s"),
        (12.4, "12 s"),
        (59.7, "1:00"),
        (723, "12:03"),
        (7923, "2:12:03"),
        (3 * 86_400 + 4 * 3600 + 12 * 60, "3 d 04:12"),
        (1e300, "over 9999 d"),
    ],
)
def test_duration_is_short(seconds, text):
    assert format_duration(seconds) == text


def test_texts_are_joined_while_they_fit():
    assert join_fitting(["abc", "de", "f"], 7) == "abc  de"
    assert join_fitting(["abc", "de", "f"], 6) == "abc"
    assert join_fitting(["abcdef"], 4) == "abcd"


def test_average_is_over_the_rows_that_have_the_metric():
    assert average_rows([{"a": 1.0}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}
    assert average_rows([]) == {}
