"""Deterministic mode: a run that was killed with -9 and resumed equals one that was not, bit for bit."""

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
from launch.problems.starter import held_out_problems, training_problems
from tests.integration.driver_process import Stopped, command, run, stop_after

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.integration,
    pytest.mark.faults,
    pytest.mark.timeout(2400),
]
STEPS = 5
PROBLEMS = 10  # 4 a step: the third step reaches over the end of an epoch, so does the fifth
MEASURED = ("timing_s/", "perf/", "evaluator/seconds", "evaluator/queue", "evaluator/busy", "evaluator/repeated")
SECONDS = ("generation_seconds", "evaluation_seconds")


def arguments(model: Path, root: Path, *overrides: str) -> list[str]:
    """A run with evaluations and a temperature that is calibrated and then follows the diversity."""
    training = root / "training.jsonl"
    held_out = root / "held_out.jsonl"
    if not training.exists():
        write_problems(training, [starter.problem for starter in training_problems()[:PROBLEMS]])
        write_problems(held_out, [starter.problem for starter in held_out_problems()[:4]])
    return command(
        model,
        root,
        "run.deterministic=true",
        "evaluator.adaptive_timeout=false",
        f"dataset.path={training}",
        f"dataset.held_out_path={held_out}",
        "dataset.allow_overlap=true",  # else some of the few are left out for their likeness
        f"run.steps={STEPS}",
        "run.checkpoint_every=2",
        "generator.max_sequences=12",  # fewer than a step asks for: some wait in the engine's queue
        "temperature.kind=diversity",
        "temperature.grid=[0.8,1.0]",
        "temperature.calibration_prompts=4",
        "evaluation.samples=2",
        "evaluation.every=2",
        *overrides,
    )


def write_problems(path: Path, problems: list[Any]) -> None:
    path.write_text("".join(json.dumps(to_row(problem)) + "\n" for problem in problems))


def metrics(directory: Path) -> list[dict[str, float]]:
    """The rows, without what is measured and not decided."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith(MEASURED)} for row in rows]


@pytest.fixture(scope="module")
def killed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stopped]:
    """A run that is killed with -9 in its fourth step, and its directory."""
    directory = tmp_path_factory.mktemp("killed") / "small"
    return directory, stop_after(3, arguments(model, directory.parent), directory, signal.SIGKILL)


@pytest.fixture(scope="module")
def runs(killed: tuple[Path, Stopped], model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The directories of the killed run, which is resumed, and of one that was not killed."""
    directories = (killed[0], tmp_path_factory.mktemp("whole") / "small")
    for directory, overrides in zip(directories, (("run.resume=true",), ()), strict=True):
        done = run(arguments(model, directory.parent, *overrides))
        assert done.returncode == 0, done.stdout + done.stderr
    return directories


def test_metrics_and_decisions_are_equal(runs: tuple[Path, Path]) -> None:
    killed, whole = (metrics(directory) for directory in runs)
    assert [row["step"] for row in whole] == [*range(STEPS), STEPS]
    assert killed == whole
    assert len({row["temperature/ema"] for row in whole if "temperature/ema" in row}) > 1
    for name in ("temperature.jsonl",):
        assert (runs[0] / name).read_text() == (runs[1] / name).read_text()


def test_rollouts_are_equal(runs: tuple[Path, Path]) -> None:
    """Token ids, log-probs, verdicts, advantages, masks; problems in the same order over the epoch's end."""
    seen: list[str] = []
    for step in range(STEPS):
        tables = [
            pq.read_table(directory / "rollouts" / f"step_{step:06d}.parquet").drop_columns(list(SECONDS))
            for directory in runs
        ]
        assert tables[0].equals(tables[1]), f"step {step}"
        seen += tables[0]["question_id"].to_pylist()[::4]
    assert len(set(seen[:PROBLEMS])) == len(set(seen[PROBLEMS : 2 * PROBLEMS])) == PROBLEMS


def test_parameters_optimizer_and_drivers_state_are_equal(runs: tuple[Path, Path]) -> None:
    checkpoints = [directory / "checkpoints" / f"step_{STEPS:06d}" for directory in runs]
    weights = [load_file(path / "model.safetensors") for path in checkpoints]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    states = [saved_state(path / "trainer") for path in checkpoints]
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert any("exp_avg_sq" in name for name in states[0])
    for name in ("driver.json", "ready.parquet", "rng_0_of_1.pt"):
        assert (checkpoints[0] / "trainer" / name).read_bytes() == (checkpoints[1] / "trainer" / name).read_bytes()


def saved_state(folder: Path) -> dict[str, Any]:
    """Every tensor of the learner's state, by name."""
    reader = dcp.FileSystemReader(str(folder))
    metadata = reader.read_metadata().state_dict_metadata
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    dcp.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def test_a_killed_driver_leaves_nothing_behind(killed: tuple[Path, Stopped], runs: tuple[Path, Path]) -> None:
    """No process of the run survives, and its files are complete. (By now most of Ray's processes have ended.)"""
    _, stopped = killed
    survivors = stopped.survivors()
    assert not survivors, f"still running: {survivors}"
    assert len(stopped.metrics) >= 3
    assert stopped.rollout_rows and set(stopped.rollout_rows) == {16}
