"""Selection of the best checkpoint, which is kept when older checkpoints are deleted."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.records.best_checkpoint import (
    BestCheckpoint,
    format_best_checkpoint,
    get_selection_metric,
    read_best_checkpoint,
    select_best_checkpoint,
)
from launch.records.run_directory import RunDirectory
from launch.training.policy_evaluation import is_evaluation_due
from launch.training.run import Run
from launch.training.train import is_checkpoint_due
from tests.factories import make_config

METRIC = "evaluation/starter/all/all/pass@1"


def make_rows(values_by_step):
    return [{"step": step, METRIC: value} for step, value in values_by_step.items()]


def test_selection_metric_is_named_after_the_evaluation_set():
    assert get_selection_metric(make_config()) == METRIC
    files_only = make_config("dataset.name=null", "dataset.path=p.jsonl")
    assert get_selection_metric(files_only) == "evaluation/held_out/all/all/pass@1"


def test_best_checkpoint_is_the_earliest_with_the_highest_value():
    rows = make_rows({0: 0.9, 5: 0.2, 10: 0.5, 15: 0.5})
    assert select_best_checkpoint(rows, METRIC, {5, 10, 15}, None) == BestCheckpoint(10, METRIC, 0.5)


def test_only_evaluated_and_saved_checkpoints_are_candidates():
    assert select_best_checkpoint([{"step": 5, "other": 1.0}], METRIC, {5}, None) is None
    rows = make_rows({5: 0.7, 10: 0.5})
    assert select_best_checkpoint(rows, METRIC, {10}, None) == BestCheckpoint(10, METRIC, 0.5)


def test_previous_best_is_a_candidate_until_it_is_evaluated_again():
    previous = BestCheckpoint(10, METRIC, 0.5)
    best_of_step_5 = BestCheckpoint(5, METRIC, 0.2)
    assert select_best_checkpoint(make_rows({5: 0.2}), METRIC, {5, 10}, previous) == previous
    assert select_best_checkpoint(make_rows({5: 0.2, 10: 0.1}), METRIC, {5, 10}, previous) == best_of_step_5
    of_other_metric = BestCheckpoint(10, "another", 0.5)
    assert select_best_checkpoint(make_rows({5: 0.2}), METRIC, {5, 10}, of_other_metric) == best_of_step_5


def test_best_checkpoint_file_is_read_as_written(tmp_path):
    path = tmp_path / "best.json"
    assert read_best_checkpoint(path) is None
    best = BestCheckpoint(40, METRIC, 0.53125)
    path.write_text(format_best_checkpoint(best))
    assert read_best_checkpoint(path) == best
    assert json.loads(path.read_text())["checkpoint"] == "step_000040"


@pytest.mark.heavy
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=12), st.integers(1, 3))
def test_newest_and_best_checkpoints_are_kept(tmp_path_factory, values, keep):
    """Save and evaluate at every step, in the order of the training loop."""
    folder = tmp_path_factory.mktemp("run")
    config = make_config()  # without overrides, so that it is composed once for all examples
    settings = replace(config, run=replace(config.run, root=str(folder), name="r", keep_checkpoints=keep))
    directory = RunDirectory(settings)
    checkpoints = directory.path / "checkpoints"
    directory.append_metrics({"step": 0, METRIC: 0.9})
    for step, value in enumerate(values, 1):
        directory.checkpoint_path(step).mkdir()
        directory.delete_old_checkpoints()
        directory.append_metrics({"step": step, METRIC: value})
    directory.delete_old_checkpoints()
    best = values.index(max(values)) + 1
    assert read_best_checkpoint(checkpoints / "best.json") == BestCheckpoint(best, METRIC, max(values))
    expected = {best, *range(max(1, len(values) - keep + 1), len(values) + 1)}
    assert {path.name for path in checkpoints.glob("*step*")} == {f"step_{step:06d}" for step in expected}


def test_resumed_run_keeps_the_previous_best(tmp_path):
    """The best is the newest checkpoint, so the resumed run deletes its row of metrics and does not evaluate it."""
    overrides = (f"run.root={tmp_path}", "run.name=r", "run.keep_checkpoints=1")
    directory = RunDirectory(make_config(*overrides))
    for step in (5, 10):
        directory.checkpoint_path(step).mkdir()
        directory.append_metrics({"step": step, METRIC: step / 100})
    directory.delete_old_checkpoints()
    resumed = RunDirectory(make_config(*overrides, "run.resume=true", "evaluation.samples=0"))
    assert resumed.first_step == 10
    assert [row["step"] for row in resumed.read_metrics()] == [5]
    resumed.checkpoint_path(15).mkdir()
    resumed.delete_old_checkpoints()
    assert resumed.checkpoint_path(10).exists()
    assert read_best_checkpoint(resumed.path / "checkpoints" / "best.json") == BestCheckpoint(10, METRIC, 0.1)


def make_run(*overrides, held_out=("a problem",)):
    """Return a run that has only a configuration and held-out problems."""
    unused: Any = None
    return Run(
        config=make_config(*overrides),
        sampler=unused,
        learner=unused,
        training=(),
        held_out=held_out,
        end_token_ids=frozenset(),
        records=unused,
        resumed=None,
    )


@pytest.mark.parametrize(
    ("overrides", "evaluated", "saved"),
    [
        (("evaluation.every=4",), [0, 4, 8, 10], [4, 6, 8, 10]),
        (("evaluation.every=0",), [0, 10], [6, 10]),
        (("evaluation.every=0", "evaluation.samples=0"), [], [6, 10]),
    ],
)
def test_every_evaluated_step_has_a_checkpoint(overrides, evaluated, saved):
    run = make_run("run.steps=10", "run.checkpoint_every=6", *overrides)
    assert [step for step in range(11) if is_evaluation_due(run, step)] == evaluated
    assert [step for step in range(1, 11) if is_checkpoint_due(run, step)] == saved


def test_no_evaluation_is_due_without_held_out_problems():
    run = make_run("run.steps=10", "run.checkpoint_every=6", "evaluation.every=4", held_out=())
    assert [step for step in range(11) if is_evaluation_due(run, step)] == []
    assert [step for step in range(1, 11) if is_checkpoint_due(run, step)] == [6, 10]
