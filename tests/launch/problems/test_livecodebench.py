"""LiveCodeBench loader: selection of problems, reports of bad rows and files, and the cache."""

import base64
import datetime
import gzip
import json
import pickle
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluator.problem import ProblemError, load_problems
from launch.problems import livecodebench, published_files
from launch.problems.date_window import DateWindow, parse_contest_day
from launch.problems.evaluation_set import BadRow, BenchmarkError
from launch.problems.livecodebench import Selection, load_livecodebench
from launch.problems.published_files import read_rows
from tests.factories import make_problem

DATA = Path(__file__).parents[4] / "shared" / "data" / "lcb_problems.jsonl.gz"
EVERY_DAY = DateWindow(None, None)
TESTS = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]


def parse_day(text):
    return datetime.date.fromisoformat(text)


def pack_tests(tests):
    """Encode private tests as the benchmark does."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def row(question_id, date="2025-02-01T00:00:00", **changes):
    """Make an invented row with the columns and peculiarities of the published files."""
    return {
        "question_title": f"title {question_id}",
        "question_content": f"Statement of {question_id}.",
        "platform": "atcoder",
        "question_id": question_id,
        "contest_id": "abc999",
        "contest_date": date,
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(TESTS),
        "private_test_cases": pack_tests(TESTS * 2),
        "metadata": "{}",
        **changes,
    }


def write(path, *given_rows):
    """Write rows, or raw bytes, as lines of JSONL, compressed if the name ends in .gz."""
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in given_rows]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def load(local_copy, subset="all", window=EVERY_DAY, strict=False, cache=None):
    cache = cache or Path(local_copy).parent / "cache"
    return load_livecodebench(Selection(subset, window), str(local_copy), cache, strict)


def ids(loaded):
    return [problem.question_id for problem in loaded.problems]


@pytest.fixture
def files(tmp_path):
    """Directory with a copy of the published files: one problem in each file, two in the last."""
    directory = tmp_path / "published"
    directory.mkdir()
    for number, name in enumerate(livecodebench.SHARDS, 1):
        write(directory / f"{name}.jsonl", row(f"p{number}", f"2024-0{number}-15T00:00:00"))
    write(directory / "test6.jsonl", row("p6", "2025-01-04T00:00:00"), row("p7", "2025-04-05T00:00:00"))
    return directory


@pytest.fixture
def hub(files, monkeypatch):
    """Fake hub that serves ``files``; the value is the list of downloaded names."""
    downloads = []

    def download(repository, name, repo_type):
        assert (repository, repo_type) == ("livecodebench/code_generation_lite", "dataset")
        downloads.append(name)
        return str(files / name)

    monkeypatch.setattr(published_files, "hf_hub_download", download)
    return downloads


@pytest.mark.parametrize(
    ("subset", "names", "expected"),
    [
        ("lcb_v6", ["test6.jsonl"], ["p6", "p7"]),
        ("release_v1", ["test.jsonl"], ["p1"]),
        ("release_v2", ["test.jsonl", "test2.jsonl"], ["p1", "p2"]),
        (
            "release_v6",
            ["test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl", "test6.jsonl"],
            ["p1", "p2", "p3", "p4", "p5", "p6", "p7"],
        ),
    ],
)
def test_subset_from_hub_equals_subset_from_local_copy(tmp_path, files, hub, subset, names, expected):
    from_hub = load_livecodebench(Selection(subset, EVERY_DAY), None, tmp_path, strict=True)
    assert (hub, ids(from_hub)) == (names, expected)
    assert load(files, subset, strict=True) == from_hub
    assert from_hub.summary.published == livecodebench.PUBLISHED_COUNTS[subset]


def test_download_error_says_what_to_set(tmp_path, monkeypatch):
    def download(*_, **__):
        raise LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub.\nMore.")

    monkeypatch.setattr(published_files, "hf_hub_download", download)
    with pytest.raises(BenchmarkError, match=r"test6\.jsonl of livecodebench.*on the Hub\.\).*dataset\.held_out_path"):
        load_livecodebench(Selection("lcb_v6", EVERY_DAY), None, tmp_path, strict=False)
    with pytest.raises(BenchmarkError, match=r"dataset\.release=release_v6"):
        load_livecodebench(Selection("all", EVERY_DAY), None, tmp_path, strict=False)


def test_functional_row_of_the_published_form(tmp_path):
    starter = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
    tests = [{"input": "1\n2", "output": "3", "testtype": "functional"}]
    functional = row(
        "3702",
        platform="leetcode",
        starter_code=starter,
        public_test_cases=json.dumps(tests),
        private_test_cases=pack_tests(tests * 3),
        metadata='{"func_name": "add"}',
    )
    (problem,) = load(write(tmp_path / "p.jsonl", functional)).problems
    assert (problem.func_name, problem.starter_code, len(problem.public_tests), len(problem.private_tests)) == (
        "add",
        starter,
        1,
        3,
    )
    assert problem.extra == {"contest_id": "abc999"}


def encode(kind, *given_rows):
    """Return the contents of a file of rows."""
    if kind == "Parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(given_rows), sink)
        return sink.getvalue().to_pybytes()
    if "list" in kind:
        data = json.dumps(given_rows).encode()
    else:
        data = b"".join(json.dumps(given_row).encode() + b"\n" for given_row in given_rows)
    return gzip.compress(data) if "gzip" in kind else data


@pytest.mark.parametrize("kind", ["JSONL", "JSONL, gzip", "JSON list", "JSON list, gzip", "Parquet"])
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".parquet"])
def test_local_copies_are_recognised_by_their_content(tmp_path, suffix, kind):
    (tmp_path / "copy").mkdir()
    path = tmp_path / "copy" / f"test6{suffix}"
    path.write_bytes(encode(kind, row("a"), row("b", difficulty=None)))
    for local_copy in (path, path.parent):
        for subset in ("lcb_v6", "all"):
            assert ids(load(local_copy, subset, strict=True, cache=tmp_path)) == ["a", "b"]


def test_lcb_v6_in_a_single_file_is_selected_by_file_name_or_days(tmp_path):
    given_rows = [
        row("a", "2025-01-03T23:00:00"),
        row("b", "2025-01-04"),
        row("c", "2025-04-06"),
        row("d", "2025-04-07"),
    ]
    assert ids(load(write(tmp_path / "test6.jsonl", *given_rows), "lcb_v6")) == ["a", "b", "c", "d"]
    other = load(write(tmp_path / "mine.jsonl", *given_rows), "lcb_v6")
    assert (ids(other), other.summary.outside_window) == (["b", "c"], 2)
    narrower = load(tmp_path / "mine.jsonl", "lcb_v6", DateWindow(parse_day("2025-02-01"), None))
    assert (ids(narrower), narrower.summary.published) == (["c"], None)


@pytest.mark.parametrize(
    ("name", "subset", "message"),
    [
        ("absent.jsonl", "all", "no such file or directory"),
        ("mine.jsonl", "release_v6", r"a single file.*=release_v6.*test\.jsonl, test2\.jsonl.*dataset\.end_date"),
        ("test5.jsonl", "release_v6", "a single file does not show which rows belong to dataset.release=release_v6"),
        ("empty", "all", "no file name ends in"),
        ("empty", "release_v2", r"test\.jsonl is missing, which release_v2 needs"),
    ],
)
def test_unusable_local_copy_is_an_error(tmp_path, name, subset, message):
    (tmp_path / "empty").mkdir()
    for file in ("mine.jsonl", "test5.jsonl"):
        write(tmp_path / file, row("a"))
    with pytest.raises(BenchmarkError, match=rf"dataset\.held_out_path=.*{name}: {message}"):
        load(tmp_path / name, subset)


def test_window_includes_both_ends_and_drops_undated_problems(tmp_path):
    inside = ["2025-02-01T00:00:00", "2025-02-28T18:30:00"]
    dates = ["2025-01-31T23:59:59", *inside, "2025-03-01", None, "soon", "2025-02-10"]
    path = write(tmp_path / "p.jsonl", *(row(f"p{number}", date) for number, date in enumerate(dates)))
    loaded = load(path, window=DateWindow(parse_day("2025-02-01"), parse_day("2025-02-28")))
    assert ids(loaded) == ["p1", "p2", "p6"]
    assert (loaded.summary.outside_window, loaded.summary.undated, loaded.summary.rejected) == (2, 2, ())
    assert str(loaded.summary) == "3 problems; dropped: 2 outside the date window, 2 without a date"
    assert ids(load(path, window=DateWindow(parse_day("2025-02-11"), None))) == ["p2", "p3"]
    everything = load(path)
    assert (len(everything.problems), everything.summary.undated, str(everything.summary)) == (7, 0, "7 problems")


def test_parquet_timestamps_are_accepted_as_dates(tmp_path):
    path = tmp_path / "p.parquet"
    pq.write_table(pa.Table.from_pylist([row("a", datetime.datetime(2025, 2, 28, 18, 30))]), path)
    assert ids(load(path, window=DateWindow(None, parse_day("2025-02-28")))) == ["a"]


DAYS = st.none() | st.dates(datetime.date(2024, 1, 1), datetime.date(2024, 12, 31))


@given(DAYS, DAYS, DAYS, DAYS, DAYS.filter(bool))
def test_window_operations_match_sets_of_days(start, end, other_start, other_end, day):
    window = DateWindow(start, end)
    other = DateWindow(other_start, other_end)
    assert (day in window.intersect(other)) == (day in window and day in other)
    assert parse_contest_day(make_problem(contest_date=day.isoformat())) == day


def test_window_that_training_must_exclude(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a", "2025-02-01"), row("b", "2025-03-01"), row("c", None))
    assert load(path).window == DateWindow(parse_day("2025-02-01"), None)
    selected = DateWindow(parse_day("2025-01-15"), parse_day("2025-02-15"))
    assert load(path, window=selected).window == DateWindow(parse_day("2025-01-15"), None)
    assert load(path, "lcb_v6").window == DateWindow(parse_day("2025-01-01"), None)
    assert load(write(tmp_path / "q.jsonl", row("c", None))).window is None


BAD = {
    "not JSON": (b"{broken", "not JSON"),
    "not an object": (b"[]", "expected an object, got list"),
    "nested too deeply": (b"[" * 5000 + b"]" * 5000, "not JSON: nested too deeply"),
    "not UTF-8": (b'{"question_id": "\xff"}', "not UTF-8"),
    "other columns": (
        {"task_id": "HumanEval/0", "prompt": "def f():"},
        "unexpected schema: missing columns question_id, question_content, public_test_cases; the row has task_id",
    ),
    "empty id": (row(""), "question_id: expected a non-empty string"),
    "no statement": (row("b", question_content=" "), "question_content: empty"),
    "no tests": (row("b", public_test_cases="[]", private_test_cases=pack_tests([])), "no tests at all"),
    "private tests that run code": (
        row("b", private_test_cases=base64.b64encode(zlib.compress(pickle.dumps(print))).decode()),
        "the pickle refers to builtins.print",
    ),
    "unpaired surrogate": (row("b", question_content="\ud83d"), "question_content: not Unicode"),
    "unpaired surrogate in a test": (
        row("b", private_test_cases=pack_tests([{"input": "\ud83d", "output": ""}])),
        "private_test_cases[0]: not Unicode",
    ),
    "duplicate id": (row("a"), "question_id: duplicate of an earlier 'a', in p.jsonl"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_bad_rows_are_reported_with_file_and_row(tmp_path, bad, reason):
    path = write(tmp_path / "p.jsonl", row("a"), b"", bad, row("c"))
    for _ in range(2):  # first from the file, then from the cache
        loaded = load(path)
        assert ids(loaded) == ["a", "c"]
        assert loaded.summary.selected == 2
        (rejected,) = loaded.summary.rejected
        assert str(rejected).startswith("p.jsonl, line 3: ")
        assert reason in rejected.reason
        assert str(loaded.summary) == "2 problems; dropped: 1 bad rows"
        with pytest.raises(ProblemError, match=r"^p\.jsonl, line 3: "):
            load(path, strict=True)


@pytest.mark.heavy
def test_row_with_too_large_test_is_rejected(tmp_path):
    """The limit is on the unpacked size: 100 MB of one letter are small when packed. A test at the limit is kept."""
    limit = livecodebench.MAX_TEST_BYTES
    large = row("b", private_test_cases=pack_tests([{"input": "x" * 100_000_000, "output": ""}]))
    allowed = row("c", private_test_cases=pack_tests([{"input": "x" * (limit - 2), "output": "yy"}]))
    loaded = load(write(tmp_path / "p.jsonl", row("a"), large, allowed))
    assert ids(loaded) == ["a", "c"]
    reason = f"private_test_cases[0]: 100000000 bytes, more than {limit}"
    assert loaded.summary.rejected == (BadRow("p.jsonl", 2, reason),)


def test_duplicate_id_in_another_file_is_rejected(files):
    write(files / "test2.jsonl", row("x"), row("p1"))
    loaded = load(files, "release_v3")
    assert ids(loaded) == ["p1", "x", "p3"]
    reason = "question_id: duplicate of an earlier 'p1', in test.jsonl"
    assert loaded.summary.rejected == (BadRow("test2.jsonl", 2, reason),)


def test_duplicate_of_a_problem_outside_the_window_is_rejected(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a", "2020-01-01"), row("a", "2025-02-01"), row("b", "2025-02-01"))
    loaded = load(path, window=DateWindow(parse_day("2025-01-01"), None))
    assert (ids(loaded), len(loaded.summary.rejected)) == (["b"], 1)


GZIP_ROW = gzip.compress(json.dumps(row("z")).encode())
UNREADABLE = {
    "not Parquet": (".parquet", b"PAR1 not parquet"),
    "list without an end": (".json", b'[{"question_id": "z"'),
    "truncated gzip": (".jsonl.gz", GZIP_ROW[:-12]),
    "invalid deflate": (".jsonl.gz", GZIP_ROW[:12] + b"\xff" * 30),
}


@pytest.mark.parametrize(("suffix", "content"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_file_is_reported_and_other_files_are_read(files, suffix, content):
    (files / "test2.jsonl").unlink()
    (files / f"test2{suffix}").write_bytes(content)
    loaded = load(files, "release_v3")
    assert ids(loaded) == ["p1", "p3"]
    (rejected,) = loaded.summary.rejected
    assert (rejected.file, rejected.line) == (f"test2{suffix}", None)
    assert rejected.reason.startswith("cannot be read beyond row 0: ")
    with pytest.raises(ProblemError, match=r"^test2\..*cannot be read"):
        load(files, "release_v3", strict=True)


def test_reason_for_unreadable_file_names_it_once(tmp_path):
    (tmp_path / "p.jsonl.gz").write_bytes(GZIP_ROW[:-12])
    (bad,) = read_rows(tmp_path / "p.jsonl.gz")
    assert str(bad) == (
        "p.jsonl.gz: cannot be read beyond row 0: Compressed file ended before the end-of-stream marker was reached"
    )
    assert list(read_rows(tmp_path / "gone")) == [
        BadRow("gone", None, "cannot be read beyond row 0: No such file or directory")
    ]


def test_file_that_cannot_be_opened_is_reported(files):
    (files / "test2.jsonl").unlink()
    (files / "test2.jsonl").mkdir()
    loaded = load(files, "release_v3")
    assert ids(loaded) == ["p1", "p3"]
    assert loaded.summary.rejected == (BadRow("test2.jsonl", None, "cannot be read: Is a directory"),)


def test_rows_before_the_damage_are_kept(tmp_path):
    data = gzip.compress(json.dumps(row("a")).encode() + b"\n", mtime=0)
    (tmp_path / "p.jsonl.gz").write_bytes(data + data[:-20])
    loaded = load(tmp_path / "p.jsonl.gz")
    assert ids(loaded) == ["a"]
    assert "cannot be read beyond row 1" in loaded.summary.rejected[0].reason


def test_parquet_row_that_is_not_utf_8_is_rejected(tmp_path):
    table = pa.Table.from_pylist([row("a"), row("b", question_content="MARK"), row("c")])
    column = table.schema.get_field_index("question_content")
    texts = pa.array([text.encode().replace(b"MARK", b"\xff\xfe") for text in table.column(column).to_pylist()])
    pq.write_table(table.set_column(column, "question_content", texts.view(pa.string())), tmp_path / "p.parquet")
    loaded = load(tmp_path / "p.parquet")
    assert ids(loaded) == ["a", "c"]
    assert [(bad.line, bad.reason[:9]) for bad in loaded.summary.rejected] == [(2, "not UTF-8")]


def test_file_without_usable_problem_is_an_error(tmp_path):
    with pytest.raises(
        BenchmarkError, match=r"p\.jsonl, all: no usable problem: .*1 bad rows; first bad row: p\.jsonl, l"
    ):
        load(write(tmp_path / "p.jsonl", b"{"))
    with pytest.raises(BenchmarkError, match=r"0 problems; dropped: 1 outside the date window$"):
        load(write(tmp_path / "q.jsonl", row("a")), window=DateWindow(None, parse_day("2000-01-01")))


LINES = st.one_of(
    st.builds(row, st.sampled_from("abcdef"), DAYS.map(lambda day: day and day.isoformat())),
    st.sampled_from([bad for bad, _ in BAD.values()]),
    st.binary(min_size=1, max_size=8).filter(lambda line: line.strip() and b"\n" not in line),
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8), DAYS, DAYS)
def test_summary_accounts_for_every_row(tmp_path, lines, start, end):
    path = write(tmp_path / "p.jsonl", row("good", "2024-06-01"), *lines)
    window = DateWindow(start, end)
    try:
        loaded = load(path, window=window)
    except BenchmarkError as error:
        assert "no usable problem" in str(error)
        return
    summary = loaded.summary
    assert 1 + len(lines) == summary.selected + summary.outside_window + summary.undated + len(summary.rejected)
    assert len(set(ids(loaded))) == len(loaded.problems) == summary.selected
    days = [parse_contest_day(problem) for problem in loaded.problems]
    assert all(window.is_unbounded or (day and day in window) for day in days)
    assert load(path, window=window) == loaded


# --- Cache ------------------------------------------------------------------------------------------------------------


def cache_files(tmp_path):
    return sorted((tmp_path / "cache").iterdir())


def test_cache_gives_the_same_result_without_reading_the_files(tmp_path, monkeypatch):
    extra = {"x_sources": {"public": 3}, "rating": 1.5, "tags": ["a", None], "extra": "mine"}
    metadata = '{"source": "x", "time_limit_s": 2, "memory_limit_mb": 64}'
    path = write(tmp_path / "p.jsonl", row("a", **extra), row("b", metadata=metadata), b"{", row("c", None))
    first = load(path)
    assert first.problems[0].extra == extra | {"contest_id": "abc999"}
    (file,) = cache_files(tmp_path)
    written = file.stat().st_mtime_ns
    monkeypatch.setattr(livecodebench, "_read_problems", None)  # must not be called again
    assert load(path) == first
    assert (cache_files(tmp_path), file.stat().st_mtime_ns) == ([file], written)


def test_parquet_values_without_json_form_are_equal_from_file_and_cache(tmp_path):
    given_row = row("a", when=datetime.datetime(2025, 1, 1), raw=b"\xff", tests=[{"k": 1}])
    pq.write_table(pa.Table.from_pylist([given_row]), tmp_path / "p.parquet")
    assert load(tmp_path / "p.parquet") == load(tmp_path / "p.parquet")


def test_changed_file_or_selection_makes_a_new_cache_file(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a"))
    load(path)
    load(path, window=DateWindow(parse_day("2025-01-01"), None))
    load(path, "lcb_v6")
    write(path, row("a", question_title="another"))
    assert load(path).problems[0].question_title == "another"
    assert len(cache_files(tmp_path)) == 4


def test_new_cache_format_makes_a_new_cache_file(tmp_path, monkeypatch):
    path = write(tmp_path / "p.jsonl", row("a"))
    load(path)
    monkeypatch.setattr(livecodebench, "CACHE_FORMAT", livecodebench.CACHE_FORMAT + 1)
    load(path)
    assert len(cache_files(tmp_path)) == 2


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_cache_is_rebuilt(tmp_path, data):
    path = write(tmp_path / "p.jsonl", row("a"), row("b"), b"{")
    expected = load(path)
    (file,) = cache_files(tmp_path)
    whole = file.read_bytes()
    offset = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        file.write_bytes(whole[:offset])
    else:
        changed_byte = bytes([whole[offset] ^ data.draw(st.integers(1, 255))])
        file.write_bytes(whole[:offset] + changed_byte + whole[offset + 1 :])
    assert load(path) == expected
    assert cache_files(tmp_path) == [file]


def test_rebuilding_the_cache_is_logged(tmp_path, caplog):
    path = write(tmp_path / "p.jsonl", row("a"))
    load(path)
    (file,) = cache_files(tmp_path)
    file.write_bytes(b"")
    load(path)
    assert "rebuilding it from the published files" in caplog.text
    caplog.clear()
    load(path)
    assert caplog.text == ""


def test_unwritable_cache_is_an_error(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a"))
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=r"\.parquet: cannot write the cache: .*check free space"):
        load(path, cache=tmp_path / "file" / "cache")


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="the LiveCodeBench problems (../shared/data) are not here")
def test_real_problems(tmp_path):
    everything = load(DATA, strict=True, cache=tmp_path)
    assert everything == load(DATA, strict=True, cache=tmp_path)
    assert everything.problems == load_problems(DATA, strict=True).problems
    lcb_v6 = load(DATA, "lcb_v6", strict=True, cache=tmp_path)
    assert (lcb_v6.summary.selected, lcb_v6.summary.outside_window) == (64, 467)
    marked_v6 = {problem.question_id for problem in everything.problems if problem.extra["x_release"] == "v6_new"}
    assert len(marked_v6) == 59
    assert marked_v6 < set(ids(lcb_v6))
