"""The driver as a person starts it, in a process of its own: a run, its directory, resuming, stopping, a dead engine.

Starting a driver takes most of the time here, so several tests read one run. ``test_exact_resume.py`` kills a driver.
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
from tests.integration.driver_process import DEADLINE_S, STEPS, Stopped, command, run, stop_after, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1800)]
WARMER = ("temperature.kind=schedule", "temperature.schedule=[[1,1.2]]")
AHEAD = ("algorithm.max_staleness=1", "generator.partial_rollouts=true")
DYNAMIC = ("algorithm=dapo", "algorithm.kl_weight=0.1", "algorithm.dynamic_sampling_rounds=3", "learner.ranks=2")


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Directory and output of a run of two steps with two learner ranks, the second step at a higher temperature."""
    runs = tmp_path_factory.mktemp("runs")
    done = run(command(model, runs, "learner.ranks=2", *WARMER))
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / "small", done.stdout


@dataclass(frozen=True)
class Resumed:
    """The finished run after four more steps: its directory, and two of its files as they were before."""

    directory: Path
    metrics_before: str
    decisions_before: str


@pytest.fixture(scope="module")
def resumed(finished: tuple[Path, str], model: Path) -> Resumed:
    """With one learner rank, and one step ahead of training with completions that go on under new weights."""
    directory, _ = finished
    before = Resumed(
        directory, (directory / "metrics.jsonl").read_text(), (directory / "temperature.jsonl").read_text()
    )
    again = ("run.resume=true", f"run.steps={STEPS + 4}", "learner.ranks=1", *WARMER, *AHEAD)
    done = run(command(model, directory.parent, *again))
    assert done.returncode == 0, done.stdout + done.stderr
    return before


@pytest.fixture(scope="module")
def interrupted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stopped]:
    """A run with dynamic sampling and a reference model that is stopped by Ctrl-C after two steps; its directory."""
    directory = tmp_path_factory.mktemp("interrupted") / "small"
    arguments = command(model, directory.parent, "run.steps=1000", *DYNAMIC)
    return directory, stop_after(STEPS, arguments, directory, signal.SIGINT)


def check_accounting(row: dict[str, float]) -> None:
    """The named times and what is left add up to the step; how much is left is a matter of the machine."""
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
        assert set(table["policy_version_min"].to_pylist()) == {step}
        assert table["temperature"].to_pylist() == pytest.approx([(1.0, 1.2)[step]] * 16)
    (decision,) = (json.loads(line) for line in (directory / "temperature.jsonl").read_text().splitlines())
    assert (decision["step"], decision["old"], decision["new"], decision["rule"]) == (1, 1.0, 1.2, "schedule")
    assert json.loads((directory / "environment.json").read_text())["packages"]["torch"]


def test_output_has_a_line_a_step_and_a_summary(finished: tuple[Path, str]) -> None:
    directory, printed = finished
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("step ") and "reward" in line] == [
        "0",
        "1",
    ]
    assert "step    1  temperature 1 -> 1.2: as scheduled" in printed
    assert directory.name in printed


def test_checkpoints_load_with_transformers(finished: tuple[Path, str]) -> None:
    directory, _ = finished
    for step in (1, 2):
        path = directory / "checkpoints" / f"step_{step:06d}"
        assert AutoModelForCausalLM.from_pretrained(path).num_parameters() > 1e6
        assert AutoTokenizer.from_pretrained(path).chat_template


def test_resume_goes_on_with_another_number_of_ranks(resumed: Resumed) -> None:
    after = (resumed.directory / "metrics.jsonl").read_text()
    assert after.startswith(resumed.metrics_before)
    rows = [json.loads(line) for line in after.splitlines()]
    assert [(row["step"], row["temperature/value"]) for row in rows] == [(0, 1.0)] + [
        (step, 1.2) for step in range(1, 6)
    ]
    assert (resumed.directory / "temperature.jsonl").read_text() == resumed.decisions_before


def test_sampling_ahead_with_completions_that_go_on_under_new_weights(resumed: Resumed) -> None:
    """One version of staleness and no more; a track for every actor."""
    rows = [json.loads(line) for line in (resumed.directory / "metrics.jsonl").read_text().splitlines()][STEPS:]
    assert [row["staleness/max"] for row in rows] == [0, 1, 1, 1]
    for row in rows:
        assert (row["group/trained"], row["group/lost"]) == (4, 0)
        check_accounting(row)
    events = json.loads((resumed.directory / "timeline.json").read_text())
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"driver", "learner rank 0", "generator 0", "evaluator 0"} <= tracks
    assert {"generate", "evaluate", "update", "publish", "wait for completions"} <= {event["name"] for event in events}


@pytest.mark.slow
def test_dynamic_sampling_with_a_reference_model(interrupted: tuple[Path, Stopped]) -> None:
    """The numbers of groups trained, dropped and left over add up, in the metrics and in the rollouts."""
    directory, stopped = interrupted
    rows = stopped.metrics[:STEPS]
    assert [row["step"] for row in rows] == [0, 1]
    for row in rows:
        assert all(math.isfinite(value) for value in row.values())
        trained = row["group/trained"]
        left_out = row["group/dropped"]
        assert trained == 4 or row["group/rounds"] == 3
        table = pq.read_table(directory / "rollouts" / f"step_{row['step']:06d}.parquet")
        assert table["trained"].to_pylist().count(True) == 4 * trained
        assert table.num_rows == 4 * (trained + left_out)
        # At its first update ever the policy is the reference; two groups are one update.
        assert row["actor/kl_loss"] > 0 or trained <= 2


@pytest.mark.slow
def test_an_interrupted_driver_leaves_nothing_behind(interrupted: tuple[Path, Stopped]) -> None:
    """Ctrl-C in mid-run: no process of the run survives, and its files are complete."""
    _, stopped = interrupted
    assert stopped.returncode == 130
    assert "stopped on request" in stopped.printed
    survivors = stopped.survivors()
    assert not survivors, f"still running: {survivors}"
    assert len(stopped.metrics) >= STEPS
    assert stopped.rollout_rows and all(rows > 0 and rows % 4 == 0 for rows in stopped.rollout_rows)


@pytest.mark.slow
@pytest.mark.faults
def test_an_engine_that_is_killed_is_replaced_and_the_run_goes_on(model: Path, tmp_path: Path) -> None:
    """Its requests are asked again of its successor, which has taken the present weights first."""
    driver = subprocess.Popen(
        command(model, tmp_path, "run.steps=6"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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
        printed, _ = driver.communicate(timeout=DEADLINE_S)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()
    assert driver.returncode == 0, printed
    assert "generator 0 was restarted and serves weights version" in printed
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(6))
    assert all(row["mismatch/ratio_max"] < 1.001 and row["staleness/max"] == 0 for row in rows)
    assert (rows[-1]["generator/actors"], rows[-1]["generator/restarts"]) == (1, 1)
