"""Test sets that no problem of a curated data set may overlap: benchmarks and files of problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conf.schema import DatasetConfig
from launch.curation.filtering.overlap import TestSet
from launch.problems.datasets import BENCHMARK_LOADERS, DatasetError, load_evaluation_set
from launch.problems.evaluation_set import EvaluationSet


def load_excluded_sets(texts: Sequence[str], strict: bool, key: str = "exclude") -> list[TestSet]:
    """Load the test sets that ``exclude=[...]`` names.

    Args:
        texts: names of benchmarks, NAME:PATH for local copies of benchmarks, or files of problems.
        strict: raise for the first row that is no valid problem.
        key: configuration key with these names, for messages.

    Raises:
        DatasetError: there is no such benchmark or file, it cannot be read, or a name is in the list twice.
        ProblemError: a row is bad, and ``strict`` is set.
    """
    excluded = [_load(text, strict, key) for text in texts]
    names = [test_set.name for test_set in excluded]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DatasetError(f"{key}: {repeated[0]} is in the list twice: list each set once, rename one of two files")
    return excluded


def make_test_set(name: str, held_out: EvaluationSet) -> TestSet:
    """Return the problems of an evaluation set as a test set, without what no rule of overlap looks at.

    All of it would be sent to all nodes.
    """
    problems = tuple(replace(problem, public_tests=(), private_tests=(), extra={}) for problem in held_out.problems)
    return TestSet(name=name, problems=problems, window=held_out.window)


def get_file_name(path: str) -> str:
    """Return the name of the test set in a file of problems.

    >>> get_file_name("data/held.out.jsonl.gz")
    'held'
    """
    return Path(path).name.partition(".")[0]


def _load(text: str, strict: bool, key: str) -> TestSet:
    name, _, path = text.partition(":")
    is_benchmark = name in BENCHMARK_LOADERS
    if not is_benchmark and not Path(text).is_file():
        raise DatasetError(f"{key}: {text!r} is neither a file nor one of {', '.join(BENCHMARK_LOADERS)}")
    config = _make_config(name if is_benchmark else None, (path or None) if is_benchmark else text, strict)
    try:
        held_out = load_evaluation_set(config)
    except DatasetError as error:
        hint = f". Here that is '{key}=[{name}:PATH]'" if is_benchmark else ""
        raise DatasetError(f"{key}: {text}: {error}{hint}") from error
    if held_out is None:
        raise DatasetError(f"{key}: {text!r} has no problems")
    return make_test_set(name if is_benchmark else get_file_name(text), held_out)


def _make_config(name: Any, held_out_path: str | None, strict: bool) -> DatasetConfig:
    return DatasetConfig(
        name=name,
        path=None,
        train=None,
        exclude=[],
        held_out_path=held_out_path,
        release="release_v6" if name == "livecodebench" and held_out_path is None else None,
        start_date=None,
        end_date=None,
        allow_overlap=False,
        prompt=None,
        strict=strict,
    )
