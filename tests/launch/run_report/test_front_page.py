"""Content of the front page in words and numbers."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from launch.run_report.evaluations import read_evaluations
from launch.run_report.front_page import (
    ABSENT,
    CELL_CHARACTERS,
    SHOWN_EVALUATIONS,
    SHOWN_NOTES,
    SHOWN_ROWS,
    describe_progress,
    describe_texts,
    make_front_page,
    make_tiles,
)
from launch.run_report.health import Finding
from launch.run_report.report_folder import ReportFolder
from launch.run_report.run_files import read_run_files
from launch.run_report.step_records import SHOWN_SLOWEST
from launch.run_report.step_writer import write_step_pages
from launch.run_report.text_views.slow import make_slow
from tests.launch.run_report.run_factory import OLD_COLUMNS, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", steps=4)


def make_page(run, records=(), notes=()):
    files = read_run_files(run)
    return make_front_page(files, read_evaluations(files), charts=(), findings=(), records=records, notes=notes)


def write_records(run):
    return write_step_pages(read_run_files(run), ReportFolder(run.with_name("report"))).records


def test_page_of_a_finished_run(run):
    page = make_page(run, write_records(run), ("a note",))
    assert (page.name, page.state, page.progress) == ("run", "finished", "4 of 4 steps")
    assert page.verdict.startswith("learned")
    assert page.subject == "held-out problems “trained”: policy after 4 steps against 0"
    assert [(gain.part, gain.temperature, gain.pass_at_1) for gain in page.gains] == [
        ("trained", "1", "0.250 → 0.750"),
        ("trained", "0.3", "0.250 → 0.750"),
    ]
    assert [(row.step, row.pass_at_1) for row in page.evaluations][::2] == [
        (0, "0.250 [0.250, 0.250]"),
        (4, "0.750 [0.750, 0.750]"),
    ]
    assert page.texts == "All texts of all 4 steps are in this report." and page.notes == ("a note",)
    assert page.config["run.steps"] == "4" and page.environment["python"] == '"3.11"'


def test_page_of_an_empty_run(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    page = make_page(tmp_path)
    assert (page.verdict, page.subject, page.gains, page.progress) == (None, "", (), "0 steps")
    assert {tile.value for tile in page.tiles} == {ABSENT}
    assert page.texts == "This run has no rollout files, so there are no texts."


def test_slowest_completions_of_all_steps(run):
    page = make_page(run, write_records(run))
    for rows, name in ((page.slow_programs, "evaluation_seconds"), (page.slow_generations, "generation_seconds")):
        seconds = [getattr(row, name) for row in rows]
        assert len(rows) == SHOWN_SLOWEST and seconds == sorted(seconds, reverse=True)
    assert page.slow_generations[0].step == 3


def make_one_step_slow(row):
    return {**row, "evaluation_seconds": 100.0 + row["sample_index"]} if row["step"] == 2 else row


def test_slowest_completions_may_all_be_of_one_step(tmp_path):
    run = write_run(tmp_path / "run", steps=4, groups=1, samples=12, change_row=make_one_step_slow)
    page = make_page(run, write_records(run))
    assert [row.evaluation_seconds for row in page.slow_programs] == [100 + sample for sample in range(11, 1, -1)]


def test_slowest_problems_agree_with_the_text_view(run):
    page = make_page(run, write_records(run))
    expected = make_slow(read_run_files(run)).problems
    assert [(row.question_id, row.programs) for row in page.slow_problems] == [
        (problem.question_id, problem.programs) for problem in expected
    ]
    assert [float(row.total_seconds) for row in page.slow_problems] == [
        pytest.approx(problem.total_seconds, abs=0.06) for problem in expected
    ]
    first = page.slow_problems[0]
    assert first.link == "#/problem/" + first.question_id.replace("/", "%2F")
    assert first.longest_seconds == f"{expected[0].longest_seconds:.2f}"


def test_no_problem_is_slow_without_times(tmp_path):
    run = write_run(tmp_path / "run", columns=OLD_COLUMNS)
    page = make_page(run, write_records(run))
    assert page.slow_problems == page.slow_programs == page.slow_generations == ()


def test_tables_of_decisions_and_events_have_every_key(run):
    (run / "temperature.jsonl").write_text('{"step": 1, "new": 0.9, "old": null}\n{"items": [1]}\n')
    (run / "events.jsonl").write_text("".join(json.dumps({"step": step, "lost": [1]}) + "\n" for step in range(300)))
    page = make_page(run)
    assert page.decisions == (
        {"step": "1", "old": ABSENT, "new": "0.9", "rule": ABSENT, "explanation": ABSENT},
        dict.fromkeys(("step", "old", "new", "rule", "explanation"), ABSENT),
    )
    assert len(page.events) == SHOWN_ROWS and page.events[-1]["step"] == "299" and page.events[-1]["lost"] == "[1]"


def test_texts_that_a_report_contains(run):
    first, second, *rest = write_records(run)
    records = [replace(first, level="signal"), replace(second, level="none"), *rest]
    assert describe_texts(records) == (
        "Of 4 steps: all texts of 2, texts of the groups with signal of 1, figures only of 1."
    )


def test_tiles_compare_the_last_step_with_the_first():
    tiles = make_tiles([{"step": 0, "critic/rewards/mean": 0.25}, {"step": 1, "critic/rewards/mean": float("nan")}])
    assert (tiles[0].label, tiles[0].value, tiles[0].remark) == ("reward", "nan", "at first 0.250")
    assert (tiles[1].value, tiles[1].remark) == (ABSENT, f"at first {ABSENT}")
    assert make_tiles([{"step": 0}])[0].remark == ""


def test_progress_without_a_planned_number_of_steps(tmp_path):
    run = write_run(tmp_path / "run", settings={"run.steps": "many"})
    assert describe_progress(read_run_files(run)) == "3 steps"


def test_long_cells_and_many_notes_are_shortened(tmp_path):
    run = write_run(tmp_path / "run", steps=2, settings={"model.path": "m" * 5000})
    event = json.dumps({"step": 1, "detail": "d" * 200_000, "cause": "c" * CELL_CHARACTERS})
    (run / "events.jsonl").write_text(f"{event}\n" * 3)
    page = make_page(run, notes=["n" * 3000, *map(str, range(SHOWN_NOTES + 6))])
    assert page.events[0]["detail"] == "d" * CELL_CHARACTERS + "… 198000 more characters"
    assert page.events[0]["cause"] == "c" * CELL_CHARACTERS
    assert page.config["model.path"].endswith("m… 3002 more characters")  # with its quotes
    assert page.notes[0].endswith("n… 1000 more characters")
    assert len(page.notes) == SHOWN_NOTES + 1 and page.notes[-1] == "and 7 more"


def test_findings_are_shortened(run):
    files = read_run_files(run)
    finding = Finding(rule="r", severity="problem", step=0, text="t" * 2001, advice="a" * 3000, metric="m")
    page = make_front_page(files, read_evaluations(files), charts=(), findings=[finding], records=(), notes=())
    assert page.findings[0].text.endswith("t… 1 more characters")
    assert page.findings[0].advice.endswith("a… 1000 more characters")


def test_table_of_evaluations_has_the_newest(run):
    files = read_run_files(run)
    history = read_evaluations(files)
    points = tuple(replace(history.points[0], step=step) for step in range(SHOWN_EVALUATIONS + 5))
    page = make_front_page(files, replace(history, points=points), charts=(), findings=(), records=(), notes=())
    assert [page.evaluations[0].step, page.evaluations[-1].step] == [5, SHOWN_EVALUATIONS + 4]
    assert page.notes == (f"the table of evaluations has the newest {SHOWN_EVALUATIONS} of its 405 rows",)


def test_path_of_the_run_is_quoted_for_a_shell(tmp_path, monkeypatch):
    run = write_run(tmp_path / "a run; $x's", steps=1, with_evaluations=False, with_rollouts=False)
    monkeypatch.chdir(run)
    assert shlex.split(make_page(Path("."), ()).quoted_path) == [str(run.resolve())]
