"""Training runs of the pipeline benchmark: reading a run directory, pinning and ending the run's processes."""

import json
import os
import subprocess
import time

import psutil
import pytest

from benchmarks.tools import trainer_run
from benchmarks.tools.trainer_run import (
    TrainerError,
    build_steps,
    extract_phases,
    find_step_ends,
    pin_to_cores,
    run_trainer,
    terminate,
)
from launch.records.timeline import Timeline


def metrics_row(step, seconds=5.0):
    return {"step": step, "timing_s/step": seconds, "timing_s/reward": 0.5, "perf/throughput": 200.0, "actor/lr": 1.0}


def test_build_steps_measures_from_end_to_end(tmp_path):
    timeline = Timeline(tmp_path)
    for started in (0.0, 6.0, 13.0):
        timeline.add_span("driver", "publish", started, started + 4.0)
        timeline.add_span("driver", "record", started + 4.0, started + 5.0)
    timeline.flush()
    ends = find_step_ends(json.loads((tmp_path / "timeline.json").read_text()))
    rows = [metrics_row(0), metrics_row(1), metrics_row(2)]
    first, second = build_steps(rows, ends, [(ends[0] - 5.0, 0.0), (ends[2] + 5.0, 46.0)])
    assert (first.seconds, second.seconds) == pytest.approx((6.0, 7.0), abs=1e-5)
    assert (first.cpu_s, second.cpu_s) == pytest.approx((12.0, 14.0), abs=1e-3)
    assert first.tokens == 1000.0
    assert first.phases == {"step": 5.0, "reward": 0.5}


def test_build_steps_rejects_a_timeline_of_another_run():
    with pytest.raises(ValueError, match=r"2 steps in metrics.jsonl, 3 in timeline.json"):
        build_steps([metrics_row(0), metrics_row(1)], [1.0, 2.0, 3.0], [(0.0, 0.0)])


def test_extract_phases_ignores_other_metrics():
    assert extract_phases({"timing_s/wait/drain": 1.0, "perf/throughput": 2.0}) == {"wait/drain": 1.0}


@pytest.fixture
def driver():
    """Process with two children: one is named like a generator actor and has a child itself."""
    script = "exec -a ray::GeneratorActor.generate bash -c 'sleep 600; true' & exec -a other sleep 600 & wait"
    process = subprocess.Popen(["bash", "-c", script])
    wait_until(lambda: len(psutil.Process(process.pid).children(recursive=True)) == 3)
    yield process
    terminate(process)


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def wait_until(condition):
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_pin_to_cores_pins_generators_with_their_descendants(driver):
    pin_to_cores(driver.pid)
    affinities = {
        " ".join(process.cmdline()): process.cpu_affinity()
        for process in psutil.Process(driver.pid).children(recursive=True)
    }
    cores = sorted(os.sched_getaffinity(0))
    (generator,) = [affinity for title, affinity in affinities.items() if title.startswith("ray::GeneratorActor")]
    assert generator == cores[:1]
    assert affinities["sleep 600"] == cores[:1]
    assert affinities["other 600"] == cores


def test_terminate_ends_all_descendants(driver):
    descendants = psutil.Process(driver.pid).children(recursive=True)
    terminate(driver)
    wait_until(lambda: not any(is_alive(process) for process in descendants))


@pytest.mark.integration
def test_run_trainer_reports_the_output_of_a_failed_run(tmp_path):
    with pytest.raises(TrainerError, match=r"exit status [1-9][\s\S]*no_such_key"):
        run_trainer(tmp_path / "run", ["+experiment=quickstart", "+run.no_such_key=1"], 120.0)


def test_run_trainer_ends_a_run_at_the_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_run, "SAMPLE_INTERVAL_S", 0.1)
    with pytest.raises(TrainerError, match="not finished after 0 s"):
        run_trainer(tmp_path / "run", ["+experiment=quickstart"], 0.0)
