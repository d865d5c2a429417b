"""Rendered views: untrusted text changes nothing on a terminal, unknown values are dashes, and JSON is JSON."""

import dataclasses
import io
import json
import math
import re
from typing import Any

import pytest
import yaml
from rich.console import Console

from evaluator.errors import UserError
from launch.run_report.health import Finding
from launch.run_report.rollout_rows import RolloutRow
from launch.run_report.run_files import RecordedSettings, read_run_files
from launch.run_report.text_views.formatting import ABSENT, format_counts, format_number, format_share
from launch.run_report.text_views.health import HealthView
from launch.run_report.text_views.items import parse_items
from launch.run_report.text_views.json_output import dump_views, to_json
from launch.run_report.text_views.sample import SampleView, describe_completion
from launch.run_report.text_views.step import make_step
from tests.launch.run_report.run_factory import HOSTILE_TEXT, OLD_COLUMNS, TEXT_COLUMNS, make_settings, write_run

ITEMS = ("summary", "health", "slow", "step:1")
SURROGATE = "a\ud800b"
ALLOWED_CONTROLS = {"\n"}


def render(view, width=80, terminal=False):
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None, highlight=False
    )
    console.print(view.render())
    return file.getvalue()


def make_views(path, *items):
    run = read_run_files(path)
    return {item.text: item.make(run) for item in parse_items(items)}


def find_controls(text):
    """Return the characters that can change what a terminal shows."""
    return {char for char in text if not char.isprintable()} - ALLOWED_CONTROLS


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_hostile_text_in_a_column_is_shown_as_text(tmp_path, column):
    path = write_run(tmp_path / "run", steps=2, texts={column: HOSTILE_TEXT})
    question_id = HOSTILE_TEXT if column == "question_id" else "starter/family_2/0000"
    problem = f"problem:{question_id}"
    sample = f"sample:1/{question_id}/1"
    views = make_views(path, *ITEMS, problem, sample)
    texts = {item: render(view) for item, view in views.items()}
    assert not set().union(*map(find_controls, texts.values()))
    shown = re.sub(r"\s", "", texts[sample])
    assert "\\x1b[31mred\\x1b[2J" in shown and "[bold]bold[/bold]" in shown and ":smile:" in shown
    assert all(len(line) <= 80 for text in texts.values() for line in text.splitlines())
    assert json.loads(dump_views(views)) and dump_views(views).isascii() and not find_controls(dump_views(views))


def test_hostile_configuration_and_run_name_are_shown_as_text(tmp_path):
    hostile = f"{HOSTILE_TEXT}{SURROGATE}".replace("/", "|").replace("\x00", "")
    changes = {
        "model.path": hostile,
        "dataset.name": [hostile],
        "dataset.path": {hostile: hostile},
        "algorithm.truncation_mask": hostile,
        "algorithm.mask_probability": hostile,
        "temperature.kind": hostile,
        "run.seed": float("inf"),
    }
    path = write_run(tmp_path / "a\x1b[2J[bold]\nb", steps=2, with_evaluations=False)
    (path / "config.yaml").write_text(yaml.safe_dump(make_settings({"run.steps": 2} | changes)))
    (path / "checkpoints").mkdir()
    best = {"step": hostile, "metric": hostile, "value": hostile}
    (path / "checkpoints" / "best.json").write_text(json.dumps(best))
    views = make_views(path, *ITEMS, "problem:starter/family_2/0000", "sample:1/starter/family_2/0000/1")
    for view in views.values():
        text = render(view)
        assert not find_controls(text) and "\\x1b[2J[bold]" in text
        text.encode()
    summary = json.loads(dump_views(views))["summary"]
    assert summary["settings"]["model.path"] == hostile and summary["settings"]["run.seed"] is None


def test_run_directory_whose_name_is_not_utf8_can_be_summarised(tmp_path):
    path = write_run(tmp_path / "run", steps=1).rename(tmp_path / "run\udcff")
    views = make_views(path, "summary", "health", "slow")
    assert all("run\\udcff" in render(view) and not find_controls(render(view)) for view in views.values())
    assert len(views["slow"].notes) == 1
    with pytest.raises(UserError, match=r"step 0: .*surrogates not allowed"):
        make_views(path, "step:0")


def test_surrogates_in_a_completion_are_escaped():
    values: Any = dict.fromkeys(TEXT_COLUMNS, HOSTILE_TEXT + SURROGATE)
    completion = describe_completion(0, RolloutRow(**values), RecordedSettings({}))
    view = SampleView(name=SURROGATE, step=0, question_id=SURROGATE, sample_index=0, completions=(completion,))
    text = render(view)
    text.encode()
    assert not find_controls(text) and "a\\ud800b" in text
    assert json.loads(dump_views({"sample": view}))["sample"]["question_id"] == SURROGATE


def test_hostile_finding_is_shown_as_text():
    finding = Finding(
        rule=HOSTILE_TEXT, severity="problem", step=1, text=HOSTILE_TEXT, advice=HOSTILE_TEXT, metric=HOSTILE_TEXT
    )
    view = HealthView(name="run", steps=1, findings=(finding,), notes=(HOSTILE_TEXT,))
    assert not find_controls(render(view))
    assert "[bold]bold[/bold]" in re.sub(r"\n *", "", render(view))


def test_text_of_a_program_is_indented_on_every_line(tmp_path):
    """So that a program cannot print what looks like a part of the view."""
    imitation = "x\n\nverdict\n  status  passed\n" + "y" * 200 + "\n\r\nreward\n\ttab"
    path = write_run(tmp_path / "run", steps=1, texts={"response": imitation, "failed_actual": imitation})
    text = render(make_views(path, "sample:0/starter/family_2/0000/1")["sample:0/starter/family_2/0000/1"])
    headings = [line.strip() for line in text.splitlines() if line and not line.startswith(" ")]
    assert headings.count("verdict") == 1 and headings.count("reward") == 1
    assert all(line.startswith("  ") for line in text.splitlines() if "yyy" in line)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(tmp_path, width):
    path = write_run(tmp_path / "run", steps=2, texts={"question_id": "problem" * 30, "code": "x" * 500})
    views = make_views(path, *ITEMS, f"sample:1/{'problem' * 30}/1", f"problem:{'problem' * 30}")
    for view in views.values():
        assert max(map(len, render(view, width).splitlines())) <= width


def test_summary_shows_the_intervals_of_the_verdict(tmp_path):
    text = render(make_views(write_run(tmp_path / "run"), "summary")["summary"])
    assert "learned: pass@1 rose" in text and "after 0 and after 3 steps" in text
    assert "trained - untrained at its best, T 1  +0.500 [+0.500, +0.500]" in text
    assert re.search("problems +T +pass@1 +pass@4", text)
    assert re.search("trained +1 +0.250 → 0.750 +1.000 → 1.000", text)


def test_colour_only_on_a_terminal(tmp_path):
    view = make_views(write_run(tmp_path / "run", steps=1), "step:0")["step:0"]
    assert "\x1b[1" in render(view, terminal=True) and "\x1b" not in render(view)


def test_unknown_values_are_dashes_in_text_and_null_in_json(tmp_path):
    path = write_run(tmp_path / "run", steps=2, columns=OLD_COLUMNS, with_evaluations=False)
    sample = "sample:1/starter/family_1/0000/3"
    views = make_views(path, "summary", sample)
    text = render(views[sample])
    assert f"advantage before the mask  {ABSENT}" in text and f"trained on                 {ABSENT}" in text
    assert "log-probs, learner - sampler  unknown" in text
    values = json.loads(dump_views(views))
    completion = values[sample]["completions"][0]
    assert completion["unmasked_advantage"] is None and completion["logprobs"] is None and completion["code"] is None
    assert values["summary"]["verdict"] is None and values["summary"]["best_checkpoint"] is None
    assert values["summary"]["figures"]["diversity/distinct_4"] is None


def test_numbers_that_are_not_finite_are_null_and_dashes(tmp_path):
    def change(row):
        return {**row, "reward": math.nan, "temperature": math.inf, "mask_draw": math.nan}

    path = write_run(tmp_path / "run", steps=2, change_row=change, with_evaluations=False)
    sample = "sample:1/starter/family_1/0000/3"
    views = make_views(path, *ITEMS, sample)
    values = json.loads(dump_views(views), parse_constant=pytest.fail)
    assert values[sample]["completions"][0]["reward"] is None
    assert values["step:1"]["mean_reward"] is None
    assert f"reward                     {ABSENT}" in render(views[sample])
    assert "nan" not in render(views["step:1"])


def test_json_has_every_field_of_a_view(tmp_path):
    run = read_run_files(write_run(tmp_path / "run", steps=1))
    view = make_step(run, 0)
    values = json.loads(dump_views({"step:0": view}))["step:0"]
    assert values.keys() == {field.name for field in dataclasses.fields(view)}
    assert values["groups"][0]["statuses"] == view.groups[0].statuses


def test_to_json_converts_what_yaml_can_contain():
    text = "a: 2026-01-31\nb: !!set {x}\nc: .nan\nd: {1: [.inf, true]}\ne: !!binary aGk=\n"
    values = to_json(yaml.safe_load(text))
    assert values == {"a": "2026-01-31", "b": ["x"], "c": None, "d": {"1": [None, True]}, "e": "b'hi'"}


def test_numbers_are_short_and_keep_what_is_small():
    assert [format_number(value) for value in (None, math.nan, 0.0, 1.23456, 1e-7, -2.0)] == [
        *(ABSENT, ABSENT, "0.000", "1.235", "1.00e-07", "-2.000")
    ]
    assert format_number(1e12, 0) == "1.00e+12"
    assert (format_share(None), format_share(math.nan), format_share(0.125)) == (ABSENT, ABSENT, "12.5%")
    assert format_counts({"a": 1, "b": 2}) == "b 2, a 1" and format_counts({}) == ABSENT
