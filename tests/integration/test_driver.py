"""The driver as a person starts it, in a process of its own: a run, its directory, resuming, stopping, being killed."""

from __future__ import annotations

import json
import math
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from launch.records.run_directory import SCHEMA
from tests.integration.driver_process import STEPS, command, run, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(900)]
WARMER = ("temperature.kind=schedule", "temperature.schedule=[[1,1.2]]")


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Two steps, the second at a higher temperature, with two learner ranks: the directory, and what was printed."""
    runs = tmp_path_factory.mktemp("runs")
    done = run(command(model, runs, "learner.ranks=2", *WARMER))
    assert done.returncode == 0, done.stdout + done.stderr
    yield runs / "small", done.stdout


def test_run_directory_is_complete(finished: tuple[Path, str]) -> None:
    directory, _ = finished
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1]
    for row in rows:
        assert row["mismatch/ratio_max"] < 1.001, "engine and learner disagree on log-probs"
        assert row["staleness/max"] == 0
        assert abs(row["timing_s/unaccounted"]) < 0.02 * row["timing_s/step"]
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


def test_resume_goes_on_with_another_number_of_ranks(finished: tuple[Path, str], model: Path) -> None:
    directory, _ = finished
    before = (directory / "metrics.jsonl").read_text()
    decisions = (directory / "temperature.jsonl").read_text()
    again = ("run.resume=true", f"run.steps={STEPS + 1}", "learner.ranks=1", *WARMER)
    done = run(command(model, directory.parent, *again))
    assert done.returncode == 0, done.stdout + done.stderr
    after = (directory / "metrics.jsonl").read_text()
    assert after.startswith(before)
    rows = [json.loads(line) for line in after.splitlines()]
    assert [(row["step"], row["temperature/value"]) for row in rows] == [(0, 1.0), (1, 1.2), (2, 1.2)]
    assert (directory / "temperature.jsonl").read_text() == decisions


def test_dynamic_sampling_with_a_reference_model(model: Path, tmp_path: Path) -> None:
    """What is trained, dropped and left over adds up, in the metrics and in the rollouts."""
    changes = ("algorithm=dapo", "algorithm.kl_weight=0.1", "algorithm.dynamic_sampling_rounds=3", "learner.ranks=2")
    done = run(command(model, tmp_path, *changes))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "small" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1]
    for row in rows:
        assert all(math.isfinite(value) for value in row.values())
        trained, left_out = row["group/trained"], row["group/dropped"]
        assert trained == 4 or row["group/rounds"] == 3
        table = pq.read_table(tmp_path / "small" / "rollouts" / f"step_{row['step']:06d}.parquet")
        assert table["trained"].to_pylist().count(True) == 4 * trained
        assert table.num_rows == 4 * (trained + left_out)
        # At its first update ever the policy is the reference; two groups are one update.
        assert row["actor/kl_loss"] > 0 or trained <= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_driver_leaves_nothing_behind(number: signal.Signals, model: Path, tmp_path: Path) -> None:
    """Ctrl-C and kill -9 in mid-run: no process of the run survives, what is written is whole."""
    driver = subprocess.Popen(
        command(model, tmp_path, "run.steps=1000"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until(lambda: (tmp_path / "small" / "metrics.jsonl").read_text() != "", "the first step", driver)
        family = psutil.Process(driver.pid).children(recursive=True)
        assert any("vllm" in process.name().lower() for process in family)
        driver.send_signal(number)
        printed, _ = driver.communicate(timeout=60)
        if number == signal.SIGINT:
            assert driver.returncode == 130
            assert "stopped on request" in printed
        # After kill -9 Ray's own agents look for their dead cluster for a minute before they give up.
        _, alive = psutil.wait_procs(family, timeout=120)
        assert not alive, f"still running: {alive}"
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()
    for line in (tmp_path / "small" / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    for path in (tmp_path / "small" / "rollouts").glob("*.parquet"):
        assert pq.read_table(path).num_rows == 16


def test_sampling_ahead_with_completions_that_go_on_under_new_weights(model: Path, tmp_path: Path) -> None:
    """One version of staleness and no more; a track for every actor."""
    ahead = ("algorithm.max_staleness=1", "generator.partial_rollouts=true", "run.steps=4")
    done = run(command(model, tmp_path, *ahead))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "small" / "metrics.jsonl").read_text().splitlines()]
    assert [row["staleness/max"] for row in rows] == [0, 1, 1, 1]
    for row in rows:
        assert (row["group/trained"], row["group/lost"]) == (4, 0)
        assert abs(row["timing_s/unaccounted"]) < 0.02 * row["timing_s/step"]
    events = json.loads((tmp_path / "small" / "timeline.json").read_text())
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"driver", "learner rank 0", "generator 0", "evaluator 0"} <= tracks
    assert {"generate", "evaluate", "update", "publish", "wait for completions"} <= {event["name"] for event in events}


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
        printed, _ = driver.communicate(timeout=400)
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
