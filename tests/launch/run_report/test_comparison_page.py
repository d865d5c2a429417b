"""Pages that compare runs, in any state."""

import re

import pytest

from launch.records.run_path import RunDirectoryError
from launch.run_report.comparison_page import build_comparison
from tests.launch.run_report.report_reader import read_data
from tests.launch.run_report.run_factory import HOSTILE_TEXT, write_run


def build(tmp_path, *runs):
    index = build_comparison(runs, tmp_path / "comparison")
    return index.read_text(), read_data(tmp_path / "comparison", "front")


def test_settings_and_their_seeds(tmp_path):
    runs = [
        write_run(
            tmp_path / f"{name}-seed{seed}", settings={"run.seed": seed, "algorithm.mask_probability": probability}
        )
        for name, probability in (("low", 0.1), ("high", 0.9))
        for seed in (1, 2)
    ]
    html, front = build(tmp_path, *runs)
    assert "low-seed1 (finished), low-seed2 (finished)" in html and "algorithm.mask_probability=0.9" in html
    ids = [chart["id"] for chart in front["charts"]]
    assert ids[:5] == ["pass_at_1-0", "pass_at_k-0", "pass_at_1-1", "pass_at_k-1", "critic-rewards-mean"]
    assert front["charts"][1]["title"].startswith("Held-out pass@4 at T 1")
    assert front["charts"][1]["series"][0]["y"] == [1.0, 1.0]
    assert [series["name"] for series in front["charts"][0]["series"]] == [
        "algorithm.mask_probability=0.1",
        "algorithm.mask_probability=0.9",
    ]
    assert front["charts"][0]["series"][0]["y"] == [0.25, 0.75]


def test_runs_in_any_state(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.yaml").write_text("{}")
    odd = write_run(tmp_path / "odd", with_evaluations=False, with_rollouts=False)
    (odd / "config.yaml").write_text("[1]")
    (odd / "metrics.jsonl").write_text('{"step": 0, "critic/rewards/mean": NaN, "actor/entropy": Infinity}\n{"step"')
    html, front = build(tmp_path, empty, write_run(tmp_path / "good"), odd, tmp_path / "missing")
    assert all(name in html for name in ("empty", "good", "odd", "missing")) and front["charts"]
    _, front = build(tmp_path, empty)
    assert front == {"charts": [], "steps": []}


def test_hostile_settings_are_escaped(tmp_path):
    runs = [
        write_run(tmp_path / name, settings={"dataset.path": text}) for name, text in (("a", HOSTILE_TEXT), ("b", "x"))
    ]
    html, front = build(tmp_path, *runs)
    assert "<img" not in html and "<script>alert" not in html and "&lt;script&gt;alert" in html
    assert front["charts"]


def test_output_that_is_a_file(tmp_path):
    (tmp_path / "comparison").write_text("")
    with pytest.raises(RunDirectoryError, match="cannot be written to"):
        build(tmp_path, write_run(tmp_path / "run"))


def read_score_rows(html):
    table = html[html.index('<table id="differences">') :].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in table.split("<tr>")]
    return [(row[0], row[2], row[3], row[5], row[6], row[7]) for row in rows if row]


def write_two_runs(tmp_path, first_steps, second_steps):
    return [
        write_run(tmp_path / name, steps=steps, settings={"algorithm.mask_probability": probability})
        for name, steps, probability in (("a", first_steps, 0.1), ("b", second_steps, 0.9))
    ]


def test_last_evaluation_of_a_setting_is_a_row_without_a_difference(tmp_path):
    html, _ = build(tmp_path, *write_two_runs(tmp_path, 2, 3))
    rows = [row for row in read_score_rows(html) if row[0] == "1"]
    assert [row[1:4] for row in rows] == [
        ("0", "compared", "1"),
        ("0", "compared", "1"),
        ("2", "own last", "1"),
        ("3", "own last", "1"),
    ]
    assert rows[1][5].startswith("+0.000 [") and [row[5] for row in rows[2:]] == ["—", "—"]
    assert {row[4] for row in rows[2:]} == {"0.750 [0.750, 0.750]"}


def test_settings_without_a_common_step_have_rows(tmp_path):
    runs = write_two_runs(tmp_path, 2, 3)
    for path in runs[1].rglob("evaluation/**/step_000000.parquet"):
        path.unlink()
    html, _ = build(tmp_path, *runs)
    assert [row[1:3] for row in read_score_rows(html)] == [("2", "own last"), ("3", "own last")] * 2
    assert "there is no number of steps after which all runs were evaluated" in html
