"""Benchmark of rollout files: both schemas are written from the same completions."""

import pytest

from benchmarks import rollout_files
from benchmarks.rollout_files import ADDED_COLUMNS, OLD_SCHEMA, measure_workload
from launch.records import run_directory
from launch.records.run_directory import SCHEMA


def test_added_columns_are_columns_of_the_schema():
    assert len(SCHEMA) == len(OLD_SCHEMA) + len(ADDED_COLUMNS)


@pytest.mark.heavy
@pytest.mark.parametrize("bound", [False, True])
def test_both_schemas_are_measured(monkeypatch, tmp_path, bound):
    monkeypatch.setattr(rollout_files, "GROUPS", 2)
    monkeypatch.setattr(rollout_files, "GROUP_SIZE", 2)
    measured = measure_workload(tmp_path, bound, 2)
    assert {name: len(measurement.seconds) for name, measurement in measured.items()} == {"before": 2, "after": 2}
    assert measured["after"].bytes_per_completion > measured["before"].bytes_per_completion
    assert run_directory.SCHEMA is SCHEMA
