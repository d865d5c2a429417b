"""Run the driver's command in a child process, with a small version of the quickstart."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

DEADLINE_S = 600.0
"""Deadline of a run, a step or a stop. Generous, because a busy machine is many times slower: it only catches hangs."""
STEPS = 2


def driver_command(model: Path, runs: Path, *overrides: str) -> list[str]:
    """Return the driver's command for a minimal quickstart with ``model``, in the run directory ``runs / "small"``."""
    small = [
        f"model.path={model}",
        f"run.root={runs}",
        "run.name=small",
        f"run.steps={STEPS}",
        "run.checkpoint_every=1",
        "algorithm.group_size=4",
        "algorithm.train_batch_size=4",
        "algorithm.mini_batch_size=2",
        "generator.max_response_tokens=48",
        "evaluation.samples=0",
        "temperature.kind=fixed",
        "cluster.num_cpus=4",
    ]
    return [sys.executable, "-m", "launch.driver", "+experiment=quickstart", *small, *overrides]


def run_command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its exit status and output."""
    return subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def wait_until(condition: Callable[[], bool], event: str, driver: subprocess.Popen[str]) -> None:
    """Wait until ``condition()`` is true; a FileNotFoundError counts as false.

    Args:
        condition: what to wait for.
        event: description of ``condition`` for error messages.
        driver: process of the driver, which must not end before.

    Raises:
        TimeoutError: ``condition()`` was not true within DEADLINE_S seconds.
    """
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert driver.poll() is None, f"the driver exited before {event}: {driver.communicate()[0]}"
        try:
            if condition():
                return
        except FileNotFoundError:
            pass  # not written yet
        time.sleep(0.5)
    raise TimeoutError(f"timed out waiting for {event} after {DEADLINE_S:g} s")


@dataclass(frozen=True, kw_only=True)
class StoppedRun:
    """A driver that was stopped by a signal during a run, and the state of its run directory.

    Attributes:
        returncode: exit status of the driver.
        output: text printed by the driver.
        descendants: all descendant processes of the driver at the time of the signal.
        metrics: rows of metrics.jsonl.
        rollout_rows: number of rows of each rollout file.
    """

    returncode: int
    output: str
    descendants: Sequence[psutil.Process]
    metrics: Sequence[dict[str, float]]
    rollout_rows: Sequence[int]

    def wait_for_survivors(self) -> list[psutil.Process]:
        """Wait for the driver's descendants to end; return those that do not within DEADLINE_S seconds.

        After kill -9, Ray's own agents search for their dead cluster for a minute before they exit.
        """
        return psutil.wait_procs(self.descendants, timeout=DEADLINE_S)[1]


def stop_after(steps: int, arguments: list[str], directory: Path, signal_number: signal.Signals) -> StoppedRun:
    """Start a driver, signal it after some steps, and wait for its end.

    Args:
        steps: completed steps after which the signal is sent.
        arguments: command of the driver.
        directory: run directory.
        signal_number: signal to send.
    """
    driver = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        metrics = directory / "metrics.jsonl"
        wait_until(lambda: metrics.read_text().count("\n") >= steps, f"step {steps}", driver)
        descendants = psutil.Process(driver.pid).children(recursive=True)
        assert any("vllm" in process.name().lower() for process in descendants)
        driver.send_signal(signal_number)
        output, _ = driver.communicate(timeout=DEADLINE_S)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()
    return StoppedRun(
        returncode=driver.returncode,
        output=output,
        descendants=descendants,
        metrics=[json.loads(line) for line in metrics.read_text().splitlines()],
        rollout_rows=[pq.read_table(path).num_rows for path in (directory / "rollouts").glob("*.parquet")],
    )
