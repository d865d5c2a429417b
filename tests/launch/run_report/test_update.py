"""Process that builds the report of a run: priority, deadline, exit status."""

import os
import signal
import subprocess
import sys

import pytest

from launch.run_report.update import NICENESS
from tests.launch.run_report.run_factory import write_run
from tests.source_tree import ROOT

pytestmark = pytest.mark.heavy


def run_update(run, *statements):
    """Run the process, with statements before its start."""
    lines = (
        "import os, sys",
        "from launch.run_report import update",
        *statements,
        "update.main()",
        "print(os.nice(0))",
    )
    command = [sys.executable, "-c", "\n".join(lines), str(run)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_report_is_built_at_the_lowest_priority(tmp_path):
    run = write_run(tmp_path / "run")
    done = run_update(run)
    assert (done.returncode, done.stdout) == (0, f"{NICENESS}\n"), done.stderr
    assert (run / "report" / "index.html").is_file()


def test_process_ends_itself_at_its_deadline(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "config.yaml").unlink()
    os.mkfifo(run / "config.yaml")  # reading it never ends
    done = run_update(run, "update.DEADLINE_S = 1")
    assert done.returncode == -signal.SIGALRM and done.stdout == ""


def test_report_that_cannot_be_written_is_a_failure(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "report").write_text("a file in place of the folder")
    done = run_update(run)
    assert done.returncode == 1 and "set output=DIR" in done.stderr
