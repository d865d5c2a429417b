"""Columns of a verdict, shared by the Parquet files of rollouts and of evaluations."""

from __future__ import annotations

import pyarrow as pa

from evaluator.verdict import Verdict

VERDICT_FIELDS = (
    ("status", pa.string()),
    ("accepted_by", pa.string()),
    ("first_failed", pa.int32()),
    ("tests_passed", pa.int32()),
    ("tests_total", pa.int32()),
    ("failed_input", pa.string()),
    ("failed_expected", pa.string()),
    ("failed_actual", pa.string()),
)
"""Names and types of the columns."""


def make_verdict_columns(verdict: Verdict) -> dict[str, object]:
    """Return the values of ``VERDICT_FIELDS`` by name."""
    failed = verdict.failed_test
    return {
        "status": str(verdict.status),
        "accepted_by": verdict.accepted_by,
        "first_failed": verdict.first_failed,
        "tests_passed": verdict.tests_passed,
        "tests_total": verdict.tests_total,
        "failed_input": None if failed is None else failed.input,
        "failed_expected": None if failed is None else failed.expected,
        "failed_actual": None if failed is None else failed.actual,
    }
