"""Run a training run in a process of its own, and read each step's time, CPU time and tokens from its run directory.

A step lasts from the end of the previous step to its own end in the run's timeline, so time between steps counts. The
first step has no previous end: it is the warm-up and is dropped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import yaml

from benchmarks.tools.processes import ROOT, measure_tree_cpu_seconds
from launch.records.timeline import FILE

CpuSamples = Sequence[tuple[float, float]]
"""(time as of ``time.time``, CPU seconds used until then) pairs."""
LAST_PHASE = "record"  # last span of a step on the driver's track of the timeline
SAMPLE_INTERVAL_S = 2.0  # between two CPU samples of a run
TERMINATION_TIMEOUT_S = 60.0  # from SIGTERM to SIGKILL
LOG_TAIL_CHARACTERS = 3000  # shown of a failed run's output
GENERATOR = "ray::GeneratorActor"
LEARNER = "ray::LearnerActor"


class TrainerError(RuntimeError):
    """A training run failed or missed its deadline; the message ends with the tail of its output."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMeasurement:
    """Cost of a training step.

    Attributes:
        seconds: wall seconds.
        cpu_s: CPU seconds of all processes of the trainer.
        tokens: real tokens, of prompts and responses.
        phases: seconds of each phase, by the names of the ``timing_s`` metrics.
    """

    seconds: float
    cpu_s: float
    tokens: float
    phases: Mapping[str, float]

    @property
    def learning(self) -> float:
        """Seconds in which the learner computes."""
        return self.phases["old_log_prob"] + self.phases["update_actor"]


@dataclass(frozen=True)
class TrainerRun:
    """A finished training run.

    Attributes:
        steps: measured steps, without the first.
        config: configuration.
        rollouts: rows of the rollout file of each step, the first included.
    """

    steps: tuple[StepMeasurement, ...]
    config: Mapping[str, Any]
    rollouts: tuple[Sequence[Mapping[str, Any]], ...]

    @property
    def limits(self) -> dict[str, Any]:
        """Limits of a program, as keyword arguments of ``evaluator.Limits``."""
        return {key: self.config["evaluator"][key] for key in ("wall_s", "cpu_s", "memory_mb", "budget_s")}

    @property
    def workers(self) -> int:
        """Number of programs judged at a time."""
        return int(self.config["evaluator"]["max_actors"] * self.config["evaluator"]["workers"])


def run_trainer(folder: Path, overrides: Sequence[str], deadline_s: float, pinned: bool = False) -> TrainerRun:
    """Run ``launch.driver`` and read its run directory.

    Args:
        folder: run directory; the output goes to a file beside it.
        overrides: configuration overrides.
        deadline_s: seconds after which the run is ended.
        pinned: keep generators and learner on a core each (see ``pin_to_cores``).

    Raises:
        TrainerError: the run failed or missed its deadline.
    """
    command = [
        sys.executable,
        "-m",
        "launch.driver",
        *overrides,
        f"run.root={folder.parent}",
        f"run.name={folder.name}",
    ]
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT)
    deadline = time.monotonic() + deadline_s
    cpu_samples = [(time.time(), 0.0)]
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if pinned:
                pin_to_cores(process.pid)
            cpu_samples.append((time.time(), measure_tree_cpu_seconds(process.pid)))
            time.sleep(SAMPLE_INTERVAL_S)
    finally:
        is_late = process.poll() is None
        terminate(process)
    if process.returncode != 0 or is_late:
        reason = f"not finished after {deadline_s:.0f} s" if is_late else f"exit status {process.returncode}"
        raise TrainerError(f"{' '.join(command)}: {reason}: {log.read_text(errors='replace')[-LOG_TAIL_CHARACTERS:]}")
    return read_run(folder, cpu_samples)


def terminate(process: subprocess.Popen[bytes]) -> None:
    """Ask a running process to terminate, then kill it and all its descendants."""
    if process.poll() is not None:
        return
    descendants = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(TERMINATION_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for descendant in descendants:
        try:
            descendant.kill()
        except psutil.NoSuchProcess:
            continue


def read_run(folder: Path, cpu_samples: CpuSamples) -> TrainerRun:
    """Read the run directory of a finished run; ``cpu_samples`` cover the time of the run."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    step_rows = [row for row in rows if "timing_s/step" in row]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    rollouts = tuple(pq.read_table(path).to_pylist() for path in sorted((folder / "rollouts").glob("*.parquet")))
    ends = find_step_ends(json.loads((folder / FILE).read_text()))
    return TrainerRun(build_steps(step_rows, ends, cpu_samples), config, rollouts)


def find_step_ends(events: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return the time in seconds at which each step ended, ascending; ``events`` are those of the timeline."""
    return sorted((event["ts"] + event["dur"]) / 1e6 for event in events if event["name"] == LAST_PHASE)


def build_steps(
    rows: Sequence[Mapping[str, float]], ends: Sequence[float], cpu_samples: CpuSamples
) -> tuple[StepMeasurement, ...]:
    """Build the measurements of all steps but the first.

    Args:
        rows: metrics of each step.
        ends: time at which each step ended.
        cpu_samples: CPU samples of the run, between which CPU seconds are interpolated.

    Raises:
        ValueError: ``rows`` and ``ends`` have different lengths.
    """
    if len(rows) != len(ends):
        raise ValueError(f"{len(rows)} steps in metrics.jsonl, {len(ends)} in {FILE}: the files are of different runs")
    cpu_s = np.diff(np.interp(ends, *np.transpose(cpu_samples))).tolist()
    return tuple(
        StepMeasurement(
            seconds=end - previous_end,
            cpu_s=step_cpu_s,
            tokens=row["perf/throughput"] * row["timing_s/step"],
            phases=extract_phases(row),
        )
        for row, previous_end, end, step_cpu_s in zip(rows[1:], ends, ends[1:], cpu_s, strict=False)
    )


def extract_phases(row: Mapping[str, float]) -> dict[str, float]:
    """Return the ``timing_s`` metrics of a row, without the prefix."""
    prefix = "timing_s/"
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def pin_to_cores(driver_pid: int) -> None:
    """Pin a run's generators to the first core that this process may use, and its learner to the second.

    All threads of the actors and of their descendants are pinned. Sandboxes and the driver may run on any core. Threads
    start after their process, so this has to be called repeatedly during a run.
    """
    generator_core, learner_core = sorted(os.sched_getaffinity(0))[:2]
    for process in _descendants(driver_pid):
        title = _title(process)
        for actor, core in ((GENERATOR, generator_core), (LEARNER, learner_core)):
            if title.startswith(actor):
                for pinned_process in (process, *_descendants(process.pid)):
                    _pin_threads(pinned_process.pid, core)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def _pin_threads(pid: int, core: int) -> None:
    """Pin all threads of a process to ``core``; threads that have ended are skipped."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return
    for thread in threads:
        try:
            os.sched_setaffinity(int(thread), {core})
        except ProcessLookupError:
            continue
