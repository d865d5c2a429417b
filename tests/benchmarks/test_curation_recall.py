"""Benchmark of planted defects: its figures, and a small pool from end to end."""

import pytest

from benchmarks.curation_recall import Finding, compute_recall, find_defects, list_errors
from benchmarks.tools.planted_defects import Defect, PlantedPool, build_pool
from evaluator import Evaluator, Limits
from launch.curation.filtering.overlap import TestSet
from launch.curation.verification.intervals import Share
from tests.launch.curation.candidates import make_candidate


def test_recall_counts_planted_defects_and_precision_counts_found_ones():
    candidates = tuple(make_candidate(f"set/{number}") for number in range(4))
    defects = {"set/0": Defect.FLAKY, "set/1": Defect.FLAKY}
    pool = PlantedPool(candidates, defects, TestSet("empty", ()))
    flaky = Finding((Defect.FLAKY.value,), "two runs")
    found = {"set/0": flaky, "set/1": Finding(()), "set/2": flaky, "set/3": Finding(())}
    recall, precision = compute_recall(pool, found)[Defect.FLAKY]
    assert (recall, precision) == (Share(1, 2), Share(1, 2))
    assert list_errors(pool, found) == {
        "flaky reference found as no defect": ["set/1"],
        "no defect found as flaky reference": ["set/2 two runs"],
    }


@pytest.mark.heavy
def test_planted_defects_are_found():
    """Every planted defect is found for its reason, but for near duplicates, whose similarity is an estimate."""
    with Evaluator(Limits(wall_s=6.0, cpu_s=6.0), workers=2) as evaluator:
        pool = build_pool(clean=12, planted=2, evaluator=evaluator)
        found = find_defects(pool, evaluator)
    assert len(pool.candidates) == 12 + 2 * len(Defect)
    shares = compute_recall(pool, found)
    assert shares.pop(Defect.NEAR_DUPLICATE)[0].hits >= 1
    assert {defect: recall.hits for defect, (recall, _) in shares.items()} == dict.fromkeys(shares, 2)
