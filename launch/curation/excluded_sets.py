"""Test sets that no problem of a curated data set may overlap: benchmarks and files of problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conf.schema import DatasetConfig
from launch.curation.filtering.overlap import TestSet
from launch.problems.datasets import BENCHMARK_LOADERS, DatasetError, load_evaluation_set


def load_excluded_sets(texts: Sequence[str], strict: bool) -> list[TestSet]:
    """Load the test sets that ``exclude=[...]`` names.

    Args:
        texts: names of benchmarks, NAME:PATH for local copies of benchmarks, or files of problems.
        strict: raise for the first row that is no valid problem.

    Raises:
        DatasetError: there is no such benchmark or file, it cannot be read, or a name is in the list twice.
        ProblemError: a row is bad, and ``strict`` is set.
    """
    excluded = [_load(text, strict) for text in texts]
    names = [test_set.name for test_set in excluded]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DatasetError(f"exclude: {repeated[0]} is in the list twice: list each set once, rename one of two files")
    return excluded


def _load(text: str, strict: bool) -> TestSet:
    name, _, path = text.partition(":")
    is_benchmark = name in BENCHMARK_LOADERS
    if not is_benchmark and not Path(text).is_file():
        raise DatasetError(f"exclude: {text!r} is neither a file nor one of {', '.join(BENCHMARK_LOADERS)}")
    held_out = load_evaluation_set(
        _make_config(name if is_benchmark else None, (path or None) if is_benchmark else text, strict)
    )
    if held_out is None:
        raise DatasetError(f"exclude: {text!r} has no problems")
    # Their tests, which no rule of overlap looks at, would be sent to all nodes.
    problems = tuple(replace(problem, public_tests=(), private_tests=(), extra={}) for problem in held_out.problems)
    return TestSet(
        name=name if is_benchmark else Path(text).name.partition(".")[0], problems=problems, window=held_out.window
    )


def _make_config(name: Any, held_out_path: str | None, strict: bool) -> DatasetConfig:
    return DatasetConfig(
        name=name,
        path=None,
        held_out_path=held_out_path,
        release="release_v6" if name == "livecodebench" and held_out_path is None else None,
        start_date=None,
        end_date=None,
        allow_overlap=False,
        prompt=None,
        strict=strict,
    )
