"""The run directory: what it holds, that nothing in it is ever half, and what a resumed run finds."""

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
from learner.credit import assign_credit
from learner.rollout import Group
from tests.factories import config, credited_group, crediting, rollout

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR
GROUPS = [credited_group(PASSED, WRONG)]


def settings(tmp_path, *overrides):
    return config(f"run.root={tmp_path}", "run.name=r", *overrides)


@pytest.fixture
def fresh(tmp_path):
    return RunDirectory(settings(tmp_path))


def names(path):
    return sorted(os.listdir(path))


def test_a_new_run(tmp_path, fresh):
    assert fresh.path == tmp_path / "r"
    assert (fresh.first_step, fresh.checkpoint, fresh.metrics()) == (0, None, [])
    written = yaml.safe_load((fresh.path / "config.yaml").read_text())
    assert parse_config(written) == settings(tmp_path)
    environment = json.loads((fresh.path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["cpus"] == os.cpu_count()


def test_a_used_directory_is_refused(tmp_path, fresh):
    before = (fresh.path / "config.yaml").stat().st_mtime_ns
    with pytest.raises(RunDirectoryError, match=r"r holds a run: set run\.resume=true"):
        RunDirectory(settings(tmp_path, "run.seed=5"))
    assert (fresh.path / "config.yaml").stat().st_mtime_ns == before
    assert RunDirectory(settings(tmp_path, "run.resume=true")).first_step == 0


def test_metrics_grow_by_rows(fresh):
    fresh.append_metrics({"step": 0, "a": 0.5})
    fresh.append_metrics({"step": 1, "a": 1.5})
    assert fresh.metrics() == [{"step": 0, "a": 0.5}, {"step": 1, "a": 1.5}]
    assert (fresh.path / "metrics.jsonl").read_text().count("\n") == 2


def test_rollouts(fresh):
    logprobs = np.array([-0.5, -1.5, -0.25], dtype=np.float32)
    versions = np.array([2, 2, 3], dtype=np.int32)
    rollouts = (
        rollout(
            PASSED,
            tokens=(7, 8, 2),
            sampler_logprobs=logprobs,
            policy_versions=versions,
            text="é\n```",
            temperature=0.75,
        ),
        rollout(WRONG, sample_index=1, finish_reason="length", code="print(2)", seconds=0.125),
        rollout(OURS, sample_index=2, code=None),
    )
    fresh.write_rollouts(3, [assign_credit(Group("q", "the prompt", rollouts), crediting(), 3)])
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
        "finish_reason": "stop",
        "temperature": 0.75,
        "reward": 1.0,
        "shaped_reward": 1.0,
        "advantage": advantage,
        "masked": False,
        "trained": True,
        "status": "passed",
        "accepted_by": "exact",
        "first_failed": None,
        "tests_passed": 3,
        "tests_total": 3,
        "code": "print(1)",
        "generation_seconds": 1.5,
        "evaluation_seconds": 0.5,
    }
    assert (second["finish_reason"], second["reward"], -second["advantage"]) == ("length", 0.0, advantage)
    assert (second["status"], second["first_failed"], second["tests_passed"]) == ("wrong_answer", 1, 1)
    assert (second["code"], second["evaluation_seconds"], second["accepted_by"]) == ("print(2)", 0.125, None)
    assert (third["status"], third["reward"], third["advantage"], third["code"]) == ("sandbox_error", None, None, None)


@pytest.mark.parametrize("probability", [0, 1])
def test_masked_rollouts_are_marked(fresh, probability):
    group = Group("q", "", (rollout(finish_reason="length"), rollout(WRONG)))
    fresh.write_rollouts(0, [assign_credit(group, crediting(mask_probability=probability), 0)])
    rows = pq.read_table(fresh.path / "rollouts" / "step_000000.parquet").to_pylist()
    masked = probability == 1
    assert [(row["masked"], row["advantage"] == 0.0) for row in rows] == [(masked, masked), (False, False)]


def test_evaluations_have_a_folder_of_their_own(fresh):
    assert fresh.evaluation_path(20) == fresh.path / "evaluation" / "step_000020.parquet"
    assert fresh.evaluation_path(20).parent.is_dir()


def test_an_interrupted_write_leaves_the_old_file(fresh, monkeypatch):
    fresh.write_rollouts(0, GROUPS)
    path = fresh.path / "rollouts" / "step_000000.parquet"
    before = path.read_bytes()

    def broken(table, where, use_dictionary):
        where.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", broken)
    for step in (0, 1):
        with pytest.raises(OSError, match="disk full"):
            fresh.write_rollouts(step, GROUPS)
    assert path.read_bytes() == before
    assert not (fresh.path / "rollouts" / "step_000001.parquet").exists()


def killed(directory, done, checkpoint):
    """What a run leaves that did ``done`` steps, its last checkpoint after ``checkpoint`` of them, and was killed."""
    for step in range(done):
        directory.append_metrics({"step": step})
        directory.write_rollouts(step, GROUPS)
    for step in (0, checkpoint, done):
        for suffix in (".parquet", ".jsonl"):
            directory.evaluation_path(step).with_suffix(suffix).write_bytes(b"")
    for step in range(1, checkpoint + 1):
        directory.checkpoint_path(step).mkdir()
    (directory.path / "checkpoints" / f".step_{done:06d}.unfinished").mkdir()
    (directory.path / "rollouts" / f"step_{checkpoint - 1:06d}.unfinished").write_bytes(b"half")
    with open(directory.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "a"')


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path, fresh):
    killed(fresh, done=4, checkpoint=2)
    resumed = RunDirectory(settings(tmp_path, "run.resume=true"))
    assert resumed.first_step == 2
    assert resumed.checkpoint == resumed.checkpoint_path(2)
    assert [row["step"] for row in resumed.metrics()] == [0, 1]
    assert names(resumed.path / "rollouts") == ["step_000000.parquet", "step_000001.parquet"]
    # The evaluation after two steps is of the checkpoint's weights.
    assert names(resumed.path / "evaluation") == [
        f"step_{step:06d}.{suffix}" for step in (0, 2) for suffix in ("jsonl", "parquet")
    ]
    assert names(resumed.path / "checkpoints") == ["step_000001", "step_000002"]
    resumed.append_metrics({"step": 2})
    assert [row["step"] for row in resumed.metrics()] == [0, 1, 2]


def test_a_run_without_checkpoint_begins_again(tmp_path, fresh):
    fresh.append_metrics({"step": 0})
    fresh.write_rollouts(0, GROUPS)
    resumed = RunDirectory(settings(tmp_path, "run.resume=true"))
    assert (resumed.first_step, resumed.metrics(), names(resumed.path / "rollouts")) == (0, [], [])


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    directory = RunDirectory(settings(tmp_path, "run.keep_checkpoints=2"))
    for step in (5, 10, 15):
        directory.checkpoint_path(step).mkdir()
        directory.drop_old_checkpoints()
    assert names(directory.path / "checkpoints") == ["step_000010", "step_000015"]


def test_the_schema_knows_its_types():
    assert SCHEMA.field("response_token_ids").type == pa.list_(pa.int32())
    assert SCHEMA.field("sampler_logprobs").type == pa.list_(pa.float32())
