"""A training run as a process of its own, and what its run directory says of each step.

A step's seconds are those between the ends of two steps by the run's timeline: what happens between steps counts, too.
The first step has no end before it: it is the warm-up, and left out.
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

from benchmarks.tools.processes import ROOT, tree_cpu_seconds
from launch.records.timeline import FILE

Usage = Sequence[tuple[float, float]]  # moments in time.time's seconds, CPU seconds up to each
LAST_LAP = "bookkeeping"  # of a step, on the driver's track
LOOK_S = 2.0  # between two looks at a run's processes
END_S = 60.0  # for a run to end after it was asked to
LOG_TAIL = 3000  # characters of a failed run's output that are shown
GENERATOR = "ray::GeneratorActor"
LEARNER = "ray::LearnerActor"


class TrainerFailed(RuntimeError):
    """A run ended with an error, or not in time; the message ends with the end of its output."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step: wall seconds, real tokens (prompts and responses), seconds of its phases by ``timing_s``'s names.

    ``cpu_s``: CPU seconds of all processes of the side.
    """

    seconds: float
    cpu_s: float
    tokens: float
    phases: Mapping[str, float]

    @property
    def learning(self) -> float:
        """Seconds in which the learner computed."""
        return self.phases["old_log_prob"] + self.phases["update_actor"]


@dataclass(frozen=True)
class TrainerRun:
    """A finished run's steps but the first, its configuration, and its rollouts: of every step, also the first."""

    steps: tuple[Step, ...]
    config: Mapping[str, Any]
    rollouts: tuple[Sequence[Mapping[str, Any]], ...]

    @property
    def limits(self) -> dict[str, Any]:
        """Of a program, by the names of ``evaluator.Limits``."""
        return {key: self.config["evaluator"][key] for key in ("wall_s", "cpu_s", "memory_mb", "budget_s")}

    @property
    def workers(self) -> int:
        """Programs judged at once."""
        return int(self.config["evaluator"]["max_actors"] * self.config["evaluator"]["workers"])


def run_trainer(folder: Path, overrides: Sequence[str], deadline_s: float, pinned: bool = False) -> TrainerRun:
    """``launch.driver`` with ``overrides``, in ``folder``. ``pinned``: see ``pin``. Raises TrainerFailed."""
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
    ends = time.monotonic() + deadline_s
    usage = [(time.time(), 0.0)]
    try:
        while process.poll() is None and time.monotonic() < ends:
            if pinned:
                pin(process.pid)
            usage.append((time.time(), tree_cpu_seconds(process.pid)))
            time.sleep(LOOK_S)
    finally:
        late = process.poll() is None
        end(process)
    if process.returncode != 0 or late:
        reason = f"not done after {deadline_s:.0f} s" if late else f"exit status {process.returncode}"
        raise TrainerFailed(f"{' '.join(command)}: {reason}: {log.read_text(errors='replace')[-LOG_TAIL:]}")
    return read_run(folder, usage)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a run that still goes on to end, then end all its processes."""
    if process.poll() is not None:
        return
    tree = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in tree:
        try:
            left.kill()
        except psutil.NoSuchProcess:
            continue


def read_run(folder: Path, usage: Usage) -> TrainerRun:
    """What a finished run left in its directory. ``usage``: CPU seconds of the run up to moments of its time."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "timing_s/step" in row]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    rollouts = tuple(pq.read_table(path).to_pylist() for path in sorted((folder / "rollouts").glob("*.parquet")))
    ends = step_ends(json.loads((folder / FILE).read_text()))
    return TrainerRun(steps_of(trained, ends, usage), config, rollouts)


def step_ends(events: Iterable[Mapping[str, Any]]) -> list[float]:
    """When each step ended, in seconds, ascending; ``events`` are the timeline's."""
    return sorted((event["ts"] + event["dur"]) / 1e6 for event in events if event["name"] == LAST_LAP)


def steps_of(rows: Sequence[Mapping[str, float]], ends: Sequence[float], usage: Usage) -> tuple[Step, ...]:
    """The steps but the first. ``rows`` of the metrics, and when each of these steps ended.

    CPU seconds are interpolated between the looks at the run.
    """
    if len(rows) != len(ends):
        raise ValueError(f"{len(rows)} steps in metrics.jsonl, {len(ends)} in {FILE}: not of one run")
    cpu_s = np.diff(np.interp(ends, *np.transpose(usage))).tolist()
    return tuple(
        Step(
            seconds=ended - before,
            cpu_s=used,
            tokens=row["perf/throughput"] * row["timing_s/step"],
            phases=phases_of(row),
        )
        for row, before, ended, used in zip(rows[1:], ends, ends[1:], cpu_s, strict=False)
    )


def phases_of(row: Mapping[str, float]) -> dict[str, float]:
    """``timing_s``'s figures of a row of the metrics, without the prefix."""
    prefix = "timing_s/"
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def pin(driver: int) -> None:
    """Keep the engines of a run on the first core that this process may use, its learner on the second.

    Each with all processes below it and all their threads. Sandboxes and the driver go where there is room. Threads
    start after their process, so this is called again and again.
    """
    generator, learner = sorted(os.sched_getaffinity(0))[:2]
    for process in _children(driver):
        title = _title(process)
        for role, core in ((GENERATOR, generator), (LEARNER, learner)):
            if title.startswith(role):
                for one in (process, *_children(process.pid)):
                    _keep_on(one.pid, core)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def _keep_on(pid: int, core: int) -> None:
    """All threads of a process; one that has ended meanwhile needs no core."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return
    for thread in threads:
        try:
            os.sched_setaffinity(int(thread), {core})
        except ProcessLookupError:
            continue
