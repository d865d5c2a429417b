"""Sources: their files, and rows that cannot be candidates."""

import gzip
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from launch.curation.candidates import Candidate, Dropped
from launch.curation.sources import source_files
from launch.curation.sources.problem_file import make_file_reader
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import SourceError, read_source, resolve_source, resolve_sources

TESTS = [{"input": "1", "output": "2", "testtype": "stdin"}]


def make_row(question_id, **changes):
    row = {"question_id": question_id, "question_content": "Add 1.", "public_test_cases": json.dumps(TESTS)}
    return row | changes


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_all(path):
    return list(read_source(make_file_reader(path), path))


def summarize(results):
    return [row.source_id if isinstance(row, Candidate) else row.reason for row in results]


def test_a_file_of_problems_gives_candidates_with_labelled_programs(tmp_path):
    row = make_row(
        "a", reference_solutions=["print(2)"], wrong_solutions=["print(3)"], licence="MIT", note="x", source="y"
    )
    (candidate,) = read_all(write_lines(tmp_path / "mine.jsonl", [row]))
    assert (candidate.problem.question_id, candidate.source, candidate.licence) == ("mine/a", "mine", "MIT")
    assert (candidate.right_programs, candidate.wrong_programs) == (("print(2)",), ("print(3)",))
    assert candidate.problem.extra == {"note": "x"}


def test_bad_rows_are_dropped_with_file_and_row(tmp_path):
    packed = make_row("f", private_test_cases=pickle.dumps(["x"]).hex())
    rows = [
        make_row("a"),
        {"question_content": "no id"},
        make_row("a"),
        make_row("b", public_test_cases="[]"),
        make_row("c", public_test_cases=[{"input": 1}]),
        make_row("d", question_content=7),
        packed,
        make_row("e"),
    ]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    with path.open("ab") as file:
        file.write(b'{"question_id": "\xff"}\n[1]\n{"question_id": \n')
    results = read_all(path)
    assert summarize(results) == ["a", "bad_row", "duplicate_id", *["bad_row"] * 4, "e", *["bad_row"] * 3]
    assert results[1] == Dropped(
        question_id="mine/mine.jsonl:2",
        source="mine",
        stage="collect",
        reason="bad_row",
        detail="mine.jsonl, row 2: public_test_cases, private_test_cases: no tests at all",
    )
    assert "mine.jsonl, row 9: not UTF-8" in results[8].detail


@pytest.mark.parametrize("damage", ["cut", "text", "no parquet"])
def test_the_rows_before_damage_are_kept(tmp_path, damage):
    path = tmp_path / "mine.json.gz"
    if damage == "cut":
        data = gzip.compress(json.dumps([make_row(str(number), note="x" * 100_000) for number in range(9)]).encode(), 0)
        path.write_bytes(data[:500_000])
    elif damage == "text":
        path.write_text(f"[{json.dumps(make_row('0'))}, {json.dumps(make_row('1'))}, what")
    else:
        path.write_bytes(b"PAR1" + b"\0" * 100)
    results = read_all(path)
    assert [row.reason for row in results if isinstance(row, Dropped)] == ["unreadable_file"]
    assert len(results) > (0 if damage == "no parquet" else 2)
    assert "mine.json.gz" in results[-1].detail


def test_a_missing_file_is_reported_as_unreadable(tmp_path):
    assert summarize(read_all(tmp_path / "none.jsonl")) == ["unreadable_file"]


def test_parquet_files_hold_nested_columns(tmp_path):
    path = tmp_path / "part.parquet"
    rows = [{"problem": "Add 1.", "tests": json.dumps(TESTS), "solutions": ["print(2)"]}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    (candidate,) = read_source(READERS["deepcoder"], path)
    assert candidate.right_programs == ("print(2)",)


def test_a_name_with_a_folder_takes_the_matching_files_in_order(tmp_path):
    for name in ("taco/train-1.parquet", "taco/train-0.parquet", "taco/test-0.parquet", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = resolve_source(f"deepcoder:{tmp_path}", READERS)
    assert [file.name for file in source.files] == ["train-0.parquet", "train-1.parquet"]
    single = tmp_path / "taco" / "test-0.parquet"
    assert resolve_source(f"deepcoder:{single}", READERS).files == (single,)
    assert [file.name for file in resolve_source(f"taco:{tmp_path / 'taco'}", READERS).files] == [
        *("test-0.parquet", "train-0.parquet", "train-1.parquet"),
    ]


@pytest.mark.parametrize("text", ["unknown", "unknown:/tmp", "no/such.jsonl"])
def test_an_unknown_source_is_reported_with_the_known_ones(text):
    with pytest.raises(SourceError, match=r"neither a file nor one of codecontests, codeforces, deepcoder"):
        resolve_source(text, READERS)


def test_a_folder_without_files_is_reported(tmp_path):
    with pytest.raises(SourceError, match=r"has none of data/train-\*\.parquet"):
        resolve_source(f"taco:{tmp_path}", READERS)


def test_without_a_hub_the_message_names_the_command_and_the_files(monkeypatch):
    def refuse(*_, **__):
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr(source_files.HfApi, "list_repo_files", refuse)
    with pytest.raises(SourceError) as caught:
        resolve_source("taco", READERS)
    assert "hf download likaixin/TACO-verified --repo-type dataset --include 'data/train-*.parquet'" in str(
        caught.value
    )
    assert "sources=[taco:FOLDER]" in str(caught.value)


def test_files_on_the_hub_are_selected_by_pattern(monkeypatch, tmp_path):
    names = ["data/train-00001.parquet", "README.md", "data/train-00000.parquet", "data/test-00000.parquet"]
    monkeypatch.setattr(source_files.HfApi, "list_repo_files", lambda *_, **__: names)
    monkeypatch.setattr(source_files, "hf_hub_download", lambda _, name, repo_type: tmp_path / repo_type / name)
    assert resolve_source("taco", READERS).files == (
        tmp_path / "dataset/data/train-00000.parquet",
        tmp_path / "dataset/data/train-00001.parquet",
    )
    monkeypatch.setattr(source_files.HfApi, "list_repo_files", lambda *_, **__: ["README.md"])
    with pytest.raises(SourceError, match="has none of"):
        resolve_source("taco", READERS)


def test_two_sources_of_one_name_are_rejected(tmp_path):
    files = [tmp_path / folder / "mine.jsonl" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        write_lines(file, [make_row("1")])
    with pytest.raises(SourceError, match="has the name of another source, mine: rename it"):
        resolve_sources([str(file) for file in files], READERS)
    with pytest.raises(SourceError, match="is in the list twice"):
        resolve_sources([f"taco:{files[0]}"] * 2, READERS)
    sources = resolve_sources([f"taco:{file}" for file in files], READERS)
    assert [source.files for source in sources] == [(files[0],), (files[1],)]
