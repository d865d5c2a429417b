"""Manifest of a curated data set: how many rows each stage got, kept, and dropped for each reason.

At every stage, and for every source, in = out + dropped, and in is the out of the stage before (docs/formats.md).
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.curation.blocks import SourceCounts, replace_file
from launch.curation.candidates import STAGES, StageName

PACKAGES = ("microcoder-grpo", "numpy", "pyarrow", "ray")
"""Distributions whose versions are recorded."""

_NO_ROWS = SourceCounts(0, {}, 0.0)


class ManifestError(RuntimeError):
    """The numbers of a curation do not add up: rows were lost or counted twice, which is a bug."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTotals:
    """Rows of a stage, of all sources or of one.

    Attributes:
        rows_in: rows that went in.
        rows_out: rows that were kept.
        dropped: dropped rows by reason.
        seconds: time that the rows took, summed over blocks.
    """

    rows_in: int
    rows_out: int
    dropped: Mapping[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the manifest."""
        return {"in": self.rows_in, "out": self.rows_out, "dropped": dict(self.dropped), "seconds": self.seconds}


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Contents of ``manifest.json``.

    Attributes:
        stages: totals of each stage.
        sources: totals of each stage by source.
        licences: licences of the kept problems, with their number, by source.
        settings: settings of the command.
        versions: versions of Python and of packages.
        overlap: numbers of candidates that overlap a test set, by source and test set.
        test_quality: quality of the tests by source.
    """

    stages: Mapping[StageName, StageTotals]
    sources: Mapping[str, Mapping[StageName, StageTotals]]
    licences: Mapping[str, Mapping[str, int]]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    overlap: Mapping[str, Mapping[str, int]]
    test_quality: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON value."""
        return {
            "stages": _stages_to_json(self.stages),
            "sources": {source: _stages_to_json(stages) for source, stages in self.sources.items()},
            "licences": {source: dict(counts) for source, counts in self.licences.items()},
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "overlap": {source: dict(counts) for source, counts in self.overlap.items()},
            "test_quality": dict(self.test_quality),
        }


def compute_totals(
    counts: Mapping[StageName, Mapping[str, SourceCounts]],
) -> tuple[dict[StageName, StageTotals], dict[str, dict[StageName, StageTotals]]]:
    """Compute the totals of the stages, and of the stages by source, and check that they add up.

    Args:
        counts: counts of each stage by source.

    Returns:
        The totals of all sources, and those by source.

    Raises:
        ManifestError: a stage did not keep or drop each row that the stage before had kept.
    """
    names = sorted({source for stage in STAGES for source in counts[stage]})
    sources = {
        name: _chain_stages(name, {stage: counts[stage].get(name, _NO_ROWS) for stage in STAGES}) for name in names
    }
    stages = {stage: _add_totals([sources[name][stage] for name in names]) for stage in STAGES}
    return stages, sources


def _chain_stages(source: str, counts: Mapping[StageName, SourceCounts]) -> dict[StageName, StageTotals]:
    """Return the totals of a source, whose rows go from stage to stage. Raises ManifestError."""
    totals: dict[StageName, StageTotals] = {}
    rows_in = counts[STAGES[0]].kept + sum(counts[STAGES[0]].dropped.values())
    for stage in STAGES:
        entry = counts[stage]
        dropped = sum(entry.dropped.values())
        if rows_in != entry.kept + dropped:
            raise ManifestError(f"{source}: {stage}: {rows_in} rows in, but {entry.kept} kept and {dropped} dropped")
        totals[stage] = StageTotals(
            rows_in=rows_in, rows_out=entry.kept, dropped=entry.dropped, seconds=round(entry.seconds, 3)
        )
        rows_in = entry.kept
    return totals


def _add_totals(totals: Sequence[StageTotals]) -> StageTotals:
    dropped: Counter[str] = Counter()
    for entry in totals:
        dropped.update(entry.dropped)
    return StageTotals(
        rows_in=sum(entry.rows_in for entry in totals),
        rows_out=sum(entry.rows_out for entry in totals),
        dropped=dict(sorted(dropped.items())),
        seconds=round(sum(entry.seconds for entry in totals), 3),
    )


def _stages_to_json(stages: Mapping[StageName, StageTotals]) -> dict[str, Any]:
    return {stage: totals.to_json() for stage, totals in stages.items()}


def read_versions() -> dict[str, str]:
    """Return the versions of Python and of ``PACKAGES``."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` atomically. Raises OSError."""
    with replace_file(path) as file:
        file.write(json.dumps(manifest.to_json(), indent=2).encode() + b"\n")
