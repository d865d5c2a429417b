"""Read files of rows: a JSON list, JSONL or Parquet, compressed with gzip or not.

Layout and compression are detected from the content, not from the file name. Rows are read one at a time, from JSON
lists as well as JSONL, so a file may be much larger than memory.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import io
import itertools
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO

from evaluator.errors import UserError

_BLANKS = " \t\n\r"
_AFTER_VALUE = frozenset(_BLANKS + ",]")
_CHUNK_SIZE = 1 << 16  # minimum number of characters (or bytes) of a JSON list to read at a time
MAX_ROW_BYTES = 1 << 30
"""Size of a row of JSON text. A file without line ends, which is one row, may be much larger than memory."""
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_PARQUET_BATCH = 16  # rows in memory at a time, each of which may have tests of many megabytes
_UNSUPPORTED_MAGIC = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_LONGEST_MAGIC = 8  # bytes
_NESTING = re.compile(r'\\.?|["\[\]{}]', re.DOTALL)
_UNDECODED_BYTE = re.compile("[\udc80-\udcff]")


def _parse_integer(digits: str) -> int | str:
    # Python limits the number of digits that it converts, and one such number must not make a row unreadable.
    try:
        return int(digits)
    except ValueError:
        return digits


_BinaryFile = io.BufferedReader | gzip.GzipFile
JSON_DECODER = json.JSONDecoder(parse_int=_parse_integer)


class RowFileError(UserError, ValueError):
    """Error for a file from which no (more) rows can be read. The message names the file, and the row if known."""


@dataclass(frozen=True)
class RejectedRow:
    """Row that was skipped.

    Attributes:
        line: its 1-based line (JSONL) or position (JSON list, Parquet).
        reason: why it was skipped.
        question_id: id of its problem; None if unknown.
    """

    line: int
    reason: str
    question_id: str | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class RowFile:
    """File of rows. It can be read several times, even if it is a pipe, whose contents are kept in a temporary file.

    Raises:
        OSError: the file cannot be read.
        RowFileError: it is neither a regular file nor a pipe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy: IO[bytes] | None = None
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if stat.S_ISFIFO(mode):
            self._copy = _copy_to_temporary_file(path)
        elif not stat.S_ISREG(mode):
            raise RowFileError(f"{path}: not a regular file or a pipe")

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the copy of a pipe's contents."""
        if self._copy is not None:
            self._copy.close()

    def read(self) -> Iterator[tuple[int, Mapping[str, Any]] | RejectedRow]:
        """Yield each row as (1-based number, columns), or as a RejectedRow if it is no row.

        Raises OSError if the file cannot be read, and RowFileError if it is damaged so that it is unknown where the
        next row starts.
        """
        number = 0
        try:
            with self._open() as handle:
                for number, value in _read_values(handle):
                    if isinstance(value, Mapping):
                        yield number, value
                    elif isinstance(value, RejectedRow):
                        yield value
                    else:
                        yield RejectedRow(number, f"expected an object, got {type(value).__name__}")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise RowFileError(f"{self.path}, after row {number}: damaged gzip data: {error}") from error
        except ValueError as error:
            raise RowFileError(f"{self.path}, after row {number}: {error}") from error

    def _open(self) -> _BinaryFile:
        # Opened anew for each reader, which has a position of its own.
        path = self.path if self._copy is None else Path(f"/proc/self/fd/{self._copy.fileno()}")
        with path.open("rb") as handle:
            is_gzip = handle.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        return gzip.open(path, "rb") if is_gzip else path.open("rb")


def get_question_id(row: Mapping[str, Any]) -> str | None:
    """Return the id of a row's problem, which may be a number; None without a valid one."""
    value = row.get("question_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _copy_to_temporary_file(path: Path) -> IO[bytes]:
    import shutil  # with tempfile, slow to import
    import tempfile

    with path.open("rb") as pipe:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed by RowFile)
        shutil.copyfileobj(pipe, copy)
    copy.flush()
    return copy


def _read_values(handle: _BinaryFile) -> Iterator[tuple[int, Any]]:
    """Yield the numbered values of a file; a RejectedRow in place of one that cannot be decoded.

    Raises ValueError with the reason if the rest of the file cannot be read.
    """
    head = _read_head(handle)
    for magic, name in _UNSUPPORTED_MAGIC.items():
        if head.startswith(magic):
            raise ValueError(f"{name} data; unpack it, or compress it with gzip instead")
    text = head.removeprefix(codecs.BOM_UTF8)
    while text and not text.strip():
        text = handle.read1(_CHUNK_SIZE)
    handle.seek(0)
    if head.startswith(_PARQUET_MAGIC):
        return _read_parquet(handle if isinstance(handle, io.BufferedReader) else io.BytesIO(handle.read()))
    return _read_json_list(handle) if text.lstrip().startswith(b"[") else _read_json_lines(handle)


def _read_head(handle: _BinaryFile) -> bytes:
    """Return the first bytes of a file. Not ``read``, which raises for gzip data that is damaged after them."""
    head = b""
    while len(head) < _LONGEST_MAGIC and (chunk := handle.read1(_CHUNK_SIZE)):
        head += chunk
    return head


def _read_parquet(handle: BinaryIO) -> Iterator[tuple[int, Any]]:
    import pyarrow  # slow to import, and only needed for this format
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(handle) as table:
            for batch in table.iter_batches(batch_size=_PARQUET_BATCH):
                for offset in range(batch.num_rows):
                    number += 1
                    try:
                        value = batch.slice(offset, 1).to_pylist()[0]
                    except UnicodeDecodeError as error:
                        value = RejectedRow(number, f"not UTF-8: {error}")
                    yield number, value
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"damaged Parquet data: {str(error).partition(chr(10))[0]}") from error


def _decode_line(number: int, line: bytes) -> Any:
    try:
        return JSON_DECODER.decode(line.decode(json.detect_encoding(line), "surrogatepass"))
    except UnicodeDecodeError as error:
        return RejectedRow(number, f"not UTF-8: {error}")
    except RecursionError:
        return RejectedRow(number, "not JSON: nested too deeply")
    except ValueError as error:
        return RejectedRow(number, f"not JSON: {error}")


def _read_json_lines(handle: _BinaryFile) -> Iterator[tuple[int, Any]]:
    for number in itertools.count(1):
        line = handle.readline(MAX_ROW_BYTES)
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            del line
            while (rest := handle.readline(_CHUNK_SIZE)) and not rest.endswith(b"\n"):
                pass
            yield number, RejectedRow(number, f"larger than {MAX_ROW_BYTES} bytes")
        elif not line:
            return
        elif line.strip():
            yield number, _decode_line(number, line)


def _read_json_list(handle: _BinaryFile) -> Iterator[tuple[int, Any]]:
    """Yield the numbered values of one JSON list; a RejectedRow for a value that cannot be decoded.

    Raises ValueError if the list is malformed.
    """
    reader = _JsonTextReader(io.TextIOWrapper(handle, "utf-8-sig", errors="surrogateescape"))
    try:
        reader.take_char()  # the opening bracket
        row = 0
        char = reader.take_char(only="]")
        while char != "]":
            row += 1
            yield row, reader.take_row(row)
            char = reader.take_char()
            if char not in ("]", ","):
                raise ValueError(f"unexpected {char!r} after a row" if char else "it ends without a closing bracket")
        if char := reader.take_char():
            raise ValueError(f"unexpected {char!r} after the closing bracket")
    except ValueError as error:
        raise ValueError(f"the JSON list is broken: {error}") from error


class _JsonTextReader:
    """Incremental reader of JSON text.

    ``_buffer`` holds text that was read; from ``_position`` on it is not yet consumed. Bytes that are not UTF-8 are
    lone surrogates in it, as with the error handler ``surrogateescape``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._buffer = ""
        self._position = 0

    def take_char(self, only: str | None = None) -> str:
        """Consume and return the next non-blank character; "" at the end.

        With ``only``, any other character is not consumed, and "" is returned.
        """
        self._skip_blanks()
        char = self._buffer[self._position : self._position + 1]
        if only is None or char == only:
            self._position += len(char)
            return char
        return ""

    def take_row(self, row: int) -> Any:
        """Consume the next JSON value and return it; a RejectedRow if it cannot be decoded. Raises ValueError."""
        try:
            value, text = self._take_value()
        except RecursionError:
            self._skip_nested_value()
            return RejectedRow(row, "not JSON: nested too deeply")
        if _UNDECODED_BYTE.search(text):
            return _decode_line(row, text.encode("utf-8", "surrogateescape"))
        return value

    def _take_value(self) -> tuple[Any, str]:
        """Consume the next JSON value and return it with its text. Raises ValueError, RecursionError."""
        while True:
            self._skip_blanks()
            try:
                value, end = JSON_DECODER.raw_decode(self._buffer, self._position)
            except ValueError:
                if not self._read_more():  # otherwise the value may just be incomplete
                    raise
                continue
            # Accept a value only at a delimiter or the end: "12" may continue as 12.5e3 in the next chunk.
            if self._buffer[end : end + 1] in _AFTER_VALUE or not self._read_more():
                text = self._buffer[self._position : end]
                self._position = end
                return value, text

    def _skip_nested_value(self) -> None:
        """Consume a list or object without decoding it. Raises ValueError if it does not end."""
        depth = 0
        in_string = False
        while True:
            for match in _NESTING.finditer(self._buffer, self._position):
                token = match.group()
                if token == "\\":  # the escaped character is in the next chunk
                    self._position = match.start()
                    break
                self._position = match.end()
                if token == '"':
                    in_string = not in_string
                elif not in_string and token in "[]{}":
                    depth += 1 if token in "[{" else -1
                    if depth == 0:
                        return
            else:
                self._position = len(self._buffer)
            if not self._read_more():
                raise ValueError("it ends within a row")

    def _skip_blanks(self) -> None:
        while True:
            while self._buffer[self._position : self._position + 1] in _BLANKS and self._position < len(self._buffer):
                self._position += 1
            if self._position < len(self._buffer) or not self._read_more():
                return

    def _read_more(self) -> bool:
        """Read another chunk. At the end of the stream, return False and change nothing."""
        if len(self._buffer) - self._position > MAX_ROW_BYTES:
            raise ValueError(f"a row is larger than {MAX_ROW_BYTES} bytes")
        # At least doubles the unread text, so that a long value is parsed again only a few times, not for every chunk.
        chunk = self._stream.read(max(_CHUNK_SIZE, len(self._buffer) - self._position))
        if chunk:
            self._buffer, self._position = self._buffer[self._position :] + chunk, 0
        return bool(chunk)
