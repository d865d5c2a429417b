"""Builds of whole reports: any state of a run, hostile texts, several builds at once."""

import json
import math
import subprocess
import sys
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.records.run_path import RunDirectoryError
from launch.run_report import step_writer
from launch.run_report.build import SCRIPTS, STEP_FIGURES, STYLES, build_report, run_to_json
from launch.run_report.rollout_rows import TYPES
from launch.run_report.run_files import RecordedSettings, read_run_files
from tests.launch.run_report.report_reader import read_all_data, read_data, read_group_texts, read_levels
from tests.launch.run_report.run_factory import HOSTILE_TEXT, OLD_COLUMNS, TEXT_COLUMNS, write_run
from tests.source_tree import ROOT


class Page(HTMLParser):
    """Elements and texts of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.attributes = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attributes]

    def handle_data(self, data):
        self.text += data


def build(run, output=None):
    """Build a report; return its page and the values of its data files, which are strict JSON."""
    report = run / "report" if output is None else output
    index = build_report(run, report)
    return Page(index.read_bytes().decode("utf-8")), read_all_data(report)


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_report_of_a_finished_run(run):
    page, data = build(run)
    assert "learned: pass@1 rose" in page.text and "All texts of all 3 steps" in page.text
    assert set(read_levels(run / "report").values()) == {"all"}
    first = data["front"]["steps"][0]
    assert (first["step"], len(first["figures"])) == (0, len(STEP_FIGURES)) and data["front"]["run"]["name"] == "run"
    texts = read_group_texts(run / "report", 2, 1)
    assert texts["prompt"] == {"head": "Print the sum of two numbers, in version 1."} and len(texts["samples"]) == 4


def test_page_loads_what_is_there(run):
    page, _ = build(run)
    loaded = {value for tag, name, value in page.attributes if name in ("src", "href") and value.startswith("assets/")}
    assert loaded == {f"assets/{name}" for name in (*SCRIPTS, *STYLES, "plotly.min.js")}
    assert all((run / "report" / name).is_file() for name in loaded)


def test_policy_forbids_inline_scripts_and_connections(run):
    page, _ = build(run)
    policy = next(
        value for tag, name, value in page.attributes if tag == "meta" and name == "content" and "default-src" in value
    )
    assert "default-src 'none'" in policy and "script-src 'self' file:;" in policy
    assert not [each for each in page.attributes if each[1].startswith("on")]


@pytest.mark.parametrize("missing", ["rollouts", "evaluation", "metrics.jsonl", "environment.json", "config.yaml"])
def test_run_without_some_files(run, missing):
    path = run / missing
    if path.is_dir():
        for file in sorted(path.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        path.rmdir()
    else:
        path.unlink()
    page, data = build(run)
    assert ("no rollout files" in page.text) == (missing == "rollouts")
    assert ("No verdict yet" in page.text) == (missing == "evaluation") and "groups" in data


def test_run_with_nothing_but_a_configuration(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("run: {name: run, steps: 5}\n")
    page, data = build(tmp_path / "run")
    assert "0 of 5 steps" in page.text and data["front"]["steps"] == [] and set(data) == {"front", "groups"}


def test_run_that_crashed_in_the_middle_of_everything(run):
    for name in ("metrics.jsonl", "temperature.jsonl", "events.jsonl"):
        with open(run / name, "a") as file:
            file.write('{"step": 0}\n{"step": 1, "cut')
    for path in (run / "rollouts" / "step_000002.parquet", run / "evaluation" / "step_000003.parquet"):
        path.write_bytes(path.read_bytes()[:-20])
    page, data = build(run)
    for name in ("metrics.jsonl", "temperature.jsonl", "events.jsonl", "step_000002.parquet", "evaluation/step_000003"):
        assert name in page.text
    assert {step["step"]: step["level"] for step in data["front"]["steps"]} == {0: "all", 1: "all", 2: None}


def test_run_of_an_older_version(tmp_path):
    page, data = build(write_run(tmp_path / "run", columns=OLD_COLUMNS))
    assert "All texts of all 3 steps" in page.text and data["step_000000"]["columns"]["draw"] == {"all": None}
    assert "code" not in data["texts_000000_0"]["groups"][0]["samples"][0]


def test_run_that_was_resumed_from_an_earlier_step(run):
    build(run)
    write_run(
        run.with_name("again"), steps=2, change_row=lambda row: row | {"question_id": f"new/{row['question_id']}"}
    )
    (run / "rollouts" / "step_000002.parquet").unlink()
    (run.with_name("again") / "rollouts" / "step_000001.parquet").replace(run / "rollouts" / "step_000001.parquet")
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:2]))
    _, data = build(run)
    assert [step["step"] for step in data["front"]["steps"]] == [0, 1]
    assert data["step_000001"]["questions"][0].startswith("new/") and "step_000002" not in data


def test_steps_without_rollouts_are_listed(tmp_path):
    _, data = build(write_run(tmp_path / "run", with_rollouts=False))
    assert [(step["step"], step["level"]) for step in data["front"]["steps"]] == [(0, None), (1, None), (2, None)]


def test_nothing_but_the_output_is_written(run, tmp_path):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [run, *run.rglob("*")]}
    build(run, tmp_path / "elsewhere")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [run, *run.rglob("*")]} == before


def test_output_that_cannot_be_written(run):
    (run / "report").write_text("a file in place of the folder")
    with pytest.raises(RunDirectoryError, match="set output=DIR"):
        build_report(run, run / "report")


def test_second_build_changes_nothing_but_the_time(run, monkeypatch):
    build(run)
    files = {path: path.read_bytes() for path in (run / "report").rglob("*") if path.is_file()}
    monkeypatch.setattr(step_writer, "read_groups", lambda path, texts=True: pytest.fail(f"{path} is read again"))
    build(run)
    after = {path: path.read_bytes() for path in (run / "report").rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != files.get(path)} <= {"index.html"}
    assert set(after) == set(files)


def test_hostile_texts_are_escaped_in_the_page_and_whole_in_the_data(tmp_path):
    texts = dict.fromkeys(TEXT_COLUMNS, HOSTILE_TEXT)
    run = write_run(
        tmp_path / "run", steps=2, texts=texts, settings={"dataset.path": HOSTILE_TEXT, "run.name": HOSTILE_TEXT}
    )
    row = dict.fromkeys(
        ("step", "kind", "actor", "cause", "lost", "detail", "old", "new", "rule", "explanation"), HOSTILE_TEXT
    )
    for name in ("events.jsonl", "temperature.jsonl"):
        (run / name).write_text(json.dumps(row) + "\n")
    (run / "environment.json").write_text(json.dumps({HOSTILE_TEXT: HOSTILE_TEXT}))
    page, data = build(run)
    assert page.tags.count("script") == len(SCRIPTS) + 1 and "img" not in page.tags
    assert not [each for each in page.attributes if each[1].startswith("on")]
    assert "alert(1)" in page.text and "{{ 7*7 }}" in page.text
    sample = read_group_texts(run / "report", 1, 0)["samples"][0]
    assert sample["answer"] == {"head": HOSTILE_TEXT} and sample["input"] == HOSTILE_TEXT
    assert set(data["step_000000"]["questions"]) == {HOSTILE_TEXT}


def test_lone_surrogates(tmp_path):
    run = write_run(tmp_path / "run", steps=1)
    (run / "environment.json").write_text('{"name": "\\ud800</script>"}')
    (run / "events.jsonl").write_text('{"step": 0, "cause": "\\udfff<b>"}\n')
    page, _ = build(run)
    assert "\\ud800</script>" in page.text and "b" not in page.tags


BUILD = """
import pathlib, sys
from launch.run_report.build import build_report
sys.stdin.readline()
build_report(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1], "report"))
"""


@pytest.mark.heavy
def test_two_builds_at_once(tmp_path):
    run = write_run(tmp_path / "run", steps=30, groups=8)
    command = [sys.executable, "-c", BUILD, str(run)]
    builds = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) for _ in range(2)]
    for each in builds:
        each.stdin.write(b"start\n")
        each.stdin.flush()
    assert [each.wait(120) for each in builds] == [0, 0]
    for each in builds:
        each.stdin.close()
    assert set(read_levels(run / "report").values()) == {"all"} and len(read_all_data(run / "report")) == 2 + 3 * 30
    assert not list((run / "report").rglob("*.unfinished"))


def test_settings_for_the_pages(run):
    values = {
        "generator": {"max_response_tokens": math.nan},
        "algorithm": {"truncation_mask": [1], "repeat_window": 128},
    }
    (run / "config.yaml").write_text(json.dumps(values))
    assert run_to_json(read_run_files(run)) == {
        "name": "run",
        "mask": None,
        "conditions": [
            "the response reached the length limit",
            "the response is incomplete, or the program is correct",
            "the last 128 tokens do not repeat those before them",
            "the draw {draw} is below the mask probability",
        ],
    }
    assert RecordedSettings(values).get("algorithm.repeat_window") == 128


METRICS = (
    *("critic/rewards/mean", "timing_s/step", "timing_s/gen", "actor/entropy", "group/all_solved", "group/lost"),
    *("evaluator/status/sandbox_error", "generator/restarts", "mismatch/kl", "truncation/rate", "response_length/mean"),
    *("actor/grad_norm", "temperature/value", "perf/memory/driver_gib", "group/trained", "diversity/distinct_4"),
)
KEYS = ("run.steps", "run.name", "generator.max_response_tokens", "evaluation.temperature", "model.path", "evaluator")
VALUES = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just([1]) | st.just({"a": None})
)
COLUMN = st.one_of(
    *(
        st.lists(st.none() | each, min_size=4, max_size=4)
        for each in (
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
            st.floats(),
            st.integers(-(2**63), 2**63 - 1),
            st.booleans(),
            st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
            st.lists(st.floats(), max_size=3),
        )
    )
)


@settings(max_examples=2 * settings.default.max_examples)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(METRICS), VALUES, max_size=6), max_size=8),
    config=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
    lines=st.lists(
        st.dictionaries(st.sampled_from(["step", "old", "new", "rule", "kind", "lost"]), VALUES), max_size=2
    ),
    columns=st.lists(st.dictionaries(st.sampled_from([*TYPES]), COLUMN, max_size=6), max_size=2),
)
def test_any_run_has_a_report(tmp_path_factory, rows, config, lines, columns):
    path = tmp_path_factory.mktemp("runs") / "run"
    (path / "rollouts").mkdir(parents=True)
    values = {}
    for key, value in config.items():
        section, _, name = key.partition(".")
        values[section] = {**(values.get(section) or {}), name: value} if name else value
    (path / "config.yaml").write_text(json.dumps(values))
    metrics = [{"step": step, **row} for step, row in enumerate(rows)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics) + '{"step": 99, "cut')
    for name in ("temperature.jsonl", "events.jsonl"):
        (path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step, table in enumerate(columns):
        content = pa.table({"step": [step] * 4, **table})
        pq.write_table(content, path / "rollouts" / f"step_{step:06d}.parquet")
    _, data = build(path)
    assert {step["step"] for step in data["front"]["steps"]} >= set(range(len(columns)))
    assert read_data(path / "report", "groups")["levels"].keys() == {str(step) for step in range(len(columns))}
