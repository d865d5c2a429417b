"""The driver as a person starts it: in a process of its own, with the quickstart cut down."""

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
"""Of a run, a step or a stop. It only protects against hanging: a busy machine is many times slower than a free one."""
STEPS = 2


def command(model: Path, runs: Path, *overrides: str) -> list[str]:
    """The quickstart, as small as it gets."""
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
        "cluster.num_cpus=4",
    ]
    return [sys.executable, "-m", "launch.driver", "+experiment=quickstart", *small, *overrides]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def wait_until(condition: Callable[[], bool], what: str, driver: subprocess.Popen[str]) -> None:
    """Until ``condition`` holds; a file that it reads may still be absent."""
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        assert driver.poll() is None, f"the driver ended before {what}: {driver.communicate()[0]}"
        try:
            if condition():
                return
        except FileNotFoundError:
            pass  # not written yet
        time.sleep(0.5)
    raise TimeoutError(f"{what} did not happen within {DEADLINE_S:g} s")


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A driver stopped in mid-run by a signal, and its run directory as it was then."""

    returncode: int
    printed: str
    family: Sequence[psutil.Process]
    """All processes below the driver when it got the signal."""
    metrics: Sequence[dict[str, float]]
    rollout_rows: Sequence[int]
    """Rows of every file of rollouts."""

    def survivors(self) -> list[psutil.Process]:
        """Wait for the processes below the driver to end; returns those that do not.

        After kill -9 Ray's own agents look for their dead cluster for a minute before they give up.
        """
        return psutil.wait_procs(self.family, timeout=DEADLINE_S)[1]


def stop_after(steps: int, arguments: list[str], directory: Path, number: signal.Signals) -> Stopped:
    """Start a driver, send it the signal ``number`` once it has finished ``steps`` steps, and wait for its end."""
    driver = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        metrics = directory / "metrics.jsonl"
        wait_until(lambda: metrics.read_text().count("\n") >= steps, f"step {steps}", driver)
        family = psutil.Process(driver.pid).children(recursive=True)
        assert any("vllm" in process.name().lower() for process in family)
        driver.send_signal(number)
        printed, _ = driver.communicate(timeout=DEADLINE_S)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()
    return Stopped(
        returncode=driver.returncode,
        printed=printed,
        family=family,
        metrics=[json.loads(line) for line in metrics.read_text().splitlines()],
        rollout_rows=[pq.read_table(path).num_rows for path in (directory / "rollouts").glob("*.parquet")],
    )
