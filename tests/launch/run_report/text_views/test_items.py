"""Items of ``show``: forms, ids with slashes, errors that say what to write."""

import re

import pytest

from evaluator.errors import UserError
from launch.run_report.rollout_rows import UnreadableRollouts
from launch.run_report.run_files import read_run_files
from launch.run_report.text_views.items import FORMS, ItemError, parse_items
from launch.run_report.text_views.rollout_lookup import UnknownItem, list_question_ids
from tests.launch.run_report.run_factory import HOSTILE_TEXT, write_run


def make_views(run, *texts):
    return [item.make(read_run_files(run)) for item in parse_items(texts)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


def test_every_form_makes_a_view(run):
    question_id = "starter/family_1/0000"
    texts = [form.replace("STEP", "2").replace("ID", question_id).replace("INDEX", "3") for form in FORMS]
    views = make_views(run, *texts)
    names = [type(view).__name__ for view in views]
    assert names == ["SummaryView", "HealthView", "SlowView", "StepView", "ProblemView", "SampleView"]
    assert (views[-1].step, views[-1].question_id, views[-1].sample_index) == (2, question_id, 3)


def test_equal_items_are_shown_once():
    assert [item.text for item in parse_items(["summary", "slow", "summary"])] == ["summary", "slow"]


@pytest.mark.parametrize("question_id", ["a", "a/b/7", "a: b, [c]", " ", "1/2", "/", "a\x1b[31m"])
def test_sample_is_split_at_the_first_and_the_last_slash(tmp_path, question_id):
    run = write_run(tmp_path / "run", steps=1, groups=1, texts={"question_id": question_id})
    (view,) = make_views(run, f"sample:0/{question_id}/2")
    assert (view.question_id, view.sample_index, len(view.completions)) == (question_id, 2, 1)
    assert make_views(run, f"problem:{question_id}")[0].question_id == question_id


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("sumary", "write summary"),
        ("summary:1", "write summary"),
        ("step", "write step:STEP"),
        ("step:x", "write step:STEP"),
        ("step:-1", "write step:STEP"),
        ("step:" + "9" * 5000, "write step:STEP"),
        ("problem", "write problem:ID"),
        ("sample:1", "write sample:STEP/ID/INDEX"),
        ("sample:1/2", "write sample:STEP/ID/INDEX"),
        ("sample:x/a/2", "write sample:STEP/ID/INDEX"),
        ("sample:1/a/x", "write sample:STEP/ID/INDEX"),
        ("", "choose summary, health, slow, step:STEP"),
        ("xyz", "choose summary, health, slow, step:STEP"),
    ],
)
def test_wrong_form_is_an_error_with_the_right_one(text, hint):
    with pytest.raises(ItemError, match=re.escape(hint)) as caught:
        parse_items([text])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step:9", "step 9 has no rollouts; the nearest steps that have are 0, 1, 2 (of 3, from 0 to 2)"),
        ("problem:family_1", "did you mean 'starter/family_1/0000'?"),
        ("problem:starter/famly_1/0000", "did you mean 'starter/family_1/0000' or"),
        ("problem:?", "there are 4 problems, for example 'starter/family_0/0000', 'starter/family_1/0000'"),
        ("sample:9/starter/family_1/0000/0", "the nearest steps that have are 0, 1, 2"),
        ("sample:1/starter/famly_1/0000/0", "did you mean 'starter/family_1/0000'"),
        ("sample:1/starter/family_1/0000/8", "step 1 has no sample 8"),
        ("sample:1/starter/family_1/0000/8", "it has 0, 1, 2, 3"),
    ],
)
def test_what_the_run_does_not_have_is_an_error_that_names_what_exists(run, text, message):
    with pytest.raises(UnknownItem, match=re.escape(message)):
        make_views(run, text)


def test_problem_of_other_steps_is_an_error_that_names_them(tmp_path):
    def rename(row):
        return {**row, "question_id": f"{row['question_id']}/{row['step'] % 2}"}

    run = write_run(tmp_path / "run", steps=6, change_row=rename)
    with pytest.raises(UnknownItem, match="is not in step 2; it is in steps 1, 3, 5"):
        make_views(run, "sample:2/starter/family_0/0000/1/0")


def test_run_without_rollouts_is_named(tmp_path):
    run = write_run(tmp_path / "run", with_rollouts=False)
    with pytest.raises(UnknownItem, match="step 1: run 'run' has no rollout files yet"):
        make_views(run, "step:1")
    with pytest.raises(UnknownItem, match="no rollouts of problem 'a' in run 'run': there are no rollouts"):
        make_views(run, "problem:a")


def test_ids_in_errors_are_escaped_and_short(tmp_path):
    run = write_run(tmp_path / "run", steps=1, groups=1, texts={"question_id": HOSTILE_TEXT * 20})
    with pytest.raises(UnknownItem) as caught:
        make_views(run, "problem:\x1b[2J")
    message = str(caught.value)
    assert "'\\x1b[2J'" in message and "\\x1b[31mred" in message
    assert message.isprintable() and len(message) < 800


def test_damaged_rollout_file_is_noted_or_an_error(run, tmp_path):
    run = write_run(tmp_path / "run")
    path = run / "rollouts" / "step_000001.parquet"
    path.write_bytes(path.read_bytes()[:200])
    problem, slow = make_views(run, "problem:starter/family_1/0000", "slow")
    assert [group.step for group in problem.groups] == [0, 2] and slow.steps == 2
    assert all(
        len(view.notes) == 1 and "step_000001.parquet cannot be read" in view.notes[0] for view in (problem, slow)
    )
    with pytest.raises(UserError, match=r"step 1: step_000001.*cannot be read") as caught:
        make_views(run, "step:1")
    assert caught.value.exit_status == 2
    with pytest.raises(UnreadableRollouts):
        list_question_ids(read_run_files(run).rollouts[1])
