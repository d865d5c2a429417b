"""Deterministic mode: a run killed with kill -9 and resumed equals an uninterrupted run bit for bit."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from evaluator.problem import to_row
from launch.problems.starter import build_held_out_problems, build_training_problems
from tests.integration.driver_process import StoppedRun, driver_command, run_command, stop_after

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.integration,
    pytest.mark.faults,
    pytest.mark.timeout(2400),
]
STEPS = 5
PROBLEMS = 10  # 4 per step, so the third and the fifth step span the end of an epoch
MEASURED_PREFIXES = (
    "timing_s/",
    "perf/",
    "evaluator/seconds",
    "evaluator/queue",
    "evaluator/busy",
    "evaluator/repeated",
)
TIME_COLUMNS = ("generation_seconds", "evaluation_seconds")


def deterministic_command(model: Path, root: Path, *overrides: str) -> list[str]:
    """Return the command of a deterministic run with evaluations and a diversity-controlled temperature."""
    training = root / "training.jsonl"
    held_out = root / "held_out.jsonl"
    if not training.exists():
        write_problems(training, [starter.problem for starter in build_training_problems()[:PROBLEMS]])
        write_problems(held_out, [starter.problem for starter in build_held_out_problems()[:4]])
    return driver_command(
        model,
        root,
        "run.deterministic=true",
        "evaluator.adaptive_timeout=false",
        f"dataset.path={training}",
        f"dataset.held_out_path={held_out}",
        "dataset.allow_overlap=true",  # otherwise problems similar to held-out ones are dropped
        f"run.steps={STEPS}",
        "run.checkpoint_every=2",
        "generator.max_sequences=12",  # fewer than the requests of a step, so that some wait in the engine's queue
        "temperature.kind=diversity",
        "temperature.grid=[0.8,1.0]",
        "temperature.calibration_prompts=4",
        "evaluation.samples=2",
        "evaluation.other_temperatures=[0.3]",
        "evaluation.every=2",
        *overrides,
    )


def write_problems(path: Path, problems: list[Any]) -> None:
    path.write_text("".join(json.dumps(to_row(problem)) + "\n" for problem in problems))


def read_deterministic_metrics(directory: Path) -> list[dict[str, float]]:
    """Return the rows of metrics.jsonl without measured metrics, which differ between equal runs."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith(MEASURED_PREFIXES)} for row in rows]


@pytest.fixture(scope="module")
def killed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StoppedRun]:
    """Kill a run with kill -9 in its fourth step; return its directory and the stopped run."""
    directory = tmp_path_factory.mktemp("killed") / "small"
    return directory, stop_after(3, deterministic_command(model, directory.parent), directory, signal.SIGKILL)


@pytest.fixture(scope="module")
def runs(killed: tuple[Path, StoppedRun], model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Resume the killed run and run another one without interruption; return both directories."""
    directories = (killed[0], tmp_path_factory.mktemp("uninterrupted") / "small")
    for directory, overrides in zip(directories, (("run.resume=true",), ()), strict=True):
        done = run_command(deterministic_command(model, directory.parent, *overrides))
        assert done.returncode == 0, done.stdout + done.stderr
    return directories


def test_metrics_and_temperature_decisions_are_equal(runs: tuple[Path, Path]) -> None:
    killed, uninterrupted = (read_deterministic_metrics(directory) for directory in runs)
    assert [row["step"] for row in uninterrupted] == [*range(STEPS), STEPS]
    assert killed == uninterrupted
    assert len({row["temperature/ema"] for row in uninterrupted if "temperature/ema" in row}) > 1
    for name in ("temperature.jsonl",):
        assert (runs[0] / name).read_text() == (runs[1] / name).read_text()


def test_rollouts_are_equal(runs: tuple[Path, Path]) -> None:
    """Compare all columns but times, and check that each epoch has every problem exactly once."""
    question_ids: list[str] = []
    for step in range(STEPS):
        tables = [
            pq.read_table(directory / "rollouts" / f"step_{step:06d}.parquet").drop_columns(list(TIME_COLUMNS))
            for directory in runs
        ]
        assert tables[0].equals(tables[1]), f"step {step}"
        question_ids += tables[0]["question_id"].to_pylist()[::4]
    assert len(set(question_ids[:PROBLEMS])) == len(set(question_ids[PROBLEMS : 2 * PROBLEMS])) == PROBLEMS


def test_parameters_optimizer_and_driver_state_are_equal(runs: tuple[Path, Path]) -> None:
    checkpoints = [directory / "checkpoints" / f"step_{STEPS:06d}" for directory in runs]
    weights = [load_file(path / "model.safetensors") for path in checkpoints]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    states = [load_learner_state(path / "trainer") for path in checkpoints]
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert any("exp_avg_sq" in name for name in states[0])
    for name in ("driver.json", "ready.parquet", "rng_0_of_1.pt"):
        assert (checkpoints[0] / "trainer" / name).read_bytes() == (checkpoints[1] / "trainer" / name).read_bytes()


def load_learner_state(folder: Path) -> dict[str, Any]:
    """Return every tensor of the saved learner state, by name."""
    reader = dcp.FileSystemReader(str(folder))
    metadata = reader.read_metadata().state_dict_metadata
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    dcp.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def test_killed_driver_leaves_no_process_and_complete_files(
    killed: tuple[Path, StoppedRun], runs: tuple[Path, Path]
) -> None:
    """Depends on ``runs`` to run last: by then, most of Ray's processes have ended."""
    _, stopped = killed
    survivors = stopped.wait_for_survivors()
    assert not survivors, f"processes of the run are still alive: {survivors}"
    assert len(stopped.metrics) >= 3
    assert stopped.rollout_rows and set(stopped.rollout_rows) == {16}
