"""Plans of benchmarks/packing.py are measured round by round."""

import pytest

from benchmarks import packing
from benchmarks.packing import build_policy, make_batch, measure_plan


@pytest.mark.heavy
def test_the_slowest_rank_of_each_round_counts(monkeypatch):
    batch = make_batch(3)
    clock = iter([0.0, 1.0, 1.0, 4.0, 4.0, 9.0, 9.0, 11.0])
    monkeypatch.setattr(packing.time, "perf_counter", lambda: next(clock))
    measured = measure_plan(build_policy(), batch, [[[0], [1]], [[2], []]])
    assert (measured.slowest_s, measured.mean_s) == (3.0 + 5.0, 2.0 + 3.5)
