"""Bad input through all stages: each bad row or file has a reason and a place, is counted, and harms no other row."""

import base64
import contextlib
import gzip
import io
import json
import os
import pickle
import zlib
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from conf.validation import parse_curate
from evaluator import row_files
from evaluator.errors import RunFailed
from launch.curation import run
from launch.curation.processing import selection
from launch.curation.sources import reader
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import resolve_sources
from tests.launch.curation.stand_ins import verify

SUM = "print(sum(map(int, input().split())))"
WORDS = [f"word{number}" for number in range(2000)]


def make_row(number, **changes):
    """Make a problem of its own words, in this project's format."""
    tests = [{"input": f"{number} {value}\n", "output": f"{number + value}\n"} for value in range(3)]
    row = {
        "question_id": f"p{number}",
        "question_content": f"Print the sum of two numbers. {' '.join(WORDS[20 * number : 20 * number + 20])}",
        "private_test_cases": json.dumps(tests),
        "reference_solutions": [SUM],
    }
    return row | changes


def write_lines(path, *rows):
    """Write JSONL; a row that is bytes is written as it is."""
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return [str(path)]


def write_parquet(path, *rows):
    pq.write_table(pa.Table.from_pylist([*rows]), path)
    return [str(path)]


@pytest.fixture
def without_ray(monkeypatch):
    """Execute blocks in this process, and only the verification by a stand-in."""
    make_functions = run.make_stage_functions
    monkeypatch.setattr(run, "ray_cluster", lambda cluster: contextlib.nullcontext())
    monkeypatch.setattr(run, "execute_with_ray_data", map)
    monkeypatch.setattr(run, "make_stage_functions", lambda *args: replace(make_functions(*args), verify=verify))


def curate(tmp_path, sources, **changes):
    """Curate and check that the numbers add up.

    Returns the dropped rows as (stage, reason, detail), and the ids of the problems.
    """
    output = tmp_path / "out"
    values = {
        "sources": sources,
        "exclude": [],
        "output": str(output),
        "strict": False,
        "max_tests": 15,
        "keep_unverified": False,
        "cluster": {"address": None, "num_cpus": None, "object_store_mb": 64},
    }
    config = parse_curate(values | changes)
    run.run_curation(config, resolve_sources(config.sources, READERS), Console(file=io.StringIO()))
    manifest = json.loads((output / "manifest.json").read_text())
    dropped = pq.read_table(output / "dropped.parquet").to_pylist()
    problems = pq.read_table(output / "problems.parquet").to_pylist()
    check_numbers(manifest, dropped, problems)
    return [(row["stage"], row["reason"], row["detail"]) for row in dropped], [row["question_id"] for row in problems]


def check_numbers(manifest, dropped, problems):
    for totals_by_stage in (manifest["stages"], *manifest["sources"].values()):
        rows_in = totals_by_stage["collect"]["in"]
        for totals in totals_by_stage.values():
            assert totals["in"] == rows_in == totals["out"] + sum(totals["dropped"].values())
            rows_in = totals["out"]
    counts = Counter((row["stage"], row["reason"]) for row in dropped)
    assert counts == {
        (stage, reason): number
        for stage, totals in manifest["stages"].items()
        for reason, number in totals["dropped"].items()
    }
    assert manifest["stages"]["verify"]["out"] == len(problems)
    assert all(row["question_id"] and row["source"] and row["detail"] for row in dropped)


# --- kinds of bad input: each writes files, and returns its sources -------------------------------------------------


def write_cut_parquet(folder):
    path = folder / "mine.parquet"
    write_parquet(path, *map(make_row, range(3)))
    path.write_bytes(path.read_bytes()[:-100])
    return [str(path), *write_lines(folder / "good.jsonl", make_row(9))]


def write_damaged_parquet(folder):
    """Write two row groups, of which the data of the second one are overwritten."""
    path = folder / "mine.parquet"
    pq.write_table(pa.Table.from_pylist([*map(make_row, range(20))]), path, row_group_size=16, compression="gzip")
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + 40 : start + 80] = b"\xff" * 40
    path.write_bytes(data)
    return [str(path)]


def write_cut_gzip(folder):
    path = folder / "mine.jsonl.gz"
    data = b"".join(json.dumps(make_row(number, note=os.urandom(2000).hex())).encode() + b"\n" for number in range(60))
    path.write_bytes(gzip.compress(data)[:-40_000])
    return [str(path)]


def write_broken_list(folder):
    path = folder / "mine.json"
    path.write_text(f"[{json.dumps(make_row(0))}, {json.dumps(make_row(1))}, what")
    return [str(path)]


def write_other_columns(folder):
    return write_parquet(folder / "mine.parquet", {"prompt": "Add.", "answer": 3}, {"prompt": "Add.", "answer": None})


def write_other_types(folder):
    rows = [
        make_row(0),
        make_row(1, question_content=["Add."]),
        make_row(2, private_test_cases={"input": "1"}),
        make_row(3, reference_solutions=[7]),
        make_row(4, metadata="{"),
        make_row(5, question_id=None),
        [1, 2],
    ]
    return write_lines(folder / "mine.jsonl", *rows)


def write_no_tests(folder):
    rows = [make_row(0, private_test_cases="[]"), make_row(1, private_test_cases=None), make_row(2)]
    return write_lines(folder / "mine.jsonl", *rows)


def write_empty_file(folder):
    return [*write_lines(folder / "empty.jsonl"), *write_lines(folder / "mine.jsonl", make_row(0))]


def write_bytes_that_are_no_text(folder):
    line = json.dumps(make_row(1)).encode().replace(b"Print", b"Pr\xff\xfent") + b"\n"
    as_list = folder / "list.json"
    as_list.write_bytes(b"[" + line.replace(b"p1", b"p2") + b"," + json.dumps(make_row(3)).encode() + b"]")
    return [*write_lines(folder / "mine.jsonl", make_row(0), line), str(as_list)]


def write_parquet_that_is_no_text(folder):
    """Write a column of text with bytes that are not UTF-8, as other writers do without a check."""
    contents = [row["question_content"].encode() for row in map(make_row, range(3))]
    contents[1] = b"Pr\xff\xfent"
    table = pa.Table.from_pylist([*map(make_row, range(3))])
    unchecked = pa.array(contents, pa.binary()).view(pa.string())
    table = table.set_column(table.schema.get_field_index("question_content"), "question_content", unchecked)
    pq.write_table(table, folder / "mine.parquet")
    return [str(folder / "mine.parquet")]


def write_repeated_ids(folder):
    """Write an id twice in a file, and in two files of a set; the same id in another source is another id."""
    tests = json.dumps([{"input": "1 2\n", "output": "3\n"}])
    files = [folder / "set" / f"{number}.jsonl" for number in range(2)]
    files[0].parent.mkdir()
    for number, path in enumerate(files):
        row = make_row(20 + number)
        write_lines(path, {"id": "same", "text": row["question_content"], "cases": tests})
    description = folder / "set.yaml"
    columns = "{statement: text, tests: cases, id: id}"
    description.write_text(f"name: set\nlicence: MIT\nfiles: ['set/*.jsonl']\ncolumns: {columns}\n")
    own = write_lines(
        folder / "mine.jsonl", make_row(0), make_row(1, question_id="p0"), make_row(2, question_id="same")
    )
    return [str(description), *own]


def pack(value):
    """Pack private tests as LiveCodeBench publishes them."""
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


class Malicious:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def write_pickles(folder):
    tests = make_row(3)["private_test_cases"]
    rows = [
        make_row(0, private_test_cases=pack(tests)),
        make_row(1, private_test_cases=pack(Malicious(folder / "executed"))),
        make_row(2, private_test_cases=pack([tests])),
        make_row(3, private_test_cases=pack(tests)[:-20]),
        make_row(4, private_test_cases=base64.b64encode(b"no zlib").decode()),
    ]
    return write_lines(folder / "mine.jsonl", *rows)


MINE = "mine.jsonl, row "
KINDS = {
    "cut Parquet": (write_cut_parquet, [("unreadable_file", "mine.parquet, row 1: cannot be read")], ["good/p9"]),
    "damaged Parquet": (
        write_damaged_parquet,
        [("unreadable_file", "mine.parquet, row 17: cannot be read any further")],
        [f"mine/p{number}" for number in range(16)],
    ),
    "broken list": (write_broken_list, [("unreadable_file", "mine.json, row 3: ")], ["mine/p0", "mine/p1"]),
    "other columns": (
        write_other_columns,
        [("bad_row", "mine.parquet, row 1: "), ("bad_row", "mine.parquet, row 2: ")],
        [],
    ),
    "other types": (write_other_types, [("bad_row", f"{MINE}{number}: ") for number in range(2, 8)], ["mine/p0"]),
    "no tests": (write_no_tests, [("bad_row", f"{MINE}1: "), ("bad_row", f"{MINE}2: ")], ["mine/p2"]),
    "empty file": (write_empty_file, [], ["mine/p0"]),
    "not UTF-8": (
        write_bytes_that_are_no_text,
        [("bad_row", f"{MINE}2: not UTF-8"), ("bad_row", "list.json, row 1: not UTF-8")],
        ["mine/p0", "list/p3"],
    ),
    "not UTF-8 in Parquet": (
        write_parquet_that_is_no_text,
        [("bad_row", "mine.parquet, row 2: not UTF-8")],
        ["mine/p0", "mine/p2"],
    ),
    "repeated ids": (
        write_repeated_ids,
        [("duplicate_id", f"{MINE}2: mine/p0: in an earlier row"), ("duplicate_id", "in another of its files")],
        ["set/same", "mine/p0", "mine/same"],
    ),
    "pickles": (write_pickles, [("bad_row", f"{MINE}{number}: ") for number in range(2, 6)], ["mine/p0"]),
}


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_dropped_with_its_place_and_counted(tmp_path, without_ray, kind):
    write, expected, kept = KINDS[kind]
    dropped, ids = curate(tmp_path, write(tmp_path))
    assert [(reason, words in detail) for (_, reason, detail), (_, words) in zip(dropped, expected, strict=True)] == [
        (reason, True) for reason, _ in expected
    ]
    assert ids == kept
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kind", [kind for kind, (_, expected, _) in KINDS.items() if expected])
def test_strict_ends_the_run_at_bad_input(tmp_path, without_ray, kind):
    write, expected, _ = KINDS[kind]
    with pytest.raises(RunFailed, match=rf"^strict=true: \S+: {expected[0][0]}: .*{expected[0][1][:10]}"):
        curate(tmp_path, write(tmp_path), strict=True)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not (tmp_path / "executed").exists()


def test_rows_before_the_cut_of_a_compressed_file_are_kept(tmp_path, without_ray):
    dropped, ids = curate(tmp_path, write_cut_gzip(tmp_path))
    (stage, reason, detail) = dropped[-1]
    assert (len(dropped), stage, reason) == (1, "collect", "unreadable_file")
    assert 10 < len(ids) < 60 and f"mine.jsonl.gz, row {len(ids) + 1}: " in detail and "damaged gzip" in detail


def test_a_file_that_disappears_is_reported_and_the_others_are_read(tmp_path, without_ray, monkeypatch):
    sources = [*write_lines(tmp_path / "gone.jsonl", make_row(0)), *write_lines(tmp_path / "mine.jsonl", make_row(1))]
    make_settings = run.make_stage_settings

    def remove_file(*args):
        settings = make_settings(*args)
        (tmp_path / "gone.jsonl").unlink()
        return settings

    monkeypatch.setattr(run, "make_stage_settings", remove_file)
    dropped, ids = curate(tmp_path, sources)
    assert [(reason, "gone.jsonl, row 1" in detail) for _, reason, detail in dropped] == [("unreadable_file", True)]
    assert ids == ["mine/p1"]


def test_tests_and_rows_beyond_the_limits_are_dropped(tmp_path, without_ray, monkeypatch):
    monkeypatch.setattr(selection, "MAX_TEST_CHARS", 1000)
    monkeypatch.setattr(reader, "MAX_TESTS_CHARS", 5000)
    monkeypatch.setattr(row_files, "MAX_ROW_BYTES", 10_000)
    small = {"input": "1 2\n", "output": "3\n"}
    tests = {
        "p0": [small],
        "p1": [{"input": "1 " * 600, "output": "600\n"}],
        "p2": [{"input": "1 " * 600, "output": "600\n"}, small],
        "p3": [{"input": "1 " * 3000, "output": "3000\n"}, small],
        "p4": [{"input": "1 " * 6000, "output": "6000\n"}, small],
        "p5": [small],
    }
    rows = [make_row(int(name[1]), private_test_cases=json.dumps(value)) for name, value in tests.items()]
    dropped, ids = curate(tmp_path, write_lines(tmp_path / "mine.jsonl", *rows))
    assert [(stage, reason) for stage, reason, _ in dropped] == [
        ("collect", "too_large"),
        ("collect", "bad_row"),
        ("process", "tests_too_large"),
    ]
    assert "mine.jsonl, row 4: 6011 characters of tests; the limit is 5000" in dropped[0][2]
    assert "mine.jsonl, row 5: larger than 10000 bytes" in dropped[1][2]
    assert ids == ["mine/p0", "mine/p2", "mine/p5"]


def test_lone_surrogates_reach_no_column_of_text(tmp_path, without_ray):
    tests = json.dumps([{"input": "\ud800 1\n", "output": "\udfff\n"}])
    rows = [
        make_row(0, question_content=f"\ud800 {make_row(0)['question_content']}", private_test_cases=tests),
        make_row(1, question_id="\udcff"),
        make_row(2, question_title="\udc00", reference_solutions=[SUM, "\ud800"], licence="\ud800", note="\ud800"),
        make_row(3, metadata=json.dumps({"checker": {"type": "custom", "code": "# \ud800"}})),
    ]
    dropped, ids = curate(tmp_path, write_lines(tmp_path / "mine.jsonl", *rows))
    assert [(reason, "mine.jsonl, row 4: metadata.checker" in detail) for _, reason, detail in dropped] == [
        ("bad_row", True)
    ]
    assert ids == ["mine/p0", "mine/\ufffd", "mine/p2"]
    problems = pq.read_table(tmp_path / "out" / "problems.parquet").to_pylist()
    assert json.loads(problems[0]["private_test_cases"])[0]["input"] == "\ud800 1\n"
    assert problems[2]["reference_solutions"] == [SUM] and problems[2]["licence"] == "\ufffd"


def test_a_file_name_that_is_not_unicode_is_reported(tmp_path, without_ray):
    path = os.fsencode(tmp_path) + b"/\xffmine.jsonl"
    with open(path, "wb") as file:
        file.write(json.dumps(make_row(0)).encode() + b"\n")
    good = write_lines(tmp_path / "good.jsonl", make_row(1))
    dropped, ids = curate(tmp_path, [os.fsdecode(path), *good])
    assert [reason for _, reason, _ in dropped] == ["bad_row"] and "surrogate" in dropped[0][2]
    assert ids == ["good/p1"]


@pytest.mark.heavy
def test_bad_rows_are_verified_or_dropped_with_real_programs(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "ray_cluster", lambda cluster: contextlib.nullcontext())
    monkeypatch.setattr(run, "execute_with_ray_data", map)
    surrogates = json.dumps([{"input": "\ud800 1\n", "output": "\ud800 1\n"}])
    rows = [
        make_row(0, private_test_cases=surrogates, reference_solutions=["print('\ud800')", "print(input())"]),
        make_row(1, reference_solutions=["print('\x00')", SUM, "x" * 100_000, "(" * 5000]),
        make_row(2, metadata=json.dumps({"checker": {"type": "custom", "code": "def check(:"}})),
        make_row(3, private_test_cases=pack(make_row(3)["private_test_cases"])),
        make_row(4, private_test_cases=json.dumps([{"input": "\x00\n", "output": "\x00\n"}])),
    ]
    dropped, ids = curate(tmp_path, write_lines(tmp_path / "mine.jsonl", *rows))
    assert "mine/p1" in ids and "mine/p3" in ids
    assert len(dropped) + len(ids) == len(rows)
