"""Run of ``launch.curate``: test sets, Ray, and the pipeline with the functions of the stages."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from conf.schema import CurateConfig, CurationClusterConfig
from launch.cluster.ray_cluster import join_cluster, ray_session, start_local_cluster
from launch.curation.candidate_rows import encode_problem
from launch.curation.excluded_sets import load_excluded_sets
from launch.curation.filtering.overlap import TestSet
from launch.curation.manifest import Manifest
from launch.curation.output_path import WORK
from launch.curation.pipeline import Pipeline, StageSettings, curate, lock_folder
from launch.curation.progress import CurationProgress
from launch.curation.ray_blocks import execute_with_ray_data
from launch.curation.sources.source_files import Source
from launch.curation.wiring import SourceFile, make_stage_functions, make_verification_settings


def run_curation(
    config: CurateConfig, sources: Sequence[Source], console: Console, excluded: Sequence[TestSet] | None = None
) -> Manifest:
    """Curate the data set that the configuration describes.

    Args:
        config: settings of the command.
        sources: the sources that the settings name.
        console: where to show the progress.
        excluded: test sets that no problem may overlap; None loads those that the settings name.

    Raises:
        DatasetError: a test set cannot be loaded.
        PlacementError: there is no cluster at ``cluster.address``.
        RunFailed: a file cannot be read or written, a row is bad and ``strict`` is set, or a node failed.
        OSError: a file of a source does not exist any more, or ``output`` cannot be written.
    """
    output = Path(config.output).absolute()  # workers of Ray may have another working directory
    files = [SourceFile(source.reader, path.absolute()) for source in sources for path in source.files]
    with lock_folder(output / WORK), CurationProgress(console) as progress:
        if excluded is None:
            excluded = load_excluded_sets(config.exclude, config.strict)
        with ray_cluster(config.cluster):
            pipeline = Pipeline(
                work=output / WORK, execute=execute_with_ray_data, progress=progress, strict=config.strict
            )
            settings = make_stage_settings(config, files, excluded)
            return curate(output, files, make_stage_functions(config, excluded), settings, pipeline)


@contextlib.contextmanager
def ray_cluster(cluster: CurationClusterConfig) -> Iterator[None]:
    """Join the cluster, or start a local one that ends with the block. Raises PlacementError, RunFailed."""
    with ray_session():
        if cluster.address is not None:
            join_cluster(cluster.address)
        else:
            start_local_cluster(
                num_cpus=cluster.num_cpus, evaluator_slots=0, object_store_bytes=cluster.object_store_mb * 2**20
            )
        yield


def make_stage_settings(
    config: CurateConfig, files: Sequence[SourceFile], excluded: Sequence[TestSet]
) -> StageSettings:
    """Return the settings that the rows of each stage depend on. Raises OSError."""
    descriptions = [Path(text) for text in config.sources if Path(text).is_file()]  # among them YAML files of sets
    return StageSettings(
        collect=[
            *([file.reader.name, file.reader.licence, *_identify(file.path)] for file in files),
            *(_identify(path) for path in descriptions),
        ],
        process={"max_tests": config.max_tests},
        filter=[[test_set.name, str(test_set.window), _hash_problems(test_set)] for test_set in excluded],
        verify=asdict(make_verification_settings(config)),
        recorded={**asdict(config), "test_sets": [test_set.name for test_set in excluded]},
    )


def _identify(path: Path) -> list[Any]:
    """Return the name, size and modification time of a file, which tell whether its content has changed."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def _hash_problems(test_set: TestSet) -> str:
    digest = hashlib.sha256()
    for problem in test_set.problems:
        digest.update(encode_problem(problem).encode() + b"\n")
    return digest.hexdigest()
