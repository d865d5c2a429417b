"""LiveCodeBench's files: what is selected, what is refused and how, and that the cache changes nothing."""

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
from launch.problems import livecodebench
from launch.problems.contest_dates import DateWindow, contest_day
from launch.problems.evaluation_set import BadRow, BenchmarkError
from launch.problems.livecodebench import Selection, load_benchmark
from tests.factories import problem

DATA = Path(__file__).parents[4] / "shared" / "data" / "lcb_problems.jsonl.gz"
EVERY_DAY = DateWindow(None, None)
TESTS = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]


def day(text):
    return datetime.date.fromisoformat(text)


def packed(tests):
    """Private tests as the benchmark ships them."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def row(question_id, date="2025-02-01T00:00:00", **changes):
    """An invented row with the published files' columns and quirks."""
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
        "private_test_cases": packed(TESTS * 2),
        "metadata": "{}",
        **changes,
    }


def write(path, *rows):
    """Rows (or bytes, as they are) as JSONL, gzip by the name."""
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in rows]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def load(local, part="all", window=EVERY_DAY, strict=False, cache=None):
    cache = cache or Path(local).parent / "cache"
    return load_benchmark(Selection(part, window), str(local), cache, strict)


def ids(loaded):
    return [one.question_id for one in loaded.problems]


@pytest.fixture
def files(tmp_path):
    """A copy of the published files: problem N in file N, and a second one in the last."""
    directory = tmp_path / "published"
    directory.mkdir()
    for number, name in enumerate(livecodebench.SHARDS, 1):
        write(directory / f"{name}.jsonl", row(f"p{number}", f"2024-0{number}-15T00:00:00"))
    write(directory / "test6.jsonl", row("p6", "2025-01-04T00:00:00"), row("p7", "2025-04-05T00:00:00"))
    return directory


@pytest.fixture
def hub(files, monkeypatch):
    """The hub, giving ``files``; the list of what was asked for."""
    asked = []

    def download(repository, name, repo_type):
        assert (repository, repo_type) == ("livecodebench/code_generation_lite", "dataset")
        asked.append(name)
        return str(files / name)

    monkeypatch.setattr(livecodebench, "hf_hub_download", download)
    return asked


@pytest.mark.parametrize(
    ("part", "names", "expected"),
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
def test_parts_of_the_hub_and_of_a_copy(tmp_path, files, hub, part, names, expected):
    from_hub = load_benchmark(Selection(part, EVERY_DAY), None, tmp_path, strict=True)
    assert (hub, ids(from_hub)) == (names, expected)
    assert load(files, part, strict=True) == from_hub
    assert from_hub.summary.published == livecodebench.PUBLISHED[part]


def test_a_hub_out_of_reach(tmp_path, monkeypatch):
    def download(*_, **__):
        raise LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub.\nMore.")

    monkeypatch.setattr(livecodebench, "hf_hub_download", download)
    with pytest.raises(BenchmarkError, match=r"test6\.jsonl of livecodebench.*on the Hub\.\).*dataset\.held_out_path"):
        load_benchmark(Selection("lcb_v6", EVERY_DAY), None, tmp_path, strict=False)
    with pytest.raises(BenchmarkError, match=r"dataset\.release=release_v6"):
        load_benchmark(Selection("all", EVERY_DAY), None, tmp_path, strict=False)


def test_a_row_with_the_published_quirks(tmp_path):
    starter = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
    tests = [{"input": "1\n2", "output": "3", "testtype": "functional"}]
    functional = row(
        "3702",
        platform="leetcode",
        starter_code=starter,
        public_test_cases=json.dumps(tests),
        private_test_cases=packed(tests * 3),
        metadata='{"func_name": "add"}',
    )
    (found,) = load(write(tmp_path / "p.jsonl", functional)).problems
    assert (found.func_name, found.starter_code, len(found.public_tests), len(found.private_tests)) == (
        "add",
        starter,
        1,
        3,
    )
    assert found.extra == {"contest_id": "abc999"}


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".parquet"])
def test_local_formats(tmp_path, ending):
    rows = [row("a"), row("b", difficulty=None)]
    (tmp_path / "copy").mkdir()
    path = tmp_path / "copy" / f"test6{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write(path, *rows)
    for local in (path, path.parent):
        for part in ("lcb_v6", "all"):
            assert ids(load(local, part, strict=True, cache=tmp_path)) == ["a", "b"]


def test_the_last_increment_in_one_file_is_told_by_the_name_or_by_days(tmp_path):
    rows = [row("a", "2025-01-03T23:00:00"), row("b", "2025-01-04"), row("c", "2025-04-06"), row("d", "2025-04-07")]
    assert ids(load(write(tmp_path / "test6.jsonl", *rows), "lcb_v6")) == ["a", "b", "c", "d"]
    other = load(write(tmp_path / "mine.jsonl", *rows), "lcb_v6")
    assert (ids(other), other.summary.outside_window) == (["b", "c"], 2)
    narrower = load(tmp_path / "mine.jsonl", "lcb_v6", DateWindow(day("2025-02-01"), None))
    assert (ids(narrower), narrower.summary.published) == (["c"], None)


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("absent.jsonl", "all", "no such file or directory"),
        ("mine.csv", "all", "cannot be read: not one of"),
        ("mine.jsonl", "release_v6", r"its rows do not say which release.*test, test2.*dataset\.end_date"),
        ("test5.jsonl", "release_v6", "its rows do not say which release"),
        ("empty", "all", "no file ends in"),
        ("empty", "release_v2", r"no test\.jsonl in it, which release_v2 needs"),
    ],
)
def test_sources_that_are_none(tmp_path, name, part, message):
    (tmp_path / "empty").mkdir()
    for file in ("mine.csv", "mine.jsonl", "test5.jsonl"):
        write(tmp_path / file, row("a"))
    with pytest.raises(BenchmarkError, match=rf"dataset\.held_out_path=.*{name}: {message}"):
        load(tmp_path / name, part)


def test_windows_include_both_ends_and_count_the_undated(tmp_path):
    inside = ["2025-02-01T00:00:00", "2025-02-28T18:30:00"]
    dates = ["2025-01-31T23:59:59", *inside, "2025-03-01", None, "soon", "2025-02-10"]
    path = write(tmp_path / "p.jsonl", *(row(f"p{number}", date) for number, date in enumerate(dates)))
    loaded = load(path, window=DateWindow(day("2025-02-01"), day("2025-02-28")))
    assert ids(loaded) == ["p1", "p2", "p6"]
    assert (loaded.summary.outside_window, loaded.summary.undated, loaded.summary.rejected) == (2, 2, ())
    assert str(loaded.summary) == "3 problems; left out: 2 outside the window, 2 without a date"
    assert ids(load(path, window=DateWindow(day("2025-02-11"), None))) == ["p2", "p3"]
    everything = load(path)
    assert (len(everything.problems), everything.summary.undated, str(everything.summary)) == (7, 0, "7 problems")


def test_real_dates_of_parquet(tmp_path):
    path = tmp_path / "p.parquet"
    pq.write_table(pa.Table.from_pylist([row("a", datetime.datetime(2025, 2, 28, 18, 30))]), path)
    assert ids(load(path, window=DateWindow(None, day("2025-02-28")))) == ["a"]


DAYS = st.none() | st.dates(datetime.date(2024, 1, 1), datetime.date(2024, 12, 31))


@given(DAYS, DAYS, DAYS, DAYS, DAYS.filter(bool))
def test_windows_as_sets_of_days(start, end, other_start, other_end, one):
    window = DateWindow(start, end)
    other = DateWindow(other_start, other_end)
    assert (one in window.within(other)) == (one in window and one in other)
    assert window.completed(other).start == (start or other_start)
    assert window.completed(other).end == (end or other_end)
    assert contest_day(problem(contest_date=one.isoformat())) == one


def test_the_days_that_a_training_set_keeps_out(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a", "2025-02-01"), row("b", "2025-03-01"), row("c", None))
    assert load(path).window == DateWindow(day("2025-02-01"), day("2025-03-01"))
    assert load(path, window=DateWindow(day("2025-01-15"), None)).window == DateWindow(
        day("2025-01-15"), day("2025-03-01")
    )
    assert load(path, "lcb_v6").window == DateWindow(day("2025-01-01"), day("2025-04-06"))
    assert load(write(tmp_path / "q.jsonl", row("c", None))).window is None


BAD = {
    "not JSON": (b"{broken", "not JSON"),
    "not an object": (b"[]", "expected an object, got list"),
    "nested too deeply": (b"[" * 5000 + b"]" * 5000, "not JSON: maximum recursion depth"),
    "not UTF-8": (b'{"question_id": "\xff"}', "not UTF-8"),
    "another schema": (
        {"task_id": "HumanEval/0", "prompt": "def f():"},
        "another schema: no column question_id, question_content, public_test_cases, but task_id, prompt",
    ),
    "an empty id": (row(""), "question_id: expected a non-empty string"),
    "no statement": (row("b", question_content=" "), "question_content: empty"),
    "no tests": (row("b", public_test_cases="[]", private_test_cases=packed([])), "no tests at all"),
    "private tests that run code": (
        row("b", private_test_cases=base64.b64encode(zlib.compress(pickle.dumps(print))).decode()),
        "the pickle asks for builtins.print",
    ),
    "half a character": (row("b", question_content="\ud83d"), "question_content: not Unicode"),
    "half a character in a test": (
        row("b", private_test_cases=packed([{"input": "\ud83d", "output": ""}])),
        "private_test_cases[0]: not Unicode",
    ),
    "a repeated id": (row("a"), "question_id: 'a' came before, in p.jsonl"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_bad_rows_are_told_by_file_and_row(tmp_path, bad, reason):
    path = write(tmp_path / "p.jsonl", row("a"), b"", bad, row("c"))
    for _ in range(2):  # read, and from the cache
        loaded = load(path)
        assert ids(loaded) == ["a", "c"]
        assert loaded.summary.selected == 2
        (found,) = loaded.summary.rejected
        assert str(found).startswith("p.jsonl, line 3: ")
        assert reason in found.reason
        assert str(loaded.summary) == "2 problems; left out: 1 bad rows"
        with pytest.raises(ProblemError, match=r"^p\.jsonl, line 3: "):
            load(path, strict=True)


@pytest.mark.heavy
def test_a_test_of_100_mb(tmp_path):
    """Packed it is small, as in the published files; beside it, one that is just allowed."""
    limit = livecodebench.MAX_TEST_BYTES
    large = row("b", private_test_cases=packed([{"input": "x" * 100_000_000, "output": ""}]))
    allowed = row("c", private_test_cases=packed([{"input": "x" * (limit - 2), "output": "yy"}]))
    loaded = load(write(tmp_path / "p.jsonl", row("a"), large, allowed))
    assert ids(loaded) == ["a", "c"]
    reason = f"private_test_cases[0]: 100000000 bytes, more than {limit}"
    assert loaded.summary.rejected == (BadRow("p.jsonl", 2, reason),)


def test_ids_are_unique_over_all_files(files):
    write(files / "test2.jsonl", row("x"), row("p1"))
    loaded = load(files, "release_v3")
    assert ids(loaded) == ["p1", "x", "p3"]
    assert loaded.summary.rejected == (BadRow("test2.jsonl", 2, "question_id: 'p1' came before, in test.jsonl"),)


def test_an_id_outside_the_window_still_counts_as_seen(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a", "2020-01-01"), row("a", "2025-02-01"), row("b", "2025-02-01"))
    loaded = load(path, window=DateWindow(day("2025-01-01"), None))
    assert (ids(loaded), len(loaded.summary.rejected)) == (["b"], 1)


CUT = gzip.compress(json.dumps(row("z")).encode())
UNREADABLE = {
    "no Parquet": (".parquet", b"PAR1 not parquet"),
    "no gzip": (".jsonl.gz", b"not gzip"),
    "cut off": (".jsonl.gz", CUT[:-12]),
    "no deflate": (".jsonl.gz", CUT[:12] + b"\xff" * 30),
}


@pytest.mark.parametrize(("ending", "content"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_file_among_others(files, ending, content):
    (files / "test2.jsonl").unlink()
    (files / f"test2{ending}").write_bytes(content)
    loaded = load(files, "release_v3")
    assert ids(loaded) == ["p1", "p3"]
    (found,) = loaded.summary.rejected
    assert (found.file, found.line) == (f"test2{ending}", None)
    assert found.reason.startswith("cannot be read beyond row 0: ")
    with pytest.raises(ProblemError, match=r"^test2\..*cannot be read"):
        load(files, "release_v3", strict=True)


def test_a_file_that_cannot_be_opened(files):
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


def test_a_row_of_parquet_that_is_not_utf_8(tmp_path):
    rows = [row("a"), row("b", question_content="MARK"), row("c")]
    table = pa.Table.from_pylist(rows)
    place = table.schema.get_field_index("question_content")
    texts = pa.array([text.encode().replace(b"MARK", b"\xff\xfe") for text in table.column(place).to_pylist()])
    pq.write_table(table.set_column(place, "question_content", texts.view(pa.string())), tmp_path / "p.parquet")
    loaded = load(tmp_path / "p.parquet")
    assert ids(loaded) == ["a", "c"]
    assert [(bad.line, bad.reason[:9]) for bad in loaded.summary.rejected] == [(2, "not UTF-8")]


def test_nothing_usable(tmp_path):
    with pytest.raises(BenchmarkError, match=r"p\.jsonl, all: no usable problem: .*1 bad rows; the first: p\.jsonl, l"):
        load(write(tmp_path / "p.jsonl", b"{"))
    with pytest.raises(BenchmarkError, match=r"0 problems; left out: 1 outside the window$"):
        load(write(tmp_path / "q.jsonl", row("a")), window=DateWindow(None, day("2000-01-01")))


LINES = st.one_of(
    st.builds(row, st.sampled_from("abcdef"), DAYS.map(lambda one: one and one.isoformat())),
    st.sampled_from([bad for bad, _ in BAD.values()]),
    st.binary(min_size=1, max_size=8).filter(lambda line: line.strip() and b"\n" not in line),
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8), DAYS, DAYS)
def test_every_row_is_accounted_for(tmp_path, rows, start, end):
    path = write(tmp_path / "p.jsonl", row("good", "2024-06-01"), *rows)
    window = DateWindow(start, end)
    try:
        loaded = load(path, window=window)
    except BenchmarkError as error:
        assert "no usable problem" in str(error)
        return
    summary = loaded.summary
    assert 1 + len(rows) == summary.selected + summary.outside_window + summary.undated + len(summary.rejected)
    assert len(set(ids(loaded))) == len(loaded.problems) == summary.selected
    assert all(window.unbounded or ((day := contest_day(one)) and day in window) for one in loaded.problems)
    assert load(path, window=window) == loaded


# From here: the cache.


def cached(tmp_path):
    return sorted((tmp_path / "cache").iterdir())


def test_the_cache_is_read_and_changes_nothing(tmp_path, monkeypatch):
    extra = {"x_sources": {"public": 3}, "rating": 1.5, "tags": ["a", None], "extra": "mine"}
    metadata = '{"source": "x", "time_limit_s": 2, "memory_limit_mb": 64}'
    path = write(tmp_path / "p.jsonl", row("a", **extra), row("b", metadata=metadata), b"{", row("c", None))
    first = load(path)
    assert first.problems[0].extra == extra | {"contest_id": "abc999"}
    (file,) = cached(tmp_path)
    written = file.stat().st_mtime_ns
    monkeypatch.setattr(livecodebench, "_read", None)  # is not called again
    assert load(path) == first
    assert (cached(tmp_path), file.stat().st_mtime_ns) == ([file], written)


def test_values_of_parquet_come_back_from_the_cache_as_they_went(tmp_path):
    rows = [row("a", when=datetime.datetime(2025, 1, 1), raw=b"\xff", tests=[{"k": 1}])]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert load(tmp_path / "p.parquet") == load(tmp_path / "p.parquet")


def test_a_changed_source_or_selection_makes_a_new_cache_file(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a"))
    load(path)
    load(path, window=DateWindow(day("2025-01-01"), None))
    load(path, "lcb_v6")
    write(path, row("a", question_title="another"))
    assert load(path).problems[0].question_title == "another"
    assert len(cached(tmp_path)) == 4


def test_a_new_format_makes_a_new_cache_file(tmp_path, monkeypatch):
    path = write(tmp_path / "p.jsonl", row("a"))
    load(path)
    monkeypatch.setattr(livecodebench, "CACHE_FORMAT", livecodebench.CACHE_FORMAT + 1)
    load(path)
    assert len(cached(tmp_path)) == 2


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_cache_is_made_anew(tmp_path, data):
    path = write(tmp_path / "p.jsonl", row("a"), row("b"), b"{")
    expected = load(path)
    (file,) = cached(tmp_path)
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        file.write_bytes(whole[:place])
    else:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :])
    assert load(path) == expected
    assert cached(tmp_path) == [file]


def test_a_rebuilt_cache_is_told(tmp_path, caplog):
    path = write(tmp_path / "p.jsonl", row("a"))
    load(path)
    (file,) = cached(tmp_path)
    file.write_bytes(b"")
    load(path)
    assert "is damaged and made anew" in caplog.text
    caplog.clear()
    load(path)
    assert caplog.text == ""


def test_a_cache_that_cannot_be_written(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a"))
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=r"\.parquet: cannot be written: .*make room"):
        load(path, cache=tmp_path / "file" / "cache")


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="the LiveCodeBench problems (../shared/data) are not here")
def test_real_rows(tmp_path):
    everything = load(DATA, strict=True, cache=tmp_path)
    assert everything == load(DATA, strict=True, cache=tmp_path)
    assert everything.problems == load_problems(DATA, strict=True).problems
    increment = load(DATA, "lcb_v6", strict=True, cache=tmp_path)
    assert (increment.summary.selected, increment.summary.outside_window) == (64, 467)
    named = {one.question_id for one in everything.problems if one.extra["x_release"] == "v6_new"}
    assert len(named) == 59
    assert named < set(ids(increment))
