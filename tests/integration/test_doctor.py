"""``launch.doctor`` on this machine, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def run_doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch.doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


def test_sound_machine_sums_over_all_processes_of_the_run(tmp_path: Path) -> None:
    run = run_doctor("+experiment=quickstart", "learner.ranks=2", f"run.root={tmp_path}", "cluster.num_cpus=4")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "64 MiB summed over 3 processes by gloo" in run.stdout
    assert run.stdout.endswith("nothing is missing\n")
    assert [*tmp_path.iterdir()] == []


def test_run_that_cannot_work_here_is_reported_with_what_to_do() -> None:
    run = run_doctor("+experiment=lcb_v6", "cluster.num_cpus=1", "generator.device=cuda", "learner.device=cuda")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "missing  all nodes plan: the plan needs" in run.stdout
    assert "do: " in run.stdout and "checks failed" in run.stdout
