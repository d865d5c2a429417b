"""Run the driver's command: run directory, resuming, interruption, and replacement of a dead engine.

Starting a driver takes most of the time here, so several tests share each run. ``test_exact_resume.py`` covers kill -9.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from launch.records.run_directory import SCHEMA
from tests.integration.driver_process import (
    DEADLINE_S,
    STEPS,
    StoppedRun,
    driver_command,
    run_command,
    stop_after,
    wait_until,
)

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1800)]
RISING_TEMPERATURE = ("temperature.kind=schedule", "temperature.schedule=[[1,1.2]]")
SAMPLING_AHEAD = ("algorithm.max_staleness=1", "generator.partial_rollouts=true")
DYNAMIC_SAMPLING = (
    "algorithm=dapo",
    "algorithm.kl_weight=0.1",
    "algorithm.dynamic_sampling_rounds=3",
    "learner.ranks=2",
)


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run two steps with two learner ranks, the second step at a higher temperature.

    Returns:
        Run directory and output.
    """
    runs = tmp_path_factory.mktemp("runs")
    done = run_command(driver_command(model, runs, "learner.ranks=2", *RISING_TEMPERATURE))
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / "small", done.stdout


@dataclass(frozen=True)
class ResumedRun:
    """The ``finished`` run after four more steps.

    Attributes:
        directory: run directory.
        metrics_before: metrics.jsonl before the run was resumed.
        decisions_before: temperature.jsonl before the run was resumed.
    """

    directory: Path
    metrics_before: str
    decisions_before: str


@pytest.fixture(scope="module")
def resumed(finished: tuple[Path, str], model: Path) -> ResumedRun:
    """Resume with one learner rank, sampling one step ahead of training, with partial rollouts."""
    directory, _ = finished
    before = ResumedRun(
        directory, (directory / "metrics.jsonl").read_text(), (directory / "temperature.jsonl").read_text()
    )
    overrides = ("run.resume=true", f"run.steps={STEPS + 4}", "learner.ranks=1", *RISING_TEMPERATURE, *SAMPLING_AHEAD)
    done = run_command(driver_command(model, directory.parent, *overrides))
    assert done.returncode == 0, done.stdout + done.stderr
    return before


@pytest.fixture(scope="module")
def interrupted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StoppedRun]:
    """Run with dynamic sampling and a reference model, and send Ctrl-C after two steps.

    Returns:
        Run directory and the interrupted run.
    """
    directory = tmp_path_factory.mktemp("interrupted") / "small"
    arguments = driver_command(model, directory.parent, "run.steps=1000", *DYNAMIC_SAMPLING)
    return directory, stop_after(STEPS, arguments, directory, signal.SIGINT)


def check_accounting(row: dict[str, float]) -> None:
    """Check that the named times and the unaccounted time add up to the step time. The shares depend on the machine."""
    named = ("gen", "reward", "old_log_prob", "update_actor", "wait/drain", "wait/learner", "update_weights")
    parts = [row[f"timing_s/{name}"] for name in (*named, "bookkeeping", "unaccounted")]
    assert sum(parts) == pytest.approx(row["timing_s/step"])


def test_run_directory_is_complete(finished: tuple[Path, str]) -> None:
    directory, _ = finished
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1]
    for row in rows:
        assert row["mismatch/ratio_max"] < 1.001, "engine and learner disagree on log-probs"
        assert row["staleness/max"] == 0
        check_accounting(row)
        assert 0 < row["diversity/distinct_4"] <= 1
    for step in range(STEPS):
        table = pq.read_table(directory / "rollouts" / f"step_{step:06d}.parquet")
        assert table.schema.equals(SCHEMA)
        assert table.num_rows == 16
        for learner, sampler in zip(table["learner_logprobs"], table["sampler_logprobs"], strict=True):
            assert learner.as_py() == pytest.approx(sampler.as_py(), abs=1e-2)
        assert set(table["policy_version_min"].to_pylist()) == {step}
        assert table["temperature"].to_pylist() == pytest.approx([(1.0, 1.2)[step]] * 16)
    (decision,) = (json.loads(line) for line in (directory / "temperature.jsonl").read_text().splitlines())
    assert (decision["step"], decision["old"], decision["new"], decision["rule"]) == (1, 1.0, 1.2, "schedule")
    assert json.loads((directory / "environment.json").read_text())["packages"]["torch"]


def test_report_contains_the_last_step(finished: tuple[Path, str]) -> None:
    directory, output = finished
    assert f"report: {directory / 'report' / 'index.html'}" in "".join(output.split("\n"))
    assert f"{STEPS} of {STEPS} steps" in (directory / "report" / "index.html").read_text()
    assert (directory / "report" / "data" / f"texts_{STEPS - 1:06d}_0.js").is_file()
    assert (directory / "logs" / "report.log").read_text() == ""


def test_output_has_a_line_per_step_and_a_summary(finished: tuple[Path, str]) -> None:
    directory, output = finished
    assert [line.split()[1] for line in output.splitlines() if line.startswith("step ") and "reward" in line] == [
        "0",
        "1",
    ]
    assert "step    1  temperature 1 -> 1.2: as scheduled" in output
    assert directory.name in output


def test_checkpoints_load_with_transformers(finished: tuple[Path, str]) -> None:
    directory, _ = finished
    for step in (1, 2):
        path = directory / "checkpoints" / f"step_{step:06d}"
        assert AutoModelForCausalLM.from_pretrained(path).num_parameters() > 1e6
        assert AutoTokenizer.from_pretrained(path).chat_template


def test_run_resumes_with_another_number_of_ranks(resumed: ResumedRun) -> None:
    after = (resumed.directory / "metrics.jsonl").read_text()
    assert after.startswith(resumed.metrics_before)
    rows = [json.loads(line) for line in after.splitlines()]
    assert [(row["step"], row["temperature/value"]) for row in rows] == [(0, 1.0)] + [
        (step, 1.2) for step in range(1, 6)
    ]
    assert (resumed.directory / "temperature.jsonl").read_text() == resumed.decisions_before


def test_sampling_ahead_with_partial_rollouts(resumed: ResumedRun) -> None:
    """Staleness is at most one version, and the timeline has a track for each actor."""
    rows = [json.loads(line) for line in (resumed.directory / "metrics.jsonl").read_text().splitlines()][STEPS:]
    assert [row["staleness/max"] for row in rows] == [0, 1, 1, 1]
    for row in rows:
        assert (row["group/trained"], row["group/lost"]) == (4, 0)
        check_accounting(row)
    events = json.loads((resumed.directory / "timeline.json").read_text())
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"driver", "learner rank 0", "generator 0", "evaluator 0"} <= tracks
    names = {event["name"] for event in events}
    assert {"generate", "evaluate", "update", "publish", "old_log_prob", "record"} <= names


@pytest.mark.slow
def test_dynamic_sampling_with_a_reference_model(interrupted: tuple[Path, StoppedRun]) -> None:
    """Check that the numbers of trained and dropped groups agree between metrics and rollout files."""
    directory, stopped = interrupted
    rows = stopped.metrics[:STEPS]
    assert [row["step"] for row in rows] == [0, 1]
    for row in rows:
        assert all(math.isfinite(value) for value in row.values())
        trained = row["group/trained"]
        dropped = row["group/dropped"]
        assert trained == 4 or row["group/rounds"] == 3
        table = pq.read_table(directory / "rollouts" / f"step_{row['step']:06d}.parquet")
        assert table["trained"].to_pylist().count(True) == 4 * trained
        assert table.num_rows == 4 * (trained + dropped)
        # In the very first update, of two groups, the policy still equals the reference model.
        assert row["actor/kl_loss"] > 0 or trained <= 2


@pytest.mark.slow
def test_interrupted_driver_leaves_no_process_and_complete_files(interrupted: tuple[Path, StoppedRun]) -> None:
    _, stopped = interrupted
    assert stopped.returncode == 130
    assert "stopped on request" in stopped.output
    survivors = stopped.wait_for_survivors()
    assert not survivors, f"processes of the run are still alive: {survivors}"
    assert len(stopped.metrics) >= STEPS
    assert stopped.rollout_rows and all(rows > 0 and rows % 4 == 0 for rows in stopped.rollout_rows)


@pytest.mark.slow
@pytest.mark.faults
def test_killed_engine_is_replaced_and_the_run_continues(model: Path, tmp_path: Path) -> None:
    """The replacement loads the current weights first and then samples the requests of the dead engine again."""
    driver = subprocess.Popen(
        driver_command(model, tmp_path, "run.steps=6"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        metrics = tmp_path / "small" / "metrics.jsonl"
        wait_until(lambda: metrics.read_text().count("\n") >= 2, "the second step", driver)
        (engine,) = (
            process
            for process in psutil.Process(driver.pid).children(recursive=True)
            if "EngineCore" in " ".join(process.cmdline())
        )
        engine.kill()
        output, _ = driver.communicate(timeout=DEADLINE_S)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()
    assert driver.returncode == 0, output
    assert "generator 0 was restarted and serves weights version" in output
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(6))
    assert all(row["mismatch/ratio_max"] < 1.001 and row["staleness/max"] == 0 for row in rows)
    assert (rows[-1]["generator/actors"], rows[-1]["generator/restarts"]) == (1, 1)
