"""Synthetic problems and summary of benchmarks/curate.py."""

import json

from benchmarks.curate import CurationMeasurement, RowSize, compute_summary, make_rows


def test_synthetic_rows_have_the_planted_shares():
    rows = [json.loads(line) for line in make_rows(1000, RowSize(), seed=0)]
    assert sum("private_test_cases" not in row for row in rows) == 10
    assert sum("reference_solutions" in row for row in rows) == 10
    statements = [row["question_content"] for row in rows if "question_content" in row]
    assert len(statements) - len(set(statements)) == 20
    first, again, other = ([*make_rows(20, RowSize(), seed)] for seed in (3, 3, 4))
    assert first == again != other


def test_summary_compares_the_largest_with_the_smallest_size():
    small = CurationMeasurement(rows=100, kept=90, wall_s=10.0, cpu_s=20.0, peak_mb=500, stage_rows_per_s={})
    large = CurationMeasurement(rows=1000, kept=900, wall_s=50.0, cpu_s=100.0, peak_mb=550, stage_rows_per_s={})
    summary = compute_summary([small, large])
    assert summary["rows_per_s"] == 20.0 and summary["cpu_ms_per_row"] == 100.0
    assert summary["peak_ratio"] == 1.1 and summary["cpu_per_row_ratio"] == 0.5
