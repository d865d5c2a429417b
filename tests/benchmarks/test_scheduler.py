"""The scheduler benchmark: its loop at a small size, its profiler, and its metrics against hand-computed values."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.scheduler import PYTHON, build_settings, run_loop
from benchmarks.tools import run_scheduler
from benchmarks.tools.processes import start_child
from benchmarks.tools.run_scheduler import FunctionProfiler
from benchmarks.tools.scheduler_report import (
    COMPONENTS,
    LoopMeasurement,
    LoopSettings,
    RayCallMeasurement,
    compute_summary,
    cpu_exponent,
)

MEGABYTE = 10**6


def make_measured_loop(groups, cpu_s, *, staleness=0, timed=False, steps=2):
    """Make a loop that uses half of its CPU time for crediting."""
    component_seconds = dict.fromkeys(COMPONENTS, 0.0) | {"crediting": cpu_s / 2}
    peaks = [100 * MEGABYTE, 200 * MEGABYTE, 210 * MEGABYTE]
    handovers = [0.001, 0.002, 0.1] if timed else []
    settings = LoopSettings(
        groups=groups, steps=steps, max_staleness=staleness, timed=timed, generators=2, evaluators=3
    )
    return settings, LoopMeasurement(
        completions=8 * groups * steps,
        tokens=1000,
        wall_s=2 * cpu_s,
        cpu_s=cpu_s,
        component_wall_s=component_seconds,
        component_cpu_s=component_seconds,
        peaks=peaks,
        handovers=handovers,
        lateness=[0.0, 0.003, 0.01],
    )


def test_compute_summary():
    instant = [
        make_measured_loop(2, 1.0),
        make_measured_loop(4, 2.0),
        make_measured_loop(8, 4.0),
        make_measured_loop(8, 5.0, staleness=1),
    ]
    summary = compute_summary(
        instant,
        [make_measured_loop(8, 1.0, timed=True)],
        [RayCallMeasurement(method="empty", calls=100, in_flight=10, wall_s=2.0, cpu_s=1.0)],
    )
    assert summary["completions_per_s_all"] == 128 / 8
    assert summary["completions_per_s"] == 128 / (8 - 2)
    assert summary["completions_per_cpu_s"] == 128 / 2
    assert summary["completions_per_s_all_ahead"] == 128 / 10
    assert (summary["peak_rss_mb"], summary["peak_growth"]) == (210, 1.05)
    assert summary["cpu_exponent"] == pytest.approx(1.0)
    sizes: Any = summary["sizes"]
    assert list(sizes) == ["16", "32", "64"]
    assert (summary["handover_p50_ms"], summary["handover_p99_ms"]) == (1.0, 2.0)
    assert (summary["loop_late_p99_ms"], summary["loop_late_max_ms"]) == (3.0, 10.0)
    assert summary["ray_cpu_us_per_call"] == {"empty": 10_000}


def test_cpu_exponent_is_two_for_quadratic_and_one_for_linear_cost():
    assert cpu_exponent([make_measured_loop(2, 1.0), make_measured_loop(8, 16.0)]) == pytest.approx(2.0)
    assert cpu_exponent([make_measured_loop(2, 1.0), make_measured_loop(8, 8.0, steps=4)]) == pytest.approx(1.0)


def test_function_profiler_subtracts_nested_functions(monkeypatch):
    clock = {"wall": 100.0, "cpu": 10.0}

    def work(wall, cpu):
        clock.update(wall=clock["wall"] + wall, cpu=clock["cpu"] + cpu)

    monkeypatch.setattr(run_scheduler.time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(run_scheduler.time, "thread_time", lambda: clock["cpu"])
    inner = SimpleNamespace(run=lambda: work(4.0, 2.0))
    profiler = FunctionProfiler()
    outer = SimpleNamespace(run=lambda: work(1.0, 0.5) or inner.run() or 7)
    profiler.wrap(inner, "run", "inner")
    profiler.wrap(outer, "run", "outer")
    assert outer.run() == 7
    assert profiler.seconds == {"inner": [4.0, 2.0], "outer": [1.0, 0.5]}


@pytest.mark.slow
@pytest.mark.parametrize("staleness", [0, 1])
def test_run_loop_trains_on_every_completion(staleness):
    timed = staleness == 1
    settings, loop = run_loop(
        LoopSettings(groups=3, steps=3, max_staleness=staleness, timed=timed, generators=2, evaluators=4)
    )
    assert loop.completions == 3 * 8 * settings.steps
    assert loop.tokens > 400 * loop.completions
    assert set(loop.component_cpu_s) == set(COMPONENTS)
    assert 0 < loop.scheduling_cpu_s < loop.cpu_s
    assert len(loop.peaks) == settings.steps
    assert len(loop.handovers) == (3 if timed else 0)
    assert len(loop.lateness) == 3


@pytest.mark.slow
@pytest.mark.integration
def test_run_ray_calls_measures_each_kind_of_call():
    with start_child(PYTHON, "benchmarks.tools.run_ray_calls", {"calls": 20, "in_flight": 5}) as child:
        measurements = [RayCallMeasurement(**row) for row in child.run_work().result]
    assert [calls.method for calls in measurements] == ["empty", "generate", "judge"]
    assert all(calls.wall_s > 0 and calls.cpu_s > 0 for calls in measurements)


def test_build_settings_varies_sizes_and_staleness():
    instant, timed = build_settings([4, 8])
    assert [(loop.groups, loop.max_staleness) for loop in instant] == [(4, 0), (8, 0), (8, 1)]
    assert [(loop.groups, loop.max_staleness, loop.timed) for loop in timed] == [(8, 0, True), (8, 1, True)]
