"""The driver as a person starts it: in a process of its own, with the quickstart cut down."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 300.0
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
