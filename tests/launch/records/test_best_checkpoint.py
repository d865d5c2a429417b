"""Which checkpoint is the best, and that it stays."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.records.best_checkpoint import Best, best_checkpoint, best_text, choosing_metric, read_best
from launch.records.run_directory import RunDirectory
from launch.training.policy_evaluation import evaluation_due
from launch.training.run import Run
from launch.training.train import checkpoint_due
from tests.factories import config

METRIC = "evaluation/starter/all/all/pass@1"


def rows(**values):
    return [{"step": int(step.removeprefix("s")), METRIC: value} for step, value in values.items()]


def test_the_metric_is_named_after_the_evaluation_set():
    assert choosing_metric(config()) == METRIC
    assert choosing_metric(config("dataset.name=null", "dataset.path=p.jsonl")) == "evaluation/held_out/all/all/pass@1"


def test_the_highest_and_of_equals_the_earliest():
    found = best_checkpoint(rows(s0=0.9, s5=0.2, s10=0.5, s15=0.5), METRIC, {5, 10, 15}, None)
    assert found == Best(10, METRIC, 0.5)


def test_only_evaluated_checkpoints_that_are_there():
    assert best_checkpoint([{"step": 5, "other": 1.0}], METRIC, {5}, None) is None
    assert best_checkpoint(rows(s5=0.7, s10=0.5), METRIC, {10}, None) == Best(10, METRIC, 0.5)


def test_the_best_so_far_counts_until_it_is_evaluated_again():
    assert best_checkpoint(rows(s5=0.2), METRIC, {5, 10}, Best(10, METRIC, 0.5)) == Best(10, METRIC, 0.5)
    assert best_checkpoint(rows(s5=0.2, s10=0.1), METRIC, {5, 10}, Best(10, METRIC, 0.5)) == Best(5, METRIC, 0.2)
    assert best_checkpoint(rows(s5=0.2), METRIC, {5, 10}, Best(10, "another", 0.5)) == Best(5, METRIC, 0.2)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "best.json"
    assert read_best(path) is None
    best = Best(40, METRIC, 0.53125)
    path.write_text(best_text(best))
    assert read_best(path) == best
    assert json.loads(path.read_text())["checkpoint"] == "step_000040"


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=12), st.integers(1, 3))
def test_the_newest_and_the_best_are_kept(tmp_path_factory, values, keep):
    """A run that saves and evaluates every step, in the order of the training loop."""
    folder = tmp_path_factory.mktemp("run")
    composed = config()  # once for all examples: composing takes longer than the test
    settings = replace(composed, run=replace(composed.run, root=str(folder), name="r", keep_checkpoints=keep))
    directory = RunDirectory(settings)
    kept = directory.path / "checkpoints"
    directory.append_metrics({"step": 0, METRIC: 0.9})
    for step, value in enumerate(values, 1):
        directory.checkpoint_path(step).mkdir()
        directory.drop_old_checkpoints()
        directory.append_metrics({"step": step, METRIC: value})
    directory.drop_old_checkpoints()
    best = values.index(max(values)) + 1
    assert read_best(kept / "best.json") == Best(best, METRIC, max(values))
    expected = {best, *range(max(1, len(values) - keep + 1), len(values) + 1)}
    assert {path.name for path in kept.glob("*step*")} == {f"step_{step:06d}" for step in expected}


def test_a_resumed_run_keeps_the_best_of_before(tmp_path):
    """The best is the newest checkpoint: the resumed run forgets its row, and does not evaluate it any more."""
    overrides = (f"run.root={tmp_path}", "run.name=r", "run.keep_checkpoints=1")
    directory = RunDirectory(config(*overrides))
    for step in (5, 10):
        directory.checkpoint_path(step).mkdir()
        directory.append_metrics({"step": step, METRIC: step / 100})
    directory.drop_old_checkpoints()
    resumed = RunDirectory(config(*overrides, "run.resume=true", "evaluation.samples=0"))
    assert resumed.first_step == 10
    assert [row["step"] for row in resumed.metrics()] == [5]
    resumed.checkpoint_path(15).mkdir()
    resumed.drop_old_checkpoints()
    assert resumed.checkpoint_path(10).exists()
    assert read_best(resumed.path / "checkpoints" / "best.json") == Best(10, METRIC, 0.1)


def run_of(*overrides, held_out=("a problem",)):
    """A run of which nothing but its configuration and its problems is looked at."""
    make_run: Any = Run
    return make_run(config(*overrides), *[None] * 5, held_out, *[None] * 6)


@pytest.mark.parametrize(
    ("overrides", "evaluated", "saved"),
    [
        (("evaluation.every=4",), [0, 4, 8, 10], [4, 6, 8, 10]),
        (("evaluation.every=0",), [0, 10], [6, 10]),
        (("evaluation.every=0", "evaluation.samples=0"), [], [6, 10]),
    ],
)
def test_what_is_evaluated_has_a_checkpoint(overrides, evaluated, saved):
    run = run_of("run.steps=10", "run.checkpoint_every=6", *overrides)
    assert [step for step in range(11) if evaluation_due(run, step)] == evaluated
    assert [step for step in range(1, 11) if checkpoint_due(run, step)] == saved


def test_without_problems_to_evaluate_on_nothing_is_due():
    run = run_of("run.steps=10", "run.checkpoint_every=6", "evaluation.every=4", held_out=())
    assert [step for step in range(11) if evaluation_due(run, step)] == []
    assert [step for step in range(1, 11) if checkpoint_due(run, step)] == [6, 10]
