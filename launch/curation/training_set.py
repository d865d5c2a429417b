"""Curated training set of a run: made on first use, before any actor starts, and kept in the cache.

    provide_training_set ──► plan_training_set ──► complete? ──yes────────────► DIRECTORY/problems.parquet
                                                      │ no                                ▲
                                                   download ─► lock ─► run_curation ─► checksum

The directory's name has a hash of all that a row depends on: contents of local files or revisions on the hub, test
sets, settings, and source code. So another set never takes the place of one that a run was trained on.
Covered: a run that was killed (the next one goes on), two runs at the same time (the second one waits for the first),
a set that is damaged, a machine without a hub.
Not covered: a set on the hub that changes between download and curation.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import yaml
from rich.console import Console

from conf.schema import Config, CurateConfig, DatasetConfig
from conf.validation import parse_curate
from evaluator.errors import RunFailed
from launch.command import print_line
from launch.curation.blocks import replace_file
from launch.curation.excluded_sets import load_excluded_sets, make_test_set
from launch.curation.filtering.overlap import TestSet
from launch.curation.hub_files import HubFiles, find_missing_benchmark_files, find_missing_evaluation_files
from launch.curation.output import PROBLEMS_FILE
from launch.curation.output_path import WORK
from launch.curation.pipeline import try_lock
from launch.curation.sources.column_mapping import MappingError
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import DownloadError, SourceError, resolve_sources
from launch.curation.training_plan import (
    CHECKSUM_FILE,
    TrainingPlan,
    hash_file,
    list_sources,
    load_curate_settings,
    plan_training_set,
)
from launch.hub import HUB_ERRORS
from launch.problems.datasets import (
    DatasetError,
    check_training_problems,
    load_evaluation_set,
    name_training_problems,
    uses_curated_set,
)

LOCK_TIMEOUT_S = 24 * 3600.0
LOCK_INTERVAL_S = 1.0
RECORDED_KEYS = ("name", "train", "exclude", "allow_overlap")
"""Keys of ``dataset`` that must not have changed for a resumed run to keep its set."""


def provide_training_set(config: Config, console: Console) -> Path | None:
    """Return the file of the curated training set that the configuration asks for, and curate it if necessary.

    Returns None if the run's training problems are not a curated set.

    Raises:
        SourceError: a source is unknown, or files of it are missing.
        DatasetError: files are not available, or the set in the cache is damaged.
        PlacementError: resources of the run are missing, or there is no cluster at ``cluster.address``.
        RunFailed: the curation failed; the next run goes on where it was.
        OSError: a file cannot be read or written.
    """
    if not uses_curated_set(config.dataset):
        return None
    directory = find_directory_of_run(config) or curate_training_set(config, console)
    check_contents(directory)
    return directory / PROBLEMS_FILE


def find_directory_of_run(config: Config) -> Path | None:
    """Return the directory of the set that a run to be resumed was trained on; None if there is none.

    A newer version of the code, or of a set on the hub, must not change the problems of a run in its middle.
    """
    file = Path(config.run.root, config.run.name, "config.yaml")
    if not config.run.resume or not file.is_file():
        return None
    recorded = yaml.safe_load(file.read_text())["dataset"]
    asked = asdict(config.dataset)
    if recorded["path"] is None or any(recorded.get(key) != asked[key] for key in RECORDED_KEYS):
        return None
    directory = Path(recorded["path"]).parent
    return directory if (directory / CHECKSUM_FILE).exists() else None


def curate_training_set(config: Config, console: Console) -> Path:
    """Return the directory of the set that the configuration asks for; curate the set if it is not in the cache."""
    plan = plan_training_set(config.dataset)
    if plan.directory is not None and is_complete(plan.directory):
        return plan.directory
    try:
        sources = resolve_sources(list(plan.sources), READERS, "dataset.train")
    except DownloadError as error:
        raise DatasetError(
            f"dataset.train: cannot download {error.files} from the hub ({error.reason});\n"
            f"{format_downloads(config.dataset, plan)}"
        ) from error
    plan = plan_training_set(config.dataset)  # again: the download may have brought another revision
    assert plan.directory is not None  # all files are on this machine
    excluded = load_test_sets(config.dataset, plan)
    # Imported only now: Ray takes seconds, and wrong values are reported before.
    from launch.cluster.ray_cluster import is_ray_job
    from launch.curation.run import run_curation
    from launch.preflight import check_training_resources

    if is_ray_job():
        raise DatasetError(describe_curation_before_job(plan))
    check_training_resources(config)
    print_line(console, f"training set: {plan}: curating it into {plan.directory}, once")
    with lock_directory(plan.directory, console):
        if not is_complete(plan.directory):
            run_curation(make_curate_config(config, plan), sources, console, excluded)
            mark_complete(plan.directory)
    return plan.directory


def load_test_sets(config: DatasetConfig, plan: TrainingPlan) -> list[TestSet]:
    """Load the test sets that no problem of the set may overlap.

    Raises:
        DatasetError: a test set is not available. The message has the commands that download what is missing.
        ProblemError: a row is bad, and ``dataset.strict`` is set.
    """
    try:
        held_out = None if plan.evaluation_set is None else load_evaluation_set(config)
        own = [] if held_out is None else [make_test_set(str(plan.evaluation_set), held_out)]
        return [*own, *load_excluded_sets(plan.excluded, config.strict, "dataset.exclude")]
    except DatasetError as error:
        if not is_download_error(error):
            raise
        raise DatasetError(f"{error};\n{format_downloads(config, plan)}") from error


def is_download_error(error: BaseException) -> bool:
    """Return True if a download from the hub caused an error."""
    return isinstance(error, HUB_ERRORS) or (error.__cause__ is not None and is_download_error(error.__cause__))


def make_curate_config(config: Config, plan: TrainingPlan) -> CurateConfig:
    """Return the settings of the curation: those of ``launch.curate``, with sources, test sets and cluster of a run."""
    cluster = asdict(config.cluster)
    return parse_curate(
        load_curate_settings()
        | {
            "sources": list(plan.sources),
            "exclude": list(plan.excluded),
            "output": str(plan.directory),
            "strict": config.dataset.strict,
            "cluster": {key: cluster[key] for key in ("address", "num_cpus", "object_store_mb")},
        }
    )


def describe_curation_before_job(plan: TrainingPlan) -> str:
    """Return the message for a Ray job whose training set is not in the cache."""
    test_sets = ",".join([*([plan.evaluation_set] if plan.evaluation_set else []), *plan.excluded])
    return (
        "dataset.train inside a Ray job, whose working directory, and the cache in it, is deleted after it: run "
        f"python -m launch.curate 'sources=[{','.join(plan.sources)}]' 'exclude=[{test_sets}]' output=DIR "
        f"before the job, and set dataset.path=DIR/{PROBLEMS_FILE}"
    )


@contextlib.contextmanager
def lock_directory(directory: Path, console: Console) -> Iterator[None]:
    """Keep other runs from curating into a directory; wait for one that does.

    The lock of a run that is killed ends with it. Ctrl-C ends the wait.

    Raises:
        RunFailed: the other run is not done after ``LOCK_TIMEOUT_S``.
        OSError: the lock file cannot be written.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    is_waiting = False
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        while not try_lock(lock):
            if not is_waiting:
                print_line(console, f"another run is curating {directory}: waiting for it", "yellow")
                is_waiting = True
            if time.monotonic() >= deadline:
                raise RunFailed(
                    f"another run has been curating {directory} for {LOCK_TIMEOUT_S / 3600:g} hours; if it hangs, end "
                    "it and start this one again"
                )
            time.sleep(LOCK_INTERVAL_S)
        yield


def is_complete(directory: Path) -> bool:
    """Return True if the set was curated to its end."""
    return (directory / CHECKSUM_FILE).exists()


def mark_complete(directory: Path) -> None:
    """Record that the set is complete, and remove the folder of the stages, which is of no use then. Raises OSError."""
    with replace_file(directory / CHECKSUM_FILE) as file:
        file.write(f"{hash_file(directory / PROBLEMS_FILE)}  {PROBLEMS_FILE}\n".encode())
    shutil.rmtree(directory / WORK)


def check_contents(directory: Path) -> None:
    """Check that the problems are those that were curated. Raises DatasetError, OSError."""
    path = directory / PROBLEMS_FILE
    expected = (directory / CHECKSUM_FILE).read_text().partition(" ")[0]
    found = hash_file(path) if path.exists() else "no such file"
    if found != expected:
        raise DatasetError(
            f"{path}: damaged: its SHA-256 is not that in {CHECKSUM_FILE} ({found}). Remove the directory {directory}: "
            "the next run curates the set again"
        )


def format_downloads(config: DatasetConfig, plan: TrainingPlan) -> str:
    """Return the commands that download what the set needs and this machine lacks, and the settings to give then.

    Returns "" if nothing is missing.
    """
    sources = {
        text: HubFiles(source.reader.repository, source.reader.files)
        for text, source in plan.sources.items()
        if source.files is None
    }
    evaluation = None if plan.evaluation_set is None else find_missing_evaluation_files(config)
    excluded = {text: files for text in plan.excluded if (files := find_missing_benchmark_files(text)) is not None}
    settings = []
    if sources:
        local = [f"{text}:{sources[text].folder}" if text in sources else text for text in plan.sources]
        settings.append(f"'dataset.train=[{','.join(local)}]'")
    if evaluation is not None:
        settings.append(f"dataset.held_out_path={evaluation.local_copy}")
    if excluded:
        local = [f"{text}:{excluded[text].local_copy}" if text in excluded else text for text in plan.excluded]
        settings.append(f"'dataset.exclude=[{','.join(local)}]'")
    needed = [*sources.values(), *([] if evaluation is None else [evaluation]), *excluded.values()]
    if not needed:
        return ""
    commands = "\n".join(dict.fromkeys(f"  {files.command}" for files in needed))
    return (
        f"without a hub: on a machine with network access run\n{commands}\n"
        f"copy its folder data to the working directory of this command, and add: {' '.join(settings)}"
    )


def describe_training_set(config: DatasetConfig) -> list[str]:
    """Return lines about the training problems of a run, and what is missing for them (``dry_run=true``).

    Downloads and curates nothing.

    Raises:
        SourceError: a source is unknown.
        OSError: a local file cannot be read.
    """
    if not uses_curated_set(config):
        try:
            check_training_problems(config)
        except DatasetError as error:
            return [f"missing: {error}"]
        return [f"training problems: {name_training_problems(config)}"]
    list_sources(config)  # an unknown source is an error also here
    try:
        plan = plan_training_set(config)
    except (SourceError, MappingError) as error:
        return [f"missing: {error}"]
    if plan.directory is not None and is_complete(plan.directory):
        return [f"training problems: {plan}: curated in {plan.directory}"]
    place = plan.directory or "a directory of .cache/datasets, which depends on the revision of the files"
    lines = [f"training problems: {plan}: the run curates them first, into {place}"]
    if downloads := format_downloads(config, plan):
        lines.append(f"missing: files that the run downloads; {downloads}")
    return lines
