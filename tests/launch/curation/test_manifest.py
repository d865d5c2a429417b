"""Manifest: totals that add up, and an error where they do not."""

import json
from collections.abc import Mapping

import pytest

from launch.curation.blocks import SourceCounts
from launch.curation.candidates import StageName
from launch.curation.manifest import Manifest, ManifestError, compute_totals, read_versions, write_manifest

COUNTS: dict[StageName, Mapping[str, SourceCounts]] = {
    "collect": {"a": SourceCounts(8, {"bad_row": 2}, 1.0), "b": SourceCounts(5, {}, 0.25)},
    "process": {"a": SourceCounts(6, {"image": 2}, 0.5), "b": SourceCounts(4, {"image": 1}, 0.5)},
    "filter": {"a": SourceCounts(6, {}, 0.5), "b": SourceCounts(0, {"duplicate": 3, "near_duplicate": 1}, 0.5)},
    "verify": {"a": SourceCounts(5, {"flaky": 1}, 9.0)},
}


def test_totals_of_stages_and_of_sources():
    stages, sources = compute_totals(COUNTS)
    assert stages["process"].to_json() == {"in": 13, "out": 10, "dropped": {"image": 3}, "seconds": 1.0}
    assert stages["verify"].to_json() == {"in": 6, "out": 5, "dropped": {"flaky": 1}, "seconds": 9.0}
    assert sources["a"]["collect"].to_json() == {"in": 10, "out": 8, "dropped": {"bad_row": 2}, "seconds": 1.0}
    assert sources["b"]["verify"].to_json() == {"in": 0, "out": 0, "dropped": {}, "seconds": 0.0}
    for totals in (stages, *sources.values()):
        rows_in = totals["collect"].rows_in
        for stage in totals.values():
            assert stage.rows_in == rows_in == stage.rows_out + sum(stage.dropped.values())
            rows_in = stage.rows_out


@pytest.mark.parametrize("kept", [5, 7])
def test_rows_that_do_not_add_up_are_an_error(kept):
    counts = COUNTS | {"filter": {**COUNTS["filter"], "a": SourceCounts(kept, {}, 0.5)}}
    with pytest.raises(ManifestError, match=rf"^a: filter: 6 rows in, but {kept} kept and 0 dropped$"):
        compute_totals(counts)


def test_source_without_rows_in_a_stage_but_with_results_is_an_error():
    with pytest.raises(ManifestError, match=r"^c: process: 0 rows in"):
        compute_totals(COUNTS | {"process": {**COUNTS["process"], "c": SourceCounts(1, {}, 0.0)}})


def test_written_manifest_has_the_documented_keys(tmp_path):
    stages, sources = compute_totals(COUNTS)
    manifest = Manifest(
        stages=stages,
        sources=sources,
        licences={"a": {"MIT": 5}},
        settings={"max_tests": 15},
        versions=read_versions(),
        overlap={"a": {"humaneval": 1}},
        test_quality={},
    )
    write_manifest(tmp_path / "manifest.json", manifest)
    values = json.loads((tmp_path / "manifest.json").read_text())
    assert list(values["stages"]) == ["collect", "process", "filter", "verify"]
    assert (
        set(values["stages"]["collect"]) == {"in", "out", "dropped", "seconds"} == set(values["sources"]["a"]["verify"])
    )
    assert set(values) >= {"settings", "versions", "overlap", "test_quality"}
    assert {"python", "pyarrow", "ray"} <= set(values["versions"])
