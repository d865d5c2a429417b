"""Run of the command without Ray: real stages on a small file, test sets, and what makes a stage start anew."""

import contextlib
import io
import json
import os
import pickle

import pyarrow.parquet as pq
import pytest
import ray.cloudpickle
from rich.console import Console

from conf.validation import parse_curate
from launch.curation import run
from launch.curation.excluded_sets import load_excluded_sets
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import resolve_source, resolve_sources
from launch.curation.wiring import SourceFile, make_stage_functions
from launch.problems.datasets import DatasetError

WORDS = [f"word{number}" for number in range(400)]
SUM = "print(sum(map(int, input().split())))"


def make_row(number, **changes):
    """Make a problem of its own words, whose reference prints the sum of two numbers."""
    statement = " ".join(WORDS[20 * number : 20 * number + 20])
    tests = [{"input": f"{number} {value}\n", "output": f"{number + value}\n"} for value in range(3)]
    row = {
        "question_id": f"p{number}",
        "question_title": f"Title {number}",
        "question_content": f"Print the sum of two numbers. {statement}",
        "private_test_cases": json.dumps(tests),
        "reference_solutions": [SUM],
    }
    return row | changes


def write_rows(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def make_config(output, sources, exclude=(), **changes):
    values = {
        "sources": [str(path) for path in sources],
        "exclude": [str(path) for path in exclude],
        "output": str(output),
        "strict": False,
        "max_tests": 2,
        "keep_unverified": False,
        "cluster": {"address": None, "num_cpus": None, "object_store_mb": 64},
    }
    return parse_curate(values | changes)


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(run, "ray_cluster", lambda cluster: contextlib.nullcontext())
    monkeypatch.setattr(run, "execute_with_ray_data", map)


def curate(config):
    sources = resolve_sources(config.sources, READERS)
    return run.run_curation(config, sources, Console(file=io.StringIO())).to_json()


@pytest.mark.heavy
def test_every_kind_of_row_ends_with_its_reason(tmp_path, without_ray):
    rows = [
        make_row(0),
        make_row(1),
        "not JSON\n",
        make_row(2, private_test_cases="[]"),
        make_row(1, question_id="copy of p1", reference_solutions=[SUM]),
        make_row(3, reference_solutions=["print(0)"]),
        make_row(4, reference_solutions=[]),
        make_row(5, question_title="Known"),
        make_row(6, wrong_solutions=["print(0)", SUM]),
    ]
    excluded = write_rows(tmp_path / "test_set.jsonl", [make_row(12, question_title="Known")])
    config = make_config(tmp_path / "out", [write_rows(tmp_path / "mine.jsonl", rows)], [excluded])
    manifest = curate(config)
    assert {stage: totals["dropped"] for stage, totals in manifest["stages"].items()} == {
        "collect": {"bad_row": 2},
        "process": {},
        "filter": {"duplicate": 1, "overlap_title": 1},
        "verify": {"no_passing_reference": 2},
    }
    table = pq.read_table(tmp_path / "out" / "problems.parquet")
    assert table["source_id"].to_pylist() == ["p0", "p1", "p6"]
    assert table["weak_tests"].to_pylist() == [False, False, True]
    assert [len(json.loads(tests)) for tests in table["private_test_cases"].to_pylist()] == [2, 2, 2]
    assert manifest["overlap"] == {"mine": {"test_set": 1}}
    assert manifest["test_quality"]["mine"]["true_negative"]["count"] == 1
    assert manifest["settings"]["max_tests"] == 2
    dropped = pq.read_table(tmp_path / "out" / "dropped.parquet").to_pylist()
    assert dropped[0]["question_id"] == "mine/mine.jsonl:3" and "row 3" in dropped[0]["detail"]


def test_settings_of_a_stage_change_with_what_its_rows_depend_on(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", [make_row(0)])
    excluded = load_excluded_sets([str(write_rows(tmp_path / "test_set.jsonl", [make_row(1)]))], strict=True)

    def make_settings(test_sets=excluded, **changes):
        config = make_config(tmp_path, [path], **changes)
        reader = resolve_source(str(path), READERS).reader
        return run.make_stage_settings(config, [SourceFile(reader, path)], test_sets)

    first = make_settings()
    assert make_settings(strict=True).collect == first.collect
    changed = make_settings(max_tests=3, keep_unverified=True, test_sets=[])
    assert changed.collect == first.collect
    assert changed.process != first.process
    assert changed.filter != first.filter
    assert changed.verify != first.verify
    os.utime(path, ns=(1, 1))
    assert make_settings().collect != first.collect
    assert make_settings().process == first.process


def test_functions_of_the_stages_can_be_sent_to_other_nodes(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", [make_row(0), "bad\n", make_row(1)])
    excluded = load_excluded_sets([str(write_rows(tmp_path / "test_set.jsonl", [make_row(1)]))], strict=True)
    config = make_config(tmp_path, [path])
    functions = make_stage_functions(config, excluded)
    sent = pickle.loads(ray.cloudpickle.dumps(functions))
    file = SourceFile(resolve_source(str(path), READERS).reader, path)
    collected = list(sent.collect(pickle.loads(ray.cloudpickle.dumps(file))))
    assert collected == list(functions.collect(file)) and len(collected) == 3
    processed = [sent.process(collected[0]), sent.process(collected[2])]
    assert [sent.examine(candidate).test_sets for candidate in processed] == [(), ("test_set",)]
    assert list(map(sent.examine, processed)) == list(map(functions.examine, processed))


def test_test_sets_have_names_and_no_tests(tmp_path):
    path = write_rows(tmp_path / "held.out.jsonl", [make_row(0), make_row(1)])
    (test_set,) = load_excluded_sets([str(path)], strict=True)
    assert test_set.name == "held" and test_set.window is None
    assert [problem.tests for problem in test_set.problems] == [(), ()]


def test_unknown_and_repeated_test_sets_are_errors(tmp_path):
    with pytest.raises(DatasetError, match=r"^exclude: 'lcb' is neither a file nor one of lcb_v6, "):
        load_excluded_sets(["lcb"], strict=False)
    path = str(write_rows(tmp_path / "a.jsonl", [make_row(0)]))
    with pytest.raises(DatasetError, match=r"^exclude: a is in the list twice"):
        load_excluded_sets([path, path], strict=False)
