"""Charts of the front page."""

import json

import pytest

from launch.run_report.charts import chart_to_json
from launch.run_report.evaluations import read_evaluations
from launch.run_report.front_charts import make_front_charts
from launch.run_report.run_files import read_run_files
from tests.launch.run_report.run_factory import write_run


def make_charts(run):
    files = read_run_files(run)
    return {chart.id: chart for chart in make_front_charts(files, read_evaluations(files))}


def test_charts_of_a_run(tmp_path):
    charts = make_charts(write_run(tmp_path / "run", steps=5))
    expected = ("pass_at_1", "pass_at_k", "reward", "groups", "diversity", "length", "truncation", "entropy", "clips")
    assert tuple(charts)[: len(expected)] == expected
    assert {"mismatch", "gradient", "time", "throughput"} <= set(charts)
    for chart in charts.values():
        assert not chart.is_empty and chart.title and chart.caption
        json.dumps(chart_to_json(chart), allow_nan=False)


def test_charts_without_data_are_left_out(tmp_path):
    run = write_run(tmp_path / "run", with_evaluations=False)
    (run / "metrics.jsonl").write_text('{"step": 0, "critic/rewards/mean": 0.5}\n')
    assert list(make_charts(run)) == ["reward"]
    (run / "metrics.jsonl").write_text('{"step": 0, "actor/entropy": 0.5}\n')  # no row of a training step
    assert make_charts(run) == {}


def test_length_limit_is_a_line(tmp_path):
    settings = {"generator.max_response_tokens": 300}
    length = make_charts(write_run(tmp_path / "run", steps=5, settings=settings))["length"]
    assert (
        length.series[-1].name == "limit"
        and list(length.series[-1].x) == [0, 4]
        and list(length.series[-1].y) == [300, 300]
    )
    other = make_charts(write_run(tmp_path / "other", settings={"generator.max_response_tokens": "many"}))["length"]
    assert [series.name for series in other.series] == ["mean", "longest"]


def test_time_of_a_step_is_stacked(tmp_path):
    run = write_run(tmp_path / "run", with_evaluations=False)
    row = {"step": 0, "critic/rewards/mean": 0.5, "timing_s/step": 10.0, "timing_s/gen": 6.0, "timing_s/reward": 3.0}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    time = make_charts(run)["time"]
    assert {series.kind for series in time.series} == {"area"}
    assert sum(series.y[0] for series in time.series) == 10.0
    assert {series.name: series.y[0] for series in time.series}["generation"] == 6.0


def write_metrics(run, rows):
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def test_step_whose_time_is_unknown_is_a_gap(tmp_path):
    run = write_run(tmp_path / "run", with_evaluations=False)
    rows = [
        {"step": 0, "critic/rewards/mean": 0.5, "timing_s/step": 10.0, "timing_s/gen": 6.0},
        {"step": 1, "critic/rewards/mean": 0.5, "timing_s/gen": 6.0},
        {"step": 2, "critic/rewards/mean": 0.5, "timing_s/step": 8.0},
    ]
    seconds = {series.name: series.y for series in make_charts(write_metrics(run, rows))["time"].series}
    assert seconds == {"generation": [6.0, None, 0.0], "unaccounted": [4.0, None, 8.0]}


@pytest.mark.parametrize(
    ("shaped", "names"),
    [
        ([0.5, 0.25], ["reward"]),
        ([0.5, 0.2], ["reward", "shaped reward"]),
    ],
)
def test_shaped_reward_is_a_line_where_it_differs(tmp_path, shaped, names):
    run = write_run(tmp_path / "run", with_evaluations=False)
    rows = [
        {"step": step, "critic/rewards/mean": reward, "critic/shaped_rewards/mean": other}
        for step, (reward, other) in enumerate(zip([0.5, 0.25], shaped, strict=True))
    ]
    chart = make_charts(write_metrics(run, rows))["reward"]
    assert [series.name for series in chart.series] == names
