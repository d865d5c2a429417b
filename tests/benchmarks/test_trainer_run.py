"""What the pipeline's benchmark reads of a run, and how it treats the run's processes."""

import json
import os
import subprocess
import time

import psutil
import pytest

from benchmarks.tools import trainer_run
from benchmarks.tools.trainer_run import TrainerFailed, end, phases_of, pin, run_trainer, step_ends, steps_of
from launch.records.timeline import Timeline


def row(step, seconds=5.0):
    return {"step": step, "timing_s/step": seconds, "timing_s/reward": 0.5, "perf/throughput": 200.0, "actor/lr": 1.0}


def test_a_steps_seconds_reach_from_end_to_end(tmp_path):
    timeline = Timeline(tmp_path)
    for started in (0.0, 6.0, 13.0):
        timeline.span("driver", "publish", started, started + 4.0)
        timeline.span("driver", "bookkeeping", started + 4.0, started + 5.0)
    timeline.flush()
    ends = step_ends(json.loads((tmp_path / "timeline.json").read_text()))
    first, second = steps_of([row(0), row(1), row(2)], ends, [(ends[0] - 5.0, 0.0), (ends[2] + 5.0, 46.0)])
    assert (first.seconds, second.seconds) == pytest.approx((6.0, 7.0), abs=1e-5)
    assert (first.cpu_s, second.cpu_s) == pytest.approx((12.0, 14.0), abs=1e-3)
    assert first.tokens == 1000.0
    assert first.phases == {"step": 5.0, "reward": 0.5}


def test_a_timeline_of_another_run_is_refused():
    with pytest.raises(ValueError, match=r"2 steps in metrics.jsonl, 3 in timeline.json"):
        steps_of([row(0), row(1)], [1.0, 2.0, 3.0], [(0.0, 0.0)])


def test_phases_are_timings_only():
    assert phases_of({"timing_s/wait/drain": 1.0, "perf/throughput": 2.0}) == {"wait/drain": 1.0}


@pytest.fixture
def driver():
    """A process with one below it that calls itself an engine, which has one below it."""
    script = "exec -a ray::GeneratorActor.generate bash -c 'sleep 600; true' & exec -a other sleep 600 & wait"
    process = subprocess.Popen(["bash", "-c", script])
    until(lambda: len(psutil.Process(process.pid).children(recursive=True)) == 3)
    yield process
    end(process)


def until(reached):
    deadline = time.monotonic() + 60.0
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_an_engine_and_what_is_below_it_keep_to_one_core(driver):
    pin(driver.pid)
    below = {" ".join(one.cmdline()): one.cpu_affinity() for one in psutil.Process(driver.pid).children(recursive=True)}
    cores = sorted(os.sched_getaffinity(0))
    (engine,) = [affinity for title, affinity in below.items() if title.startswith("ray::GeneratorActor")]
    assert engine == cores[:1]
    assert below["sleep 600"] == cores[:1]
    assert below["other 600"] == cores


def test_nothing_of_a_run_outlives_its_end(driver):
    below = psutil.Process(driver.pid).children(recursive=True)
    end(driver)
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in below))


@pytest.mark.integration
def test_a_run_that_fails_says_why(tmp_path):
    with pytest.raises(TrainerFailed, match=r"exit status [1-9][\s\S]*no_such_key"):
        run_trainer(tmp_path / "run", ["+experiment=quickstart", "+run.no_such_key=1"], 120.0)


def test_a_run_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_run, "LOOK_S", 0.1)
    with pytest.raises(TrainerFailed, match="not done after 0 s"):
        run_trainer(tmp_path / "run", ["+experiment=quickstart"], 0.0)
