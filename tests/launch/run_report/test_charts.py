"""Charts as data."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run_report import charts, metric_bands
from launch.run_report.charts import (
    Chart,
    Mark,
    MetricLine,
    Series,
    chart_to_json,
    list_temperature_marks,
    make_metric_chart,
    make_score_chart,
    thin_rows,
)
from launch.run_report.evaluations import read_evaluations
from launch.run_report.run_files import read_run_files
from tests.launch.run_report.run_factory import write_run

NUMBERS = st.floats()


def make_chart(*series, **changes):
    return Chart(id="a", title="A", caption="", unit="u", series=series, **changes)


def test_bands_and_lines_have_the_same_number_of_points():
    assert charts.MAX_POINTS is metric_bands.MAX_POINTS


def test_chart_as_json():
    band = Series(name="s", x=[0, 1], y=[0.123456, None], low=[0.1, None], high=[math.inf, None])
    empty = Series(name="e", x=[0], y=[None])
    chart = make_chart(band, empty, marks=(Mark(step=1, label="T 1"),), limits=(0.0, 1.0))
    value = json.loads(json.dumps(chart_to_json(chart), allow_nan=False))
    assert [series["name"] for series in value["series"]] == ["s"]
    assert value["series"][0]["y"] == [0.1235, None] and value["series"][0]["high"] == [None, None]
    assert value["marks"] == [{"step": 1, "label": "T 1"}] and value["limits"] == [0.0, 1.0]
    assert not chart.is_empty and make_chart(empty).is_empty and make_chart().is_empty


def test_metric_that_rows_lack_leaves_a_gap():
    rows = [{"step": 0.0, "m": 1.0}, {"step": 1.0}]
    chart = make_metric_chart(rows, [MetricLine(name="m", metric="m")], id="a", title="A", caption="", unit="")
    assert chart.series[0].y == [1.0, None] and chart.metrics == ("m",)


def test_long_series_are_averaged():
    rows = [{"step": float(step), "m": float(step), **({"rare": 7.0} if step == 0 else {})} for step in range(10)]
    assert thin_rows(rows, 10) == (1, rows)
    size, thin = thin_rows(rows, 4)
    assert size == 3 and [row["m"] for row in thin] == [1.0, 4.0, 7.0, 9.0]
    assert [row["step"] for row in thin] == [1.0, 4.0, 7.0, 9.0] and [row.get("rare") for row in thin] == [
        7.0,
        None,
        None,
        None,
    ]
    assert thin_rows([], 4) == (1, [])


def test_combined_rows_keep_maxima_and_the_last_temperature():
    rows = [
        {"step": float(step), "response_length/max": length, "mismatch/ratio_max": ratio, "temperature/value": 0.8}
        for step, (length, ratio) in enumerate([(100.0, 9.0), (700.0, math.nan), (300.0, 2.0)])
    ]
    rows[-1]["temperature/value"] = 1.0
    assert thin_rows(rows, 1)[1] == [
        {"step": 1.0, "response_length/max": 700.0, "mismatch/ratio_max": 9.0, "temperature/value": 1.0}
    ]


def test_value_that_is_not_finite_does_not_hide_its_neighbours():
    rows = [{"step": 0.0, "m": math.nan, "n": math.nan}, {"step": 1.0, "m": 2.0, "n": math.inf}]
    assert thin_rows(rows, 1)[1] == [{"step": 0.5, "m": 2.0}]


@given(values=st.lists(NUMBERS, max_size=30), limit=st.integers(1, 5))
def test_any_metrics_are_json(values, limit):
    rows = [{"step": float(step), "m": value} for step, value in enumerate(values)]
    _, thin = thin_rows(rows, limit)
    assert len(thin) <= limit
    for each in (rows, thin):
        chart = make_metric_chart(each, [MetricLine(name="m", metric="m")], id="a", title="A", caption="", unit="")
        json.dumps(chart_to_json(chart), allow_nan=False)


def test_scores_have_a_line_for_each_temperature(tmp_path):
    history = read_evaluations(read_run_files(write_run(tmp_path / "run", steps=3)))
    chart = make_score_chart(history, "trained", lambda point: point.pass_at_1, id="a", title="A", caption="")
    assert [series.name for series in chart.series] == ["T 1", "T 0.3"]
    assert [(series.x, series.y) for series in chart.series] == [([0, 3], [0.25, 0.75])] * 2
    assert make_score_chart(history, "other", lambda point: point.pass_at_1, id="a", title="A", caption="").is_empty


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"step": 2, "old": 0.8, "new": 0.9}, "T 0.9"),
        ({"step": 2, "old": 0.8, "new": 0.8}, None),
        ({"step": 2, "old": None, "new": 0.8}, None),
        ({"step": 2, "new": 0.8}, None),
        ({"step": "2", "old": 0.8, "new": 0.9}, None),
        ({"step": math.nan, "old": 0.8, "new": 0.9}, None),
        ({"step": 2, "old": 0.8, "new": [0.9]}, None),
        ({"step": 2, "old": 0.8, "new": 10**400}, None),
        ({}, None),
    ],
)
def test_changes_of_the_temperature_are_marks(tmp_path, row, label):
    run = write_run(tmp_path / "run", steps=1, groups=1)
    (run / "temperature.jsonl").write_text(json.dumps(row) + "\n")
    marks = list_temperature_marks(read_run_files(run))
    assert marks == ([] if label is None else [Mark(step=2, label=label)])
