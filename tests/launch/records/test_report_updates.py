"""Updates of a run's report: when they start, and that they neither stop nor outlive the run."""

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from launch.records import report_updates
from launch.records.report_updates import LAST_DEADLINE_S, LOG, ReportUpdates
from tests.launch.run_report.run_factory import write_run

HANG = "import time; time.sleep(600)"


class Updates:
    """Updates of a run's report by programs other than the build; ``started`` has the processes in their order."""

    def __init__(self, path, monkeypatch):
        self.path = path
        self.started = []
        self.program = "pass"
        self.output = io.StringIO()
        self.popen = subprocess.Popen
        monkeypatch.setattr(report_updates.subprocess, "Popen", self.start)

    def start(self, command, **options):
        assert command == [sys.executable, "-m", "launch.run_report.update", str(self.path.absolute())]
        assert (options["cwd"] / "launch" / "run_report" / "update.py").is_file()
        self.started.append(self.popen([sys.executable, "-S", "-c", self.program], **options))
        return self.started[-1]

    def open(self, every):
        return ReportUpdates(self.path, every, Console(file=self.output, width=400))

    @property
    def text(self):
        return self.output.getvalue()


@pytest.fixture
def updates(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    updates = Updates(tmp_path / "run", monkeypatch)
    yield updates
    for process in updates.started:
        assert process.returncode is not None, "a build outlived the run"


@pytest.fixture
def short_deadline(monkeypatch):
    monkeypatch.setattr(report_updates, "LAST_DEADLINE_S", 0.05)


@pytest.mark.parametrize(("every", "due"), [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (4, [4]), (0, []), (7, [])])
def test_builds_are_due_every_so_many_steps(updates, every, due):
    with updates.open(every) as report:
        for steps in range(1, 7):
            before = len(updates.started)
            report.start_if_due(steps)
            assert len(updates.started) - before == (steps in due)
            if report.process is not None:
                report.process.wait(60)
    assert len(updates.started) == len(due) + 1  # and one at the end


def test_no_build_starts_while_one_runs(updates):
    updates.program = HANG
    with pytest.raises(KeyboardInterrupt), updates.open(1) as report:
        for steps in range(1, 5):
            report.start_if_due(steps)
        assert len(updates.started) == 1 and updates.started[0].poll() is None
        raise KeyboardInterrupt
    assert len(updates.started) == 1


def test_last_build_comes_after_one_that_still_runs(updates):
    updates.program = "import time; time.sleep(0.2)"
    with updates.open(1) as report:
        report.start_if_due(1)
    assert len(updates.started) == 2 and [process.returncode for process in updates.started] == [0, 0]
    assert updates.text == f"report: {updates.path / 'report' / 'index.html'}\n"


def test_output_of_a_build_is_logged(updates):
    updates.program = "import sys; print('progress'); print('reason', file=sys.stderr); sys.exit(3)"
    with updates.open(0):
        pass
    assert sorted((updates.path / LOG).read_text().split()) == ["progress", "reason"]
    assert updates.text == f"the report could not be built: {updates.path / LOG} says why\n"


def test_build_that_fails_during_the_run_does_not_stop_it(updates):
    updates.program = "raise SystemExit(1)"
    with updates.open(1) as report:
        report.start_if_due(1)
        report.process.wait(60)
        report.start_if_due(2)
        report.process.wait(60)
        updates.program = "pass"
    assert len(updates.started) == 3 and updates.text.startswith("report: ")


def test_build_that_cannot_start_is_a_warning(updates):
    (updates.path / "logs").write_text("a file in place of the folder")
    with updates.open(1) as report:
        report.start_if_due(1)
    assert updates.started == [] and updates.text.count("the report cannot be built: ") == 2


def test_program_that_cannot_be_started_is_a_warning(updates, monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError("no more processes")

    monkeypatch.setattr(report_updates.subprocess, "Popen", fail)
    with updates.open(1) as report:
        report.start_if_due(1)
    assert updates.text == "the report cannot be built: no more processes\n" * 2


@pytest.mark.usefixtures("short_deadline")
@pytest.mark.parametrize("during_the_run", [True, False])
def test_build_that_hangs_is_killed_at_the_end(updates, during_the_run):
    updates.program = HANG
    with updates.open(1) as report:
        if during_the_run:
            report.start_if_due(1)
    assert len(updates.started) == 1 and updates.started[0].returncode < 0
    assert updates.text.startswith("the report was not built within") and "python -m launch.report run=" in updates.text


def test_running_build_and_last_one_have_one_deadline(updates, monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    class Build:
        def __init__(self, seconds):
            self.seconds = seconds

        def wait(self, timeout):
            waits.append(timeout)
            clock.now += self.seconds
            return 0

        def poll(self):
            return 0

    clock = Clock()
    waits = []
    monkeypatch.setattr(report_updates, "time", clock)
    with updates.open(0) as report:
        report.process = Build(50.0)
        monkeypatch.setattr(report, "_start", lambda: setattr(report, "process", Build(1.0)))
    assert waits == [LAST_DEADLINE_S, LAST_DEADLINE_S - 50.0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
def test_run_that_is_cancelled_has_no_last_build(updates, error):
    updates.program = HANG
    with pytest.raises(error), updates.open(1) as report:
        report.start_if_due(1)
        raise error
    assert len(updates.started) == 1 and updates.started[0].returncode < 0 and updates.text == ""


def test_run_that_fails_has_a_last_build(updates):
    with pytest.raises(ValueError, match="why"), updates.open(0):
        raise ValueError("why")
    assert len(updates.started) == 1 and updates.started[0].returncode == 0


def test_interrupt_while_the_last_build_runs_ends_it(updates, monkeypatch):
    updates.program = HANG

    def interrupt(process, timeout):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(updates.popen, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt), updates.open(0):
        pass
    assert len(updates.started) == 1 and updates.started[0].returncode < 0


def test_path_with_control_characters_is_escaped(tmp_path, monkeypatch):
    path = tmp_path / "\x1b[31mrun"
    path.mkdir()
    updates = Updates(path, monkeypatch)
    with updates.open(0):
        pass
    assert "\x1b" not in updates.text and "[31mrun" in updates.text


@pytest.mark.heavy
def test_real_builds_of_a_run(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", planned_steps=9)
    monkeypatch.chdir(tmp_path)  # the package is found from any directory
    output = io.StringIO()
    with ReportUpdates(Path("run"), 2, Console(file=output, width=400)) as report:
        report.start_if_due(2)
        assert psutil.Process(report.process.pid).ppid() == os.getpid()
        report.process.wait(120)
        assert report.process.returncode == 0, (run / LOG).read_text()
    assert output.getvalue() == "report: run/report/index.html\n"
    assert (run / "report" / "index.html").is_file() and report.process.returncode == 0
