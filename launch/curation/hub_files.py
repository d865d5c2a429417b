"""Files on the hub that a curated training set needs: its sources, and the test sets that it must not overlap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from conf.schema import DatasetConfig
from launch.curation.sources.reader import Reader
from launch.hub import format_download_command
from launch.problems import humaneval, livecodebench, mbpp
from launch.problems.livecodebench import SUBSET_SHARDS, Subset


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Files of a data set on the hub, and where their local copy goes: repository as "owner/name", and patterns."""

    repository: str
    patterns: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Folder for a local copy."""
        return f"data/{self.repository.rpartition('/')[2]}"

    @property
    def command(self) -> str:
        """Command that downloads the files into ``folder``."""
        return format_download_command(self.repository, self.patterns, self.folder)

    @property
    def local_copy(self) -> str:
        """Path of the local copy, as a benchmark's loader takes it: a file, or the folder of several."""
        return self.folder if len(self.patterns) > 1 else f"{self.folder}/{self.patterns[0]}"

    def __str__(self) -> str:
        return f"{', '.join(self.patterns)} of {self.repository}"


def find_cached_revision(reader: Reader) -> str | None:
    """Return the revision of a source in the hub's cache on this machine; None if it is not there."""
    try:
        folder = snapshot_download(reader.repository, repo_type="dataset", local_files_only=True, allow_patterns=[])
    except (OSError, HFValidationError):
        return None
    return Path(folder).name


def find_missing_evaluation_files(config: DatasetConfig) -> HubFiles | None:
    """Return the files of the evaluation set; None if it needs none from the hub, or they are in its cache."""
    if config.name is None or config.held_out_path is not None:
        return None
    return find_missing_benchmark_files(config.name, config.release)


def find_missing_benchmark_files(name: str, release: Subset | None = None) -> HubFiles | None:
    """Return the files of a benchmark; None if it is not on the hub, or they are in the hub's cache on this machine.

    Args:
        name: name of the benchmark.
        release: release of ``livecodebench``; None for the last.
    """
    subsets: dict[str, Subset] = {
        "lcb_v6": "lcb_v6",
        "lcb_2024_08": "release_v6",
        "livecodebench": release or "release_v6",
    }
    if name in subsets:
        files = HubFiles(livecodebench.REPOSITORY, tuple(f"{shard}.jsonl" for shard in SUBSET_SHARDS[subsets[name]]))
    elif name in ("humaneval", "mbpp"):
        source = humaneval.SOURCE if name == "humaneval" else mbpp.SOURCE
        files = HubFiles(source.repository, (source.file,))
    else:
        return None
    cached = (try_to_load_from_cache(files.repository, pattern, repo_type="dataset") for pattern in files.patterns)
    return None if all(isinstance(path, str) for path in cached) else files
