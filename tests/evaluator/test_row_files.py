"""Files of rows: recognised by content, read repeatedly, and rows that do not affect others."""

import bz2
import gzip
import io
import json
import lzma
import os
import pathlib
import threading
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import row_files
from evaluator.row_files import RejectedRow, RowFile, RowFileError

DEEP = "[" * 100_000 + "]" * 100_000


def dump_parquet(rows):
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def number_rows(file):
    """Yield (row number, columns), or (row number, reason) of a rejected row."""
    for row in file.read():
        yield (row.line, row.reason) if isinstance(row, RejectedRow) else row


def read_bytes(path, data):
    """Write ``data`` to ``path`` and return its columns, or reasons of rejected rows, by row number."""
    path.write_bytes(data)
    with RowFile(path) as file:
        return dict(number_rows(file))


ROWS: list[dict[str, Any]] = [{"id": "a", "text": "é\ud800", "size": 1}, {"id": "b", "text": "", "size": None}]
LAYOUTS = {
    "list": json.dumps(ROWS).encode(),
    "lines": "\n".join(map(json.dumps, ROWS)).encode(),
    "parquet": dump_parquet([row | {"text": row["text"].replace("\ud800", "")} for row in ROWS]),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["rows", "rows.parquet", "rows.csv"])
def test_layout_is_recognised_by_content(tmp_path, name, layout, compress):
    rows = read_bytes(tmp_path / name, compress(LAYOUTS[layout]))
    assert list(rows) == [1, 2]
    assert [row["id"] for row in rows.values()] == ["a", "b"]
    assert rows[1]["text"] == ("é" if layout == "parquet" else "é\ud800")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pipe_can_be_read_repeatedly(tmp_path, layout):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[LAYOUTS[layout]])
    writer.start()
    with RowFile(pipe) as file:
        writer.join()
        readings = [[row[0] for row in number_rows(file)] for _ in range(2)]
    assert readings == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bz2.compress(b"{}"), "rows, after row 0: bzip2 data"),
        (lzma.compress(b"{}"), "rows, after row 0: xz data"),
        (b"PK\x03\x04", "rows, after row 0: zip data"),
        (b"PAR1" + b"\0" * 50, "rows, after row 0: damaged Parquet data"),
        (LAYOUTS["parquet"][:-20], "rows, after row 0: damaged Parquet data"),
        (gzip.compress(LAYOUTS["lines"])[:-9], "damaged gzip data"),
        (b"\x1f\x8b", "damaged gzip data"),
        (b"[1, 2", "rows, after row 2: the JSON list is broken: it ends without"),
        (b'[{"a": ' + b"[" * 100_000, "rows, after row 0: the JSON list is broken: it ends within a row"),
    ],
)
def test_damaged_file_is_named_with_the_row(tmp_path, data, message):
    with pytest.raises(RowFileError, match=message):
        read_bytes(tmp_path / "rows", data)


def test_file_that_is_no_file_is_rejected(tmp_path):
    with pytest.raises(IsADirectoryError):
        RowFile(tmp_path)
    with pytest.raises(RowFileError, match="/dev/null: not a regular file or a pipe"):
        RowFile(pathlib.Path("/dev/null"))
    with pytest.raises(FileNotFoundError):
        RowFile(tmp_path / "none")


BAD_ROWS = {
    "not UTF-8": (b'{"id": "\xff"}', "not UTF-8"),
    "deep": (f'{{"text": "]}}\\"", "id": {DEEP}}}'.encode(), "not JSON: nested too deeply"),
    "number": (b"1" * 5000, "expected an object, got str"),
    "null": (b"null", "expected an object, got NoneType"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
@pytest.mark.parametrize("layout", ["[%s,\n%s,\n%s]", "%s\n%s\n%s"], ids=["list", "lines"])
@pytest.mark.parametrize("chunk_size", [7, 1 << 16])
def test_bad_row_does_not_affect_others(tmp_path, monkeypatch, name, layout, chunk_size):
    monkeypatch.setattr(row_files, "_CHUNK_SIZE", chunk_size)
    bad, reason = BAD_ROWS[name]
    rows = read_bytes(tmp_path / "rows", layout.encode() % (b'{"id": "a"}', bad, b'{"id": "b"}'))
    assert rows[1] == {"id": "a"}
    assert rows[2].startswith(reason)
    assert rows[3] == {"id": "b"}


def test_parquet_text_that_is_not_utf8_affects_its_row_only(tmp_path):
    ids = pa.array([b"a", b"\xff", b"b"], pa.binary()).view(pa.binary())
    table = pa.table({"id": pa.Array.from_buffers(pa.string(), 3, ids.buffers())})
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    rows = read_bytes(tmp_path / "rows", sink.getvalue().to_pybytes())
    assert (rows[1], rows[3]) == ({"id": "a"}, {"id": "b"})
    assert rows[2].startswith("not UTF-8")


@pytest.mark.parametrize("layout", ["[%s]", "%s"], ids=["list", "line"])
def test_numbers_with_many_digits_do_not_reject_a_row(tmp_path, layout):
    rows = read_bytes(tmp_path / "rows", (layout % f'{{"id": "a", "n": {"7" * 5000}}}').encode())
    assert rows[1] == {"id": "a", "n": "7" * 5000}


TEXTS = st.text(st.sampled_from('a"\\[]{}'), max_size=6)
NESTED = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(TEXTS, inner, min_size=1),
    max_leaves=8,
)


@given(NESTED.filter(lambda value: isinstance(value, (list, dict))), st.integers(1, 9))
def test_skipping_a_value_consumes_exactly_that_value(value, chunk_size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_files, "_CHUNK_SIZE", chunk_size)
        reader = row_files._JsonTextReader(io.StringIO(json.dumps(value) + ", next"))
        reader._skip_nested_value()
        assert reader.take_char() == ","


def test_rows_before_the_damage_of_gzip_data_are_read(tmp_path):
    data = gzip.compress(b'{"a": 1}\n', mtime=0)
    path = tmp_path / "rows"
    path.write_bytes(data + data[:-12])
    with RowFile(path) as file:
        rows = file.read()
        assert next(rows) == (1, {"a": 1})
        with pytest.raises(RowFileError, match="after row 1: damaged gzip data"):
            list(rows)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_beyond_the_limit_is_rejected_and_the_next_one_is_read(tmp_path, monkeypatch, end):
    monkeypatch.setattr(row_files, "MAX_ROW_BYTES", 100)
    lines = [b'{"id": "a"}', b'{"id": "' + b"x" * 200_000 + b'"}', b'{"id": "' + b"b" * 89 + b'"}', b'{"id": "c"}']
    assert len(lines[2]) + 1 == 100
    rows = read_bytes(tmp_path / "rows.jsonl", b"\n".join(lines) + end)
    assert rows == {1: {"id": "a"}, 2: "larger than 100 bytes", 3: {"id": "b" * 89}, 4: {"id": "c"}}


def test_a_row_of_a_list_beyond_the_limit_ends_the_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "MAX_ROW_BYTES", 100_000)
    with pytest.raises(RowFileError, match=r"after row 1: the JSON list is broken: a row is larger than 100000 bytes"):
        read_bytes(tmp_path / "rows.json", json.dumps([{"id": "a"}, {"id": "x" * 1_000_000}]).encode())
