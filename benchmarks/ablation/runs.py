"""Runs of the ablation: each is ``launch.driver`` in a process of its own, resumed if it was killed before."""

from __future__ import annotations

import datetime
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from benchmarks.ablation.arms import BASE, Arm
from benchmarks.ablation.rows import CURVES, Row, Scored
from benchmarks.tools.processes import ROOT
from benchmarks.tools.trainer_run import terminate
from evaluator.inside import kernel
from launch.records.gains import count_attempts, read_answers
from launch.records.run_directory import write_text_atomically

RUNS = ROOT / "runs" / "ablation"
CALIBRATION = "calibration.json"
STEP_TIMEOUT_S = 120.0
"""Largest mean seconds per step, start and evaluations included; a run that needs more has hung."""


class RunError(RuntimeError):
    """A run failed; the message has the tail of its output."""


def train_arm(arm: Arm, seed: int, environment: str, method: Row | None) -> Row:
    """Train an arm, or continue its run where a kill ended it, and return its row.

    The arm uses the method's calibration: measured again, it could choose another temperature by chance, and then the
    difference between the two would be that of the temperatures.

    Args:
        arm: the arm.
        seed: seed of the run.
        environment: hash of the environment.
        method: the method's row of the same seed; None for the method itself.

    Raises:
        RunError: the run fails or does not end in time.
    """
    name = f"{environment}/{arm.name}-{seed}"
    directory = RUNS / name
    is_begun = directory.is_dir()
    if method is not None and not is_begun:
        directory.mkdir(parents=True)
        write_text_atomically(directory / CALIBRATION, json.dumps(method.calibration))
    overrides = (*BASE, *arm.overrides, f"run.seed={seed}", f"run.resume={str(is_begun).lower()}")
    run_driver(overrides, RUNS, name, STEP_TIMEOUT_S * _count_steps(arm))
    return read_run(directory, arm.name, seed, environment)


def run_driver(overrides: Sequence[str], root: Path, name: str, timeout_s: float) -> None:
    """Run ``launch.driver`` in a process of its own, with its output in a log beside the run's directory.

    Args:
        overrides: settings of the run.
        root: directory of runs, inside the repository.
        name: name of the run, its directory's path in ``root``.
        timeout_s: seconds that the run may take.

    Raises:
        RunError: the run fails or does not end in time.
    """
    command = [
        sys.executable, "-m", "launch.driver", *overrides, f"run.root={root.relative_to(ROOT)}", f"run.name={name}",
    ]  # fmt: skip
    log = root / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_end_with_the_parent
        )
        try:
            status = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise RunError(f"{name}: not ready after {error.timeout:.0f} s; output: {log}") from error
        finally:
            terminate(process)
    if status != 0:
        raise RunError(f"{' '.join(command)} ended with status {status}:\n{log.read_text()[-3000:]}")


def _end_with_the_parent() -> None:
    """Let the driver stop, as with SIGTERM, when this process is killed."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)


def _count_steps(arm: Arm) -> int:
    (*_, last) = [override for override in (*BASE, *arm.overrides) if override.startswith("run.steps=")]
    return int(last.removeprefix("run.steps="))


def read_run(directory: Path, arm: str, seed: int, environment: str) -> Row:
    """Make the row of a completed run from its directory."""
    settings = yaml.safe_load((directory / "config.yaml").read_text())
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in metrics if "timing_s/step" in row]
    evaluation = settings["evaluation"]
    folders = {evaluation["temperature"]: directory / "evaluation"} | {
        temperature: directory / "evaluation" / f"T{temperature:g}" for temperature in evaluation["other_temperatures"]
    }
    calibration = directory / CALIBRATION
    return Row(
        arm=arm,
        seed=seed,
        environment=environment,
        commit=json.loads((directory / "environment.json").read_text())["commit"],
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        settings=settings,
        calibration=json.loads(calibration.read_text()) if calibration.exists() else None,
        problems=_read_problems(directory / "evaluation" / "step_000000.parquet"),
        curves={name: [row.get(name) for row in steps] for name in CURVES},
        evaluations=tuple(
            scored for temperature, folder in folders.items() for scored in _read_evaluations(folder, temperature)
        ),
    )


def _read_problems(path: Path) -> dict[str, tuple[str, str]]:
    rows: list[dict[str, Any]] = pq.read_table(path, columns=["question_id", "platform", "family"]).to_pylist()
    return {row["question_id"]: (row["platform"], row["family"]) for row in rows}


def _read_evaluations(folder: Path, temperature: float) -> list[Scored]:
    evaluations = []
    for file in sorted(folder.glob("step_*.parquet")):
        answers = read_answers(file)
        counts = count_attempts(answers, {answer.question_id for answer in answers})
        attempts = {name: (each.tried, each.passed) for name, each in counts.items()}
        step = int(file.stem.removeprefix("step_"))
        evaluations.append(Scored(step=step, temperature=temperature, attempts=attempts))
    return evaluations
