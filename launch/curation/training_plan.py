"""Plan of a run's curated training set: sources, test sets, and the directory, whose name identifies the contents."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from conf.schema import DatasetConfig
from launch.command import CONF
from launch.curation.excluded_sets import get_file_name
from launch.curation.hub_files import find_cached_revision
from launch.curation.pipeline import hash_source_code, hash_values
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import FoundSource, SourceError, find_source
from launch.problems.datasets import BENCHMARK_LOADERS, TRAINING_SOURCES

CACHE = Path(".cache") / "datasets"
CHECKSUM_FILE = "problems.sha256"
"""Written last: its presence says that the set is complete. ``sha256sum -c`` reads it."""
ALL_SOURCES = "curated"
CURATED_SOURCES = ("deepcoder", "taco", "codeforces", "codecontests", "leetcode_dataset", "livecodebench")
"""Sources of ``dataset.train=curated``, in the order of preference: all published sets but benchmarks."""
DEFAULTS = CONF / "command" / "curate.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """Curated set that a configuration asks for.

    Attributes:
        sources: the sources by their texts in ``dataset.train``.
        excluded: elements of ``dataset.exclude`` other than the evaluation set.
        evaluation_set: name of the evaluation set, which is excluded, too; None if there is none.
        directory: directory of the set; None while the revision of a source on the hub is not known.
    """

    sources: Mapping[str, FoundSource]
    excluded: tuple[str, ...]
    evaluation_set: str | None
    directory: Path | None

    def __str__(self) -> str:
        test_sets = [name for name in (self.evaluation_set, *self.excluded) if name is not None]
        without = f", without what overlaps {', '.join(test_sets)}" if test_sets else ""
        return f"{', '.join(self.sources)}{without}"


def plan_training_set(config: DatasetConfig) -> TrainingPlan:
    """Return the curated set that ``dataset.*`` asks for. Downloads nothing.

    Raises:
        SourceError: a source is unknown, or its folder has no files.
        OSError: a local file cannot be read.
    """
    sources = {text: find_source(text, READERS, "dataset.train") for text in list_sources(config)}
    excluded = tuple(text for text in config.exclude if text.partition(":")[0] != config.name)
    evaluation_set = None if config.allow_overlap else get_evaluation_name(config)
    identities = [identify_source(text, source) for text, source in sources.items()]
    directory = None
    if None not in identities:
        test_sets = [identify_evaluation_set(config) if evaluation_set else None, *map(identify_test_set, excluded)]
        settings = load_curate_settings()
        settings_that_matter = {key: settings[key] for key in ("max_tests", "keep_unverified")}
        digest = hash_values(hash_source_code(), identities, test_sets, settings_that_matter)
        names = {source.reader.name for source in sources.values()}
        directory = CACHE / f"{names.pop() if len(names) == 1 else ALL_SOURCES}-{digest[:16]}"
    return TrainingPlan(sources=sources, excluded=excluded, evaluation_set=evaluation_set, directory=directory)


def list_sources(config: DatasetConfig) -> list[str]:
    """Return the sources of ``dataset.train``, by their texts. Raises SourceError for an unknown one."""
    texts = config.train or []
    if texts == [ALL_SOURCES]:
        return list(CURATED_SOURCES)
    alone = {ALL_SOURCES, *TRAINING_SOURCES}
    for text in texts:
        if text in alone and not Path(text).is_file():
            raise SourceError(f"dataset.train: {text!r} cannot be combined with other sources")
        if text.partition(":")[0] not in READERS and not Path(text).is_file():
            known = ", ".join(sorted({*READERS, *alone}))
            raise SourceError(f"dataset.train: {text!r} is neither a file nor one of {known} (docs/training_sets.md)")
    return texts


def get_evaluation_name(config: DatasetConfig) -> str | None:
    """Return the name of the evaluation set, as a test set; None if there is none. See ``load_evaluation_set``."""
    if config.name in BENCHMARK_LOADERS or config.held_out_path is None:
        return config.name
    return get_file_name(config.held_out_path)


def load_curate_settings() -> dict[str, Any]:
    """Load the defaults of ``launch.curate`` without Hydra, which has composed the configuration of the run."""
    values: Any = OmegaConf.to_container(OmegaConf.load(DEFAULTS))
    return {key: value for key, value in values.items() if key not in ("defaults", "hydra")}


def identify_source(text: str, source: FoundSource) -> Any:
    """Return what identifies the rows of a source, as a JSON value; None if its revision on the hub is not known.

    Raises:
        OSError: a local file cannot be read.
    """
    reader = source.reader
    description = hash_file(Path(text)) if Path(text).is_file() else None  # of a column mapping, or the rows themselves
    if source.files is not None:
        files = [[file.name, hash_file(file)] for file in source.files]
        return [reader.name, reader.licence, description, files]
    revision = find_cached_revision(reader)
    return None if revision is None else [reader.name, reader.licence, description, reader.repository, revision]


def identify_evaluation_set(config: DatasetConfig) -> Any:
    """Return what identifies the problems to evaluate on, as a JSON value. Raises OSError."""
    return [config.name, identify_path(config.held_out_path), config.release, config.start_date, config.end_date]


def identify_test_set(text: str) -> Any:
    """Return what identifies an element of ``dataset.exclude``, as a JSON value. Raises OSError."""
    name, _, path = text.partition(":")
    return (
        [name, identify_path(path or None)] if name in BENCHMARK_LOADERS else [get_file_name(text), identify_path(text)]
    )


def identify_path(path: str | None) -> Any:
    """Return the hash of a file, or of the files of a folder; None for None and for a missing path. Raises OSError.

    A missing path is reported where it is read.
    """
    if path is None or not Path(path).exists():
        return None
    if Path(path).is_file():
        return hash_file(Path(path))
    return [[file.name, hash_file(file)] for file in sorted(Path(path).iterdir()) if file.is_file()]


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's contents. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
