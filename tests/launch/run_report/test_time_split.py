"""Split of a step's wall time into parts that add up to it."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run_report.time_split import EVALUATION, STEP, STEP_PARTS, UNACCOUNTED, split_step_time
from launch.training.metrics import timing_metrics
from tests.factories import make_step_outcome

SERIES = Path(__file__).parent / "series"


def sum_step(parts, place):
    return sum(part.seconds[place] or 0.0 for part in parts if part.in_step)


def test_parts_of_a_recorded_run_add_up_to_its_steps():
    rows = [json.loads(line) for line in (SERIES / "healthy_timing.jsonl").read_text().splitlines()]
    parts = split_step_time(rows)
    assert [part.metric for part in parts] == [*(metric for _, metric in STEP_PARTS), UNACCOUNTED, EVALUATION]
    for place, row in enumerate(rows):
        assert sum_step(parts, place) == pytest.approx(row[STEP])
        # The file has four digits of every number.
        unaccounted = next(part for part in parts if part.metric == UNACCOUNTED)
        assert unaccounted.seconds[place] == pytest.approx(row[UNACCOUNTED], abs=0.002 * row[STEP])
    (evaluation,) = [part for part in parts if not part.in_step]
    assert evaluation.seconds[0] == rows[0][EVALUATION]
    assert set(evaluation.seconds[1:]) == {None}


def test_every_timing_of_the_driver_is_a_part():
    metrics = timing_metrics(make_step_outcome())
    parts = split_step_time([metrics])
    spans = {name for name in metrics if name.startswith("timing_s/span/")}  # they overlap other parts
    timings = {name for name in metrics if name.startswith("timing_s/")}
    assert {part.metric for part in parts} == timings - spans - {STEP}
    (unaccounted,) = [part for part in parts if part.metric == UNACCOUNTED]
    assert unaccounted.seconds == (pytest.approx(metrics[UNACCOUNTED]),)


def test_row_that_is_only_an_evaluation_has_no_seconds_in_the_step():
    rows = [{"step": 0, "timing_s/gen": 2.0, STEP: 3.0}, {"step": 1, EVALUATION: 7.0}]
    generation, unaccounted, evaluation = split_step_time(rows)
    assert (generation.name, generation.seconds) == ("generation", (2.0, None))
    assert unaccounted.seconds == (1.0, None)
    assert evaluation.seconds == (None, 7.0)


def test_older_rows_without_a_part_add_up_too():
    rows = [{"timing_s/gen": 2.0, UNACCOUNTED: 0.5, STEP: 3.0}]
    assert sum_step(split_step_time(rows), 0) == 3.0


TIMES = [STEP, UNACCOUNTED, EVALUATION, *(metric for _, metric in STEP_PARTS)]


@given(st.lists(st.dictionaries(st.sampled_from(TIMES), st.one_of(st.just(math.nan), st.floats(-1, 1e6)))))
def test_parts_add_up_to_any_known_step(rows):
    parts = split_step_time(rows)
    assert all(len(part.seconds) == len(rows) for part in parts)
    for place, row in enumerate(rows):
        if math.isfinite(row.get(STEP, math.nan)):
            assert sum_step(parts, place) == pytest.approx(row[STEP], abs=1e-6)
