"""Mean and range of a metric over runs."""

import math

from launch.run_report.metric_bands import find_spread, make_band
from tests.launch.run_report.run_factory import make_run_files


def make_run(values, metric="reward"):
    """Make a run whose rows have these values of a metric by step; None leaves the metric out."""
    rows = [{"step": float(step), **({} if value is None else {metric: value})} for step, value in values.items()]
    return make_run_files("run", rows=rows)


def test_the_band_is_the_range_over_runs():
    band = make_band([make_run({0: 1.0, 1: 2.0}), make_run({0: 3.0, 1: 2.0}), make_run({0: 5.0, 1: 8.0})], "reward")
    assert band.steps == (0.0, 1.0)
    assert band.mean == (3.0, 4.0)
    assert band.low == (1.0, 2.0)
    assert band.high == (5.0, 8.0)
    assert band.count == (3, 3)


def test_one_run_has_no_band():
    band = make_band([make_run({0: 1.0, 1: 2.0})], "reward")
    assert (band.mean, band.count) == ((1.0, 2.0), (1, 1))
    assert (band.low, band.high) == (None, None)


def test_runs_may_lack_steps_and_values():
    runs = [make_run({0: 1.0, 1: None, 2: math.nan, 4: 6.0}), make_run({0: 3.0, 1: 5.0, 2: 7.0, 3: math.inf})]
    band = make_band(runs, "reward")
    assert band.steps == (0.0, 1.0, 2.0, 4.0)
    assert band.mean == (2.0, 5.0, 7.0, 6.0)
    assert band.low == (1.0, None, None, None)
    assert band.high == (3.0, None, None, None)
    assert band.count == (2, 1, 1, 1)


def test_a_value_of_zero_is_part_of_the_band():
    band = make_band([make_run({0: 0.0}), make_run({0: 0.0})], "reward")
    assert band.low == (0.0,)
    assert band.high == (0.0,)


def test_a_metric_that_no_run_has_gives_an_empty_band():
    for runs in ([], [make_run({0: 1.0})]):
        band = make_band(runs, "other")
        assert (band.steps, band.mean, band.low, band.high, band.count) == ((), (), None, None, ())


def test_long_bands_are_averaged_over_neighbouring_steps():
    first = make_run({step: float(step) for step in range(10)})
    second = make_run({step: float(step) + 2 for step in range(9)})
    band = make_band([first, second], "reward", max_points=4)
    assert band.steps == (1.0, 4.0, 7.0, 9.0)
    assert band.mean == (2.0, 5.0, 8.0, 9.0)
    assert band.low == (1.0, 4.0, 7.0, None)
    assert band.high == (3.0, 6.0, 9.0, None)
    assert band.count == (2, 2, 2, 1)


def test_spread_needs_two_values():
    assert find_spread([0.5]) is None
    assert find_spread([0.5, 0.25, 1.0]) == (0.25, 1.0)
