"""Pages that compare runs, in any state."""

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
    assert ids[:3] == ["pass_at_1-0", "pass_at_1-1", "critic-rewards-mean"]
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
