"""The driver's benchmark: its loop at a small size, its stopwatch, and its figures by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.scheduler import PYTHON, run, settings
from benchmarks.tools import run_scheduler
from benchmarks.tools.processes import child
from benchmarks.tools.run_scheduler import Stopwatch
from benchmarks.tools.scheduler_report import PARTS, DriverRun, RoundTrips, Setting, exponent, figures

MEGABYTE = 10**6


def result(groups, cpu_s, *, staleness=0, timed=False, steps=2):
    """Half of the time is crediting's."""
    half = dict.fromkeys(PARTS, 0.0) | {"crediting": cpu_s / 2}
    peaks = [100 * MEGABYTE, 200 * MEGABYTE, 210 * MEGABYTE]
    handovers = [0.001, 0.002, 0.1] if timed else []
    setting = Setting(groups=groups, steps=steps, max_staleness=staleness, timed=timed, generators=2, evaluators=3)
    return setting, DriverRun(
        completions=8 * groups * steps,
        tokens=1000,
        wall_s=2 * cpu_s,
        cpu_s=cpu_s,
        parts_wall=half,
        parts_cpu=half,
        peaks=peaks,
        handovers=handovers,
        lateness=[0.0, 0.003, 0.01],
    )


def test_figures_by_hand():
    instant = [result(2, 1.0), result(4, 2.0), result(8, 4.0), result(8, 5.0, staleness=1)]
    found = figures(
        instant,
        [result(8, 1.0, timed=True)],
        [RoundTrips(what="empty", calls=100, in_flight=10, wall_s=2.0, cpu_s=1.0)],
    )
    assert found["completions_per_s_all"] == 128 / 8
    assert found["completions_per_s"] == 128 / (8 - 2)
    assert found["completions_per_cpu_s"] == 128 / 2
    assert found["completions_per_s_all_ahead"] == 128 / 10
    assert (found["peak_rss_mb"], found["peak_growth"]) == (210, 1.05)
    assert found["cpu_exponent"] == pytest.approx(1.0)
    sizes: Any = found["sizes"]
    assert list(sizes) == ["16", "32", "64"]
    assert (found["handover_p50_ms"], found["handover_p99_ms"]) == (1.0, 2.0)
    assert (found["loop_late_p99_ms"], found["loop_late_max_ms"]) == (3.0, 10.0)
    assert found["ray_cpu_us_per_call"] == {"empty": 10_000}


def test_quadratic_cost_shows():
    assert exponent([result(2, 1.0), result(8, 16.0)]) == pytest.approx(2.0)
    assert exponent([result(2, 1.0), result(8, 8.0, steps=4)]) == pytest.approx(1.0)


def test_a_part_does_not_count_what_another_takes(monkeypatch):
    clock = {"wall": 100.0, "cpu": 10.0}

    def work(wall, cpu):
        clock.update(wall=clock["wall"] + wall, cpu=clock["cpu"] + cpu)

    monkeypatch.setattr(run_scheduler.time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(run_scheduler.time, "thread_time", lambda: clock["cpu"])
    inner = SimpleNamespace(run=lambda: work(4.0, 2.0))
    stopwatch = Stopwatch()
    outer = SimpleNamespace(run=lambda: work(1.0, 0.5) or inner.run() or 7)
    stopwatch.watch(inner, "run", "inner")
    stopwatch.watch(outer, "run", "outer")
    assert outer.run() == 7
    assert stopwatch.spent == {"inner": [4.0, 2.0], "outer": [1.0, 0.5]}


@pytest.mark.heavy
@pytest.mark.parametrize("staleness", [0, 1])
def test_the_loop_trains_on_every_completion(staleness):
    timed = staleness == 1
    setting, done = run(Setting(groups=3, steps=3, max_staleness=staleness, timed=timed, generators=2, evaluators=4))
    assert done.completions == 3 * 8 * setting.steps
    assert done.tokens > 400 * done.completions
    assert set(done.parts_cpu) == set(PARTS)
    assert 0 < done.scheduling_cpu_s < done.cpu_s
    assert len(done.peaks) == setting.steps
    assert len(done.handovers) == (3 if timed else 0)
    assert len(done.lateness) == 3


@pytest.mark.integration
def test_calls_of_a_ray_actor():
    with child(PYTHON, "benchmarks.tools.run_ray_calls", {"calls": 20, "in_flight": 5}) as caller:
        trips = [RoundTrips(**one) for one in caller.work().result]
    assert [one.what for one in trips] == ["empty", "generate", "judge"]
    assert all(one.wall_s > 0 and one.cpu_s > 0 for one in trips)


def test_sizes_and_staleness():
    instant, timed = settings([4, 8])
    assert [(one.groups, one.max_staleness) for one in instant] == [(4, 0), (8, 0), (8, 1)]
    assert [(one.groups, one.max_staleness, one.timed) for one in timed] == [(8, 0, True), (8, 1, True)]
