"""Data of the views: summary, step, problem, slow, health."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from launch.run_report.run_files import read_run_files
from launch.run_report.text_views.health import make_health
from launch.run_report.text_views.problem import make_problem
from launch.run_report.text_views.rollout_lookup import UnknownItem
from launch.run_report.text_views.slow import make_slow
from launch.run_report.text_views.step import make_step
from launch.run_report.text_views.summary import FIGURES, make_summary, read_verdict
from tests.launch.run_report.run_factory import OLD_COLUMNS, write_answers, write_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return read_run_files(write_run(tmp_path_factory.mktemp("runs") / "finished"))


def test_summary_has_verdict_gains_and_figures(finished):
    view = make_summary(finished)
    assert (view.name, view.state, view.steps_done, view.steps_planned) == ("finished", "finished", 3, 3)
    assert view.verdict.startswith("learned") and read_verdict(finished.path) == view.verdict
    assert [gain.temperature for gain in view.gains] == [1.0, 0.3]
    assert (view.gains[0].pass_at_1.before.mean, view.gains[0].pass_at_1.after.mean) == (0.25, 0.75)
    assert (view.first_evaluation, view.last_evaluation) == (0, 3)
    assert view.figures.keys() == FIGURES.keys()
    assert view.last_step == 2 and view.figures["temperature/value"] == 0.8
    assert view.settings["dataset.name"] == "starter" and view.notes == ()


def test_summary_of_a_run_that_has_only_begun(tmp_path):
    run = write_run(tmp_path / "run", steps=0, planned_steps=9, with_evaluations=False, with_rollouts=False)
    view = make_summary(read_run_files(run))
    assert (view.state, view.steps_done, view.steps_planned, view.verdict) == ("running", 0, 9, None)
    assert view.last_step is None and set(view.figures.values()) == {None}
    assert view.gains == () and view.evaluations == () and view.best_checkpoint is None


def test_summary_of_a_directory_with_an_empty_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    view = make_summary(read_run_files(tmp_path))
    assert (view.steps_done, view.steps_planned) == (0, None)
    assert set(view.settings.values()) == {None}


def test_summary_has_the_best_checkpoint_and_what_could_not_be_read(tmp_path):
    path = write_run(tmp_path / "run")
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "best.json").write_text(json.dumps({"step": 2, "metric": "m", "value": 0.5}))
    metrics = path / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-30])  # the last row is that of the evaluation
    view = make_summary(read_run_files(path))
    assert view.best_checkpoint == {"step": 2, "metric": "m", "value": 0.5}
    assert len(view.notes) == 1 and view.notes[0].startswith("metrics.jsonl: 1 of 4 lines are incomplete")
    assert view.steps_done == 3


def test_number_that_is_not_finite_is_unknown(tmp_path):
    view = make_summary(read_run_files(write_run(tmp_path / "run", settings={"run.steps": float("nan")})))
    assert view.steps_planned is None


def test_step_sorts_groups_by_spread_and_marks_them(finished):
    view = make_step(finished, 0)
    assert [group.index for group in view.groups] == [1, 3, 0, 2]
    by_index = {group.index: group for group in view.groups}
    assert [by_index[index].outcome for index in range(4)] == ["all solved", "mixed", "none solved", "mixed"]
    assert (view.all_solved, view.none_solved, view.dropped, view.completions) == (1, 1, 0, 16)
    assert [by_index[index].remark for index in range(3)] == ["all solved", "", "none solved"]
    assert sum(view.statuses.values()) == 16 and view.statuses["passed"] == 4 + 2 + 3
    assert view.temperatures == (0.8,) and view.metrics["temperature/value"] == 0.8


def test_step_counts_groups_that_dynamic_sampling_dropped(tmp_path):
    def drop(row):
        return {**row, "trained": row["question_id"] != "starter/family_2/0000"}

    view = make_step(read_run_files(write_run(tmp_path / "run", steps=1, change_row=drop)), 0)
    assert view.dropped == 1
    assert {group.index: group.remark for group in view.groups}[2] == "none solved, dropped"


def test_step_does_not_judge_a_group_by_sandbox_errors(tmp_path):
    def fail(row):
        is_failed = row["question_id"] == "starter/family_2/0000" or row["sample_index"] == 3
        return {**row, "status": "sandbox_error", "reward": None, "advantage": None} if is_failed else row

    view = make_step(read_run_files(write_run(tmp_path / "run", steps=1, change_row=fail)), 0)
    groups = {group.index: group for group in view.groups}
    assert (groups[2].outcome, groups[2].judged, groups[2].mean_reward, groups[2].spread) == (None, 0, None, None)
    assert (groups[0].outcome, groups[0].passed, groups[0].judged) == ("all solved", 3, 3)


def test_step_of_an_older_version_has_unknown_figures(tmp_path):
    columns = [name for name in OLD_COLUMNS if name not in ("status", "masked", "response_token_ids")]
    view = make_step(read_run_files(write_run(tmp_path / "run", steps=1, columns=columns)), 0)
    assert (view.masked, view.mean_length, view.statuses) == (None, None, {"unknown": 16})
    assert all(group.passed is None and group.outcome is None and group.trained for group in view.groups)
    assert view.at_limit is not None and view.mean_reward is not None


def test_problem_has_its_groups_in_step_order_and_its_prompt(finished):
    view = make_problem(finished, "starter/family_3/0000")
    assert [group.step for group in view.groups] == [0, 1, 2]
    assert [group.figures.passed for group in view.groups] == [3, 4, 0]
    assert view.prompt == "Print the sum of two numbers, in version 3."
    assert {group.figures.index for group in view.groups} == {3}


def test_problem_without_a_prompt_column(tmp_path):
    columns = [name for name in OLD_COLUMNS if name != "prompt"]
    run = write_run(tmp_path / "run", columns=columns)
    assert make_problem(read_run_files(run), "starter/family_1/0000").prompt is None


def test_slow_lists_programs_problems_and_generations(tmp_path):
    def change(row):
        is_slow = (row["step"], row["question_id"], row["sample_index"]) == (1, "starter/family_1/0000", 2)
        if is_slow:
            return {**row, "evaluation_seconds": 64.0, "generation_seconds": 128.0}
        return {**row, "evaluation_seconds": float("nan") if row["sample_index"] == 0 else 1.0}

    view = make_slow(read_run_files(write_run(tmp_path / "run", change_row=change)))
    slowest = view.programs[0]
    assert (slowest.step, slowest.question_id, slowest.sample_index) == (1, "starter/family_1/0000", 2)
    assert (slowest.seconds, slowest.tokens) == (64.0, None)
    assert (view.generations[0].seconds, view.generations[0].tokens) == (128.0, 7)
    problem = view.problems[0]
    assert (problem.question_id, problem.programs, problem.longest_seconds) == ("starter/family_1/0000", 9, 64.0)
    assert problem.total_seconds == 72.0 and problem.mean_seconds == 8.0
    assert view.judging_seconds == 4 * 9 + 63.0
    assert (len(view.programs), len(view.generations), view.steps) == (10, 10, 3)


def test_slow_without_times_is_empty(tmp_path):
    view = make_slow(read_run_files(write_run(tmp_path / "run", columns=OLD_COLUMNS)))
    assert (view.programs, view.problems, view.generations) == ((), (), ())
    assert view.judging_seconds is None


def test_views_of_all_steps_do_not_read_texts(finished, monkeypatch):
    """Texts and log-probs of all steps are gigabytes. Only the prompt of one step is read."""
    read = []

    def record(name):
        original = getattr(pq.ParquetFile, name)

        def wrapper(self, *arguments, columns=None, **options):
            read.append(columns)
            return original(self, *arguments, columns=columns, **options)

        monkeypatch.setattr(pq.ParquetFile, name, wrapper)

    import pyarrow.parquet as pq

    record("read")
    make_problem(finished, "starter/family_1/0000")
    make_slow(finished)
    texts = {"response", "code", "failed_input", "failed_expected", "failed_actual", "sampler_logprobs"}
    assert read and all(columns is not None and not texts & set(columns) for columns in read)
    assert sum("prompt" in columns for columns in read) == 1


def test_health_has_the_findings_of_the_rules(tmp_path):
    path = write_run(tmp_path / "run", with_evaluations=False)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    lines = [json.dumps({**row, "evaluator/status/sandbox_error": 0.5}) for row in rows]
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    view = make_health(read_run_files(path))
    assert view.steps == 3 and "sandbox_errors" in {finding.rule for finding in view.findings}
    assert make_summary(read_run_files(path)).findings == view.findings


def test_summary_and_health_have_the_verdict_among_their_findings(tmp_path):
    path = write_run(tmp_path / "run")
    for folder in ("evaluation", "evaluation/T0.3"):
        write_answers(path / folder / "step_000000.parquet", passed=3)
        write_answers(path / folder / "step_000003.parquet", passed=1)
    run = read_run_files(path)
    (finding,) = make_health(run).findings
    verdict = make_summary(run).verdict
    assert verdict is not None and finding.rule == "verdict_worse" and finding.text.startswith(verdict)
    assert make_summary(run).findings == (finding,)


def change_types(path, changes):
    """Rewrite the rollout files of a run with other types by column."""
    for file in (path / "rollouts").glob("*.parquet"):
        table = pq.read_table(file)
        for name, values in changes.items():
            table = table.set_column(table.column_names.index(name), name, pa.array(values(table)))
        pq.write_table(table, file)
    return read_run_files(path)


def test_columns_of_other_types_are_converted(tmp_path):
    path = write_run(tmp_path / "run", steps=1)
    expected = make_slow(read_run_files(path))
    changes = {
        "question_id": lambda table: [int(value[15]) for value in table["question_id"].to_pylist()],
        "evaluation_seconds": lambda table: [str(value) for value in table["evaluation_seconds"].to_pylist()],
        "sample_index": lambda table: [float(value) for value in table["sample_index"].to_pylist()],
    }
    run = change_types(path, changes)
    slow = make_slow(run)
    assert slow.judging_seconds == pytest.approx(expected.judging_seconds)
    assert (slow.programs[0].question_id, slow.programs[0].sample_index) == ("3", expected.programs[0].sample_index)
    problem = make_problem(run, "1")
    assert [group.figures.total for group in problem.groups] == [4] and problem.prompt.endswith("in version 1.")


def test_columns_that_cannot_be_converted_are_left_out(tmp_path):
    run = change_types(
        write_run(tmp_path / "run", steps=1),
        {
            "evaluation_seconds": lambda table: ["long"] * table.num_rows,
            "response_token_ids": lambda table: ["ids"] * table.num_rows,
            "prompt": lambda table: [{"text": "x"}] * table.num_rows,
        },
    )
    slow = make_slow(run)
    assert (slow.judging_seconds, slow.programs) == (None, ())
    assert slow.generations and {each.tokens for each in slow.generations} == {None}
    assert make_problem(run, "starter/family_1/0000").prompt is None


def test_rows_without_a_question_id_are_the_problem_with_an_empty_one(tmp_path):
    run = change_types(write_run(tmp_path / "run", steps=1), {"question_id": lambda table: [None, "b", "", None] * 4})
    view = make_problem(run, "")
    assert sum(group.figures.total for group in view.groups) == 12
    with pytest.raises(UnknownItem, match="for example"):
        make_problem(run, "c")
    assert make_slow(run).programs


def test_best_checkpoint_with_a_huge_value(tmp_path):
    path = write_run(tmp_path / "run", steps=1)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "best.json").write_text(json.dumps({"step": 1, "metric": "m", "value": 10**400}))
    output = io.StringIO()
    Console(file=output, width=1000).print(make_summary(read_run_files(path)).render())
    assert f"step 1: m {10**400}" in output.getvalue()
