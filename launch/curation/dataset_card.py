"""Card of a curated data set: Markdown made from the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evaluator.surrogates import replace_surrogates
from launch.curation.blocks import replace_file
from launch.curation.manifest import Manifest, StageTotals

_STAGES_NOTE = (
    "At every stage, the rows that went in are those kept and those dropped; `dropped.parquet` has each dropped row "
    "with its reason. Seconds are summed over parallel work."
)
_FILES = """\
- `problems.parquet`: the problems, to train on as they are.
- `needs_checker.parquet`: problems with several right answers and no checker that knows them; not for training.
- `dropped.parquet`: id, source, stage, reason and detail of every dropped row.
- `manifest.json`: the numbers on this page."""


def write_card(path: Path, manifest: Manifest) -> None:
    """Write the card atomically. Raises OSError."""
    with replace_file(path) as file:
        file.write(replace_surrogates(format_card(manifest)).encode())


def format_card(manifest: Manifest) -> str:
    """Return the card as Markdown, with the front matter that hubs of data sets read."""
    problems = manifest.stages["verify"].rows_out
    front = {
        "pretty_name": "Curated programming problems",
        "language": ["en"],
        "tags": ["code", "reinforcement-learning"],
        "configs": [{"config_name": "default", "data_files": "problems.parquet"}],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        "# Curated programming problems",
        f"{problems:,} problems with tests, from {len(manifest.sources)} sources, collected, processed, filtered and "
        "verified by `python -m launch.curate`.",
        f"## Files\n\n{_FILES}",
        f"## Stages\n\n{_format_stages(manifest.stages)}\n\n{_STAGES_NOTE}",
        f"## Dropped rows\n\n{_format_reasons(manifest.stages)}",
        f"## Sources\n\n{_format_sources(manifest)}",
        "## Overlap with test sets\n\n" + _format_overlap(manifest.overlap),
        "## Quality of the tests\n\n" + _format_quality(manifest.test_quality),
        f"## Settings\n\n```yaml\n{yaml.safe_dump(dict(manifest.settings), sort_keys=False)}```",
        f"## Versions\n\n```yaml\n{yaml.safe_dump(dict(manifest.versions), sort_keys=False)}```",
    ]
    return "\n\n".join(parts) + "\n"


def _format_stages(stages: Mapping[Any, StageTotals]) -> str:
    rows = [
        (stage, f"{t.rows_in:,}", f"{t.rows_out:,}", f"{t.rows_in - t.rows_out:,}", f"{t.seconds:,.1f}")
        for stage, t in stages.items()
    ]
    return _format_table(("stage", "in", "kept", "dropped", "seconds"), rows)


def _format_reasons(stages: Mapping[Any, StageTotals]) -> str:
    rows = [
        (stage, reason, f"{number:,}") for stage, totals in stages.items() for reason, number in totals.dropped.items()
    ]
    return _format_table(("stage", "reason", "rows"), rows) if rows else "None."


def _format_sources(manifest: Manifest) -> str:
    rows = []
    for source, stages in manifest.sources.items():
        licences = Counter(manifest.licences.get(source, {}))
        names = ", ".join(f"{licence} ({number:,})" for licence, number in licences.most_common()) or "-"
        kept = [f"{totals.rows_out:,}" for totals in stages.values()]
        rows.append((source, f"{stages['collect'].rows_in:,}", *kept, names))
    columns = ("source", "rows", *(f"after {stage}" for stage in manifest.stages), "licences of the kept problems")
    return _format_table(columns, rows)


def _format_overlap(overlap: Mapping[str, Mapping[str, int]]) -> str:
    test_sets = sorted({name for counts in overlap.values() for name in counts})
    if not test_sets:
        return "No problem overlaps a test set of `exclude`."
    rows = [(source, *(f"{counts.get(name, 0):,}" for name in test_sets)) for source, counts in overlap.items()]
    return (
        "Problems that were dropped because they overlap a test set of `exclude`; some overlap several:\n\n"
        + _format_table(("source", *test_sets), rows)
    )


def _format_quality(quality: Mapping[str, Any]) -> str:
    rows = [
        (
            source,
            f"{entry['problems']:,}",
            f"{entry['weak_tests']:,}",
            _format_rate(entry["true_positive"]),
            _format_rate(entry["true_negative"]),
        )
        for source, entry in quality.items()
    ]
    columns = ("source", "problems", "weak tests", "right programs accepted", "wrong programs rejected")
    return _format_table(columns, rows) if rows else "No problem has labelled programs."


def _format_rate(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "-"
    low, high = rate["interval"]
    return f"{rate['rate']:.1%} of {rate['of']:,} ({low:.1%} to {high:.1%})"


def _format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
