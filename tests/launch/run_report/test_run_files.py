"""Reading of run directories in any state."""

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from launch.run_report.run_files import RecordedSettings, convert_to_number, find_tokenizer, read_run_files
from tests.launch.run_report.run_factory import make_older, write_answers, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def cut_last_line(path, lines):
    """Write JSON lines of which the last one is cut in the middle."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text[:-6])


def test_all_files_of_a_finished_run(run):
    (run / "temperature.jsonl").write_text('{"step": 1, "new": 0.9}\n')
    (run / "events.jsonl").write_text('{"step": 1, "kind": "restart"}\n')
    (run / "checkpoints").mkdir()
    best = {"step": 2, "metric": "m", "value": 0.5}
    (run / "checkpoints" / "best.json").write_text(json.dumps(best))
    files = read_run_files(run)
    assert (files.name, files.state, files.notes) == ("run", "finished", ())
    assert files.config.get("run.steps") == 3 and files.environment.get("python") == "3.11"
    assert [row["step"] for row in files.rows] == [0, 1, 2, 3] and len(files.training_rows) == 3
    assert [file.step for file in files.rollouts] == [0, 1, 2]
    assert {temperature: [file.step for file in each] for temperature, each in files.evaluations.items()} == {
        1.0: [0, 3],
        0.3: [0, 3],
    }
    assert files.decisions == ({"step": 1, "new": 0.9},) and files.events == ({"step": 1, "kind": "restart"},)
    assert (files.best.step, files.best.value) == (2, 0.5)


def test_run_directory_with_nothing_but_a_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text("run: {name: r, steps: 3}\n")
    files = read_run_files(tmp_path)
    assert (files.state, files.rows, files.rollouts, dict(files.evaluations)) == ("running", (), (), {})
    assert files.best is None and files.notes == ()


def test_missing_directory(tmp_path):
    files = read_run_files(tmp_path / "none")
    assert (files.state, files.rows, files.config.values) == ("stopped", (), {})


@pytest.mark.parametrize("name", ["metrics.jsonl", "temperature.jsonl", "events.jsonl"])
def test_line_cut_by_a_crash_is_left_out_and_noted(run, name):
    cut_last_line(run / name, [{"step": 0}, {"step": 1}])
    files = read_run_files(run)
    rows = {"metrics.jsonl": files.rows, "temperature.jsonl": files.decisions, "events.jsonl": files.events}[name]
    assert rows == ({"step": 0},)
    assert files.notes == (f"{name}: 1 of 2 lines are incomplete and left out",)


@pytest.mark.parametrize(
    "line", ["[1]", "null", "7", '"text"', "\x00\x00", "{" * 50, "[" * 100_000, "9" * 5000], ids=lambda line: line[:5]
)
def test_line_without_an_object_is_left_out(run, line):
    (run / "events.jsonl").write_text(f'{line}\n{{"step": 1}}\n')
    assert read_run_files(run).events == ({"step": 1},)


def test_metrics_keep_numbers_only_and_the_last_row_of_a_step(run):
    values = {"step": 1, "text": "a", "list": [1], "null": None, "flag": True, "nan": math.nan, "huge": 10**400}
    lines = [{"step": 2}, values, {"step": 1, "x": 1, "nan": math.nan}, {"step": "3"}, {"step": math.nan}, {"x": 1}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, last = read_run_files(run).rows
    assert list(first) == ["step", "x", "nan"] and math.isnan(first["nan"]) and last == {"step": 2}


def test_number_of_a_setting():
    values = {"a": 1, "b": True, "c": "1", "d": math.inf, "e": 10**400, "f": {"g": 0.5}}
    settings = RecordedSettings(values)
    assert [settings.get_number(key) for key in "abcdef"] == [1.0, None, None, None, None, None]
    assert settings.get_number("f.g") == 0.5
    assert settings.get("f.g.h") is None and settings.get("missing.key") is None
    assert convert_to_number(math.inf) == math.inf


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "text",
        "",
        "null",
        "a: [1",
        "\x00",
        "a: &a [*a]",
        "? [1, 2]\n: 3",
        "[" * 5000,
        "a: &b {c: *b}",
        "a: *x",
    ],
)
def test_configuration_of_another_kind_is_empty(run, text):
    (run / "config.yaml").write_text(text)
    files = read_run_files(run)
    assert files.config.values == {} and files.state in ("running", "stopped")


def test_configuration_is_read_as_json_values(run):
    (run / "config.yaml").write_text("day: 2026-01-02\n1: one\nnested: {2: [2026-01-02]}\nnot: .nan\n")
    config = read_run_files(run).config
    assert config.get("day") == "2026-01-02" and config.get("1") == "one" and config.get("nested.2") == ["2026-01-02"]
    assert set(config.flatten()) == {"day", "1", "nested.2", "not"}


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "environment.json", "events.jsonl"])
def test_folder_in_place_of_a_file_is_noted(run, name):
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    assert any(note.startswith(f"{name} cannot be read") for note in read_run_files(run).notes)


@pytest.mark.parametrize("name", ["rollouts", "evaluation", "checkpoints"])
def test_file_in_place_of_a_folder_is_empty(tmp_path, name):
    (tmp_path / "config.yaml").write_text("run: {steps: 1}\n")
    (tmp_path / name).write_text("")
    files = read_run_files(tmp_path)
    assert (files.rollouts, dict(files.evaluations), files.best) == ((), {}, None)


def test_only_step_files_are_listed(run):
    folder = run / "rollouts"
    for name in ("step_000009.unfinished", "step_x.parquet", "step_.parquet", "other.parquet"):
        (folder / name).write_text("")
    (folder / "step_000008.parquet").symlink_to(folder / "missing")  # as if deleted after it was listed
    (folder / "step_10.parquet").write_text("")
    assert [file.step for file in read_run_files(run).rollouts] == [0, 1, 2, 10]


def test_stamp_changes_when_a_file_is_written_again(run):
    before = read_run_files(run).rollouts[1]
    make_older(run, 5)
    assert read_run_files(run).rollouts[1].stamp != before.stamp


def test_evaluations_at_other_temperatures(run):
    for name in ("Tx", "Tnan", "Tinf", "T1", "T2"):
        (run / "evaluation" / name).mkdir()
        write_answers(run / "evaluation" / name / "step_000001.parquet")
    evaluations = read_run_files(run).evaluations
    assert list(evaluations) == [1.0, 0.3, 2.0]
    assert [file.step for file in evaluations[1.0]] == [0, 3]  # not those of the folder T1


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"step": "1", "metric": "m", "value": 1}', "null", "[" * 100_000])
def test_damaged_best_checkpoint(run, text):
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "best.json").write_text(text)
    assert read_run_files(run).best is None


def test_state_of_a_run(tmp_path):
    young = write_run(tmp_path / "young", planned_steps=9)
    old = write_run(tmp_path / "old", planned_steps=9, seconds_ago=5000)
    done = write_run(tmp_path / "done", seconds_ago=5000)
    assert [read_run_files(path).state for path in (young, old, done)] == ["running", "stopped", "finished"]
    assert read_run_files(young, now=lambda: young.stat().st_mtime + 5000).state == "stopped"


def test_run_is_finished_by_its_last_checkpoint(tmp_path):
    run = write_run(tmp_path / "run", planned_steps=9, seconds_ago=5000)
    (run / "checkpoints" / "step_000009").mkdir(parents=True)
    assert read_run_files(run).state == "finished"


def test_run_with_long_steps_is_silent_for_longer(tmp_path):
    run = write_run(tmp_path / "run", planned_steps=9, seconds_ago=3000)
    lines = [{"step": step, "timing_s/step": 1000.0} for step in range(3)] + [{"step": 3, "timing_s/step": math.nan}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    make_older(run / "metrics.jsonl", 3000)
    assert read_run_files(run).state == "running"


@pytest.mark.parametrize("steps", ["9", [9], None, math.nan, math.inf, 1e300, -1, True])
def test_number_of_steps_of_another_type(run, steps):
    (run / "config.yaml").write_text(yaml.safe_dump({"run": {"steps": steps}}))
    assert read_run_files(run).state in ("running", "finished")


@pytest.mark.parametrize("model", ["", "org/name", None, 7, ["a"], "\x00", "x" * 5000, "~/\ud800"])
def test_model_path_of_any_kind_has_no_tokenizer(run, model):
    (run / "config.yaml").write_text(json.dumps({"model": {"path": model}}))
    assert find_tokenizer(read_run_files(run)) is None


def test_tokenizer_of_the_newest_checkpoint_or_of_the_model(run, tmp_path):
    (tmp_path / "model").mkdir()
    (run / "config.yaml").write_text(json.dumps({"model": {"path": str(tmp_path / "model")}}))
    assert find_tokenizer(read_run_files(run)) is None
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    assert find_tokenizer(read_run_files(run)) == tmp_path / "model" / "tokenizer.json"
    for step in (1, 2):
        (run / "checkpoints" / f"step_{step:06d}").mkdir(parents=True)
        (run / "checkpoints" / f"step_{step:06d}" / "tokenizer.json").write_text("{}")
    assert find_tokenizer(read_run_files(run)) == run / "checkpoints" / "step_000002" / "tokenizer.json"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


@given(
    config=JSON,
    rows=st.lists(st.dictionaries(st.sampled_from(["step", "timing_s/step", "x"]), JSON) | JSON, max_size=4),
    tail=st.binary(max_size=20),
)
def test_any_content_is_read(tmp_path_factory, config, rows, tail):
    path = tmp_path_factory.mktemp("run")
    (path / "config.yaml").write_text(json.dumps(config))
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode() + tail
    for name in ("metrics.jsonl", "temperature.jsonl", "events.jsonl"):
        (path / name).write_bytes(lines)
    files = read_run_files(path)
    files.config.flatten()
    assert all(isinstance(value, float) for row in files.rows for value in row.values())
    assert all(math.isfinite(row["step"]) for row in files.rows)
