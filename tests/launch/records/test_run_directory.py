"""Run directory: its content, atomic writes, and the deletion of records when a run is resumed."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from conf.validation import parse_config
from evaluator.verdict import Status
from launch.records.run_directory import SCHEMA, RunDirectory
from launch.records.run_path import RunDirectoryError
from learner.credit import assign_group_credit
from learner.rollout import Group
from learner.truncation_mask import MaskDraw
from tests.factories import (
    make_config,
    make_credit_settings,
    make_credited_group,
    make_rollout,
    make_truncated_rollout,
)

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
ERROR = Status.SANDBOX_ERROR
GROUPS = [make_credited_group(PASSED, WRONG)]


def make_settings(tmp_path, *overrides):
    return make_config(f"run.root={tmp_path}", "run.name=r", *overrides)


@pytest.fixture
def fresh(tmp_path):
    return RunDirectory(make_settings(tmp_path))


def list_names(path):
    return sorted(os.listdir(path))


def test_new_run_directory_contains_configuration_and_environment(tmp_path, fresh):
    assert fresh.path == tmp_path / "r"
    assert (fresh.first_step, fresh.checkpoint, fresh.read_metrics()) == (0, None, [])
    written = yaml.safe_load((fresh.path / "config.yaml").read_text())
    assert parse_config(written) == make_settings(tmp_path)
    environment = json.loads((fresh.path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["cpus"] == os.cpu_count()


def test_used_directory_is_rejected_without_resume(tmp_path, fresh):
    before = (fresh.path / "config.yaml").stat().st_mtime_ns
    with pytest.raises(RunDirectoryError, match=r"r holds a run: set run\.resume=true"):
        RunDirectory(make_settings(tmp_path, "run.seed=5"))
    assert (fresh.path / "config.yaml").stat().st_mtime_ns == before
    assert RunDirectory(make_settings(tmp_path, "run.resume=true")).first_step == 0


def test_metrics_are_appended_row_by_row(fresh):
    fresh.append_metrics({"step": 0, "a": 0.5})
    fresh.append_metrics({"step": 1, "a": 1.5})
    assert fresh.read_metrics() == [{"step": 0, "a": 0.5}, {"step": 1, "a": 1.5}]
    assert (fresh.path / "metrics.jsonl").read_text().count("\n") == 2


def test_rollouts_file_has_all_fields_of_every_completion(fresh):
    logprobs = np.array([-0.5, -1.5, -0.25], dtype=np.float32)
    versions = np.array([2, 2, 3], dtype=np.int32)
    rollouts = (
        make_rollout(
            PASSED,
            tokens=(7, 8, 2),
            sampler_logprobs=logprobs,
            policy_versions=versions,
            text="é\n```",
            temperature=0.75,
        ),
        make_rollout(WRONG, sample_index=1, finish_reason="length", code="print(2)", seconds=0.125),
        make_rollout(ERROR, sample_index=2, code=None),
    )
    learner_logprobs = {rollouts[0].completion.id: np.array([-0.5, -1.25, -0.25], dtype=np.float32)}
    group = assign_group_credit(Group("q", "the prompt", rollouts), make_credit_settings(), 3)
    fresh.write_rollouts(3, [group], learner_logprobs)
    table = pq.read_table(fresh.path / "rollouts" / "step_000003.parquet")
    assert table.schema.equals(SCHEMA)
    first, second, third = table.to_pylist()
    advantage = pytest.approx(0.70711, abs=1e-4)
    assert first == {
        "step": 3,
        "policy_version_min": 2,
        "policy_version_max": 3,
        "question_id": "q",
        "sample_index": 0,
        "prompt": "the prompt",
        "response": "é\n```",
        "response_token_ids": [7, 8, 2],
        "sampler_logprobs": [-0.5, -1.5, -0.25],
        "learner_logprobs": [-0.5, -1.25, -0.25],
        "finish_reason": "stop",
        "temperature": 0.75,
        "reward": 1.0,
        "shaped_reward": 1.0,
        "unmasked_advantage": advantage,
        "advantage": advantage,
        "truncated": False,
        "incomplete": False,
        "repeated_tail": False,
        "mask_draw": pytest.approx(MaskDraw(0, 3).uniform("q", 0)),
        "masked": False,
        "trained": True,
        "status": "passed",
        "accepted_by": "exact",
        "first_failed": None,
        "tests_passed": 3,
        "tests_total": 3,
        "failed_input": None,
        "failed_expected": None,
        "failed_actual": None,
        "code": "print(1)",
        "generation_seconds": 1.5,
        "evaluation_seconds": 0.5,
    }
    assert (second["finish_reason"], second["reward"], -second["advantage"]) == ("length", 0.0, advantage)
    assert (second["status"], second["first_failed"], second["tests_passed"]) == ("wrong_answer", 1, 1)
    assert (second["code"], second["evaluation_seconds"], second["accepted_by"]) == ("print(2)", 0.125, None)
    assert (second["learner_logprobs"], second["truncated"]) == (None, True)
    assert [second[f"failed_{name}"] for name in ("input", "expected", "actual")] == ["1 2\n", "3\n", "4\n"]
    assert (third["status"], third["reward"], third["advantage"], third["code"]) == ("sandbox_error", None, None, None)
    assert third["unmasked_advantage"] is None


@pytest.mark.parametrize("probability", [0, 1])
def test_masked_rollouts_are_marked_with_advantage_0(fresh, probability):
    group = Group("q", "", (make_rollout(finish_reason="length"), make_rollout(WRONG)))
    fresh.write_rollouts(0, [assign_group_credit(group, make_credit_settings(mask_probability=probability), 0)], {})
    rows = pq.read_table(fresh.path / "rollouts" / "step_000000.parquet").to_pylist()
    masked = probability == 1
    assert [(row["masked"], row["advantage"] == 0.0) for row in rows] == [(masked, masked), (False, False)]
    assert [row["unmasked_advantage"] for row in rows] == pytest.approx([0.70711, -0.70711], abs=1e-4)
    assert all((row["mask_draw"] < probability) == masked for row in rows)


def test_conditions_of_the_mask_are_written(fresh):
    repeating = (10, 11, 12, 13) * 3
    rollouts = (
        make_truncated_rollout(incomplete=True),
        make_truncated_rollout(sample_index=1, incomplete=True, tokens=repeating),
        make_rollout(WRONG, sample_index=2, tokens=repeating),
    )
    credited = assign_group_credit(Group("q", "", rollouts), make_credit_settings(mask_probability=1), 0)
    fresh.write_rollouts(0, [credited], {})
    rows = pq.read_table(fresh.path / "rollouts" / "step_000000.parquet").to_pylist()
    conditions = [(row["truncated"], row["incomplete"], row["repeated_tail"], row["masked"]) for row in rows]
    assert conditions == [(True, True, False, True), (True, True, True, False), (False, False, True, False)]


def test_log_probs_of_any_subset_of_the_completions_are_written(fresh):
    """Completions that were not trained on have none."""
    groups = [make_credited_group(PASSED, WRONG, ERROR, question_id=name) for name in "ab"]
    completions = [item.rollout.completion for item in groups[0].rollouts]
    values = {completions[index].id: np.full(4, -index, dtype=np.float32) for index in (1, 2)}
    fresh.write_rollouts(0, groups[:1], values)
    column = pq.read_table(fresh.path / "rollouts" / "step_000000.parquet")["learner_logprobs"].to_pylist()
    assert column == [None, [-1.0] * 4, [-2.0] * 4]
    fresh.write_rollouts(1, groups, {})
    assert pq.read_table(fresh.path / "rollouts" / "step_000001.parquet")["learner_logprobs"].null_count == 6
    fresh.write_rollouts(2, [], {})
    assert pq.read_table(fresh.path / "rollouts" / "step_000002.parquet").num_rows == 0


def test_evaluations_have_their_own_folder(fresh):
    assert fresh.evaluation_path(20) == fresh.path / "evaluation" / "step_000020.parquet"
    assert fresh.evaluation_path(20).parent.is_dir()


def test_failed_write_keeps_the_old_file(fresh, monkeypatch):
    fresh.write_rollouts(0, GROUPS, {})
    path = fresh.path / "rollouts" / "step_000000.parquet"
    before = path.read_bytes()

    def fail_midway(table, path, use_dictionary):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail_midway)
    for step in (0, 1):
        with pytest.raises(OSError, match="disk full"):
            fresh.write_rollouts(step, GROUPS, {})
    assert path.read_bytes() == before
    assert not (fresh.path / "rollouts" / "step_000001.parquet").exists()


def write_killed_run(directory, done, checkpoint):
    """Write the files of a run that was killed after ``done`` steps, with its last checkpoint after ``checkpoint``."""
    for step in range(done):
        directory.append_metrics({"step": step})
        directory.write_rollouts(step, GROUPS, {})
    for step in (0, checkpoint, done):
        for suffix in (".parquet", ".jsonl"):
            directory.evaluation_path(step).with_suffix(suffix).write_bytes(b"")
    for step in range(1, checkpoint + 1):
        directory.checkpoint_path(step).mkdir()
    (directory.path / "checkpoints" / f".step_{done:06d}.unfinished").mkdir()
    (directory.path / "rollouts" / f"step_{checkpoint - 1:06d}.unfinished").write_bytes(b"half")
    with open(directory.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "a"')


def test_resuming_deletes_the_records_of_steps_to_be_repeated(tmp_path, fresh):
    write_killed_run(fresh, done=4, checkpoint=2)
    resumed = RunDirectory(make_settings(tmp_path, "run.resume=true"))
    assert resumed.first_step == 2
    assert resumed.checkpoint == resumed.checkpoint_path(2)
    assert [row["step"] for row in resumed.read_metrics()] == [0, 1]
    assert list_names(resumed.path / "rollouts") == ["step_000000.parquet", "step_000001.parquet"]
    # The evaluation after two steps is kept: its weights are those of the checkpoint.
    assert list_names(resumed.path / "evaluation") == [
        f"step_{step:06d}.{suffix}" for step in (0, 2) for suffix in ("jsonl", "parquet")
    ]
    assert list_names(resumed.path / "checkpoints") == ["step_000001", "step_000002"]
    resumed.append_metrics({"step": 2})
    assert [row["step"] for row in resumed.read_metrics()] == [0, 1, 2]


def test_run_without_checkpoint_restarts_from_step_0(tmp_path, fresh):
    fresh.append_metrics({"step": 0})
    fresh.write_rollouts(0, GROUPS, {})
    resumed = RunDirectory(make_settings(tmp_path, "run.resume=true"))
    assert (resumed.first_step, resumed.read_metrics(), list_names(resumed.path / "rollouts")) == (0, [], [])


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    directory = RunDirectory(make_settings(tmp_path, "run.keep_checkpoints=2"))
    for step in (5, 10, 15):
        directory.checkpoint_path(step).mkdir()
        directory.delete_old_checkpoints()
    assert list_names(directory.path / "checkpoints") == ["step_000010", "step_000015"]


def test_schema_has_32_bit_lists():
    assert SCHEMA.field("response_token_ids").type == pa.list_(pa.int32())
    assert SCHEMA.field("sampler_logprobs").type == pa.list_(pa.float32())
    assert SCHEMA.field("learner_logprobs").type == pa.list_(pa.float32())
