"""Read files of solutions: programs, or raw model answers, for problems given by question id.

Rows are read one at a time, from JSON lists as well as JSONL, so a file may be much larger than memory.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from evaluator.errors import UserError
from evaluator.extraction import extract_code
from evaluator.problem import Problem, RejectedRow

_BLANKS = " \t\n\r"
_AFTER_VALUE = frozenset(_BLANKS + ",]")
_CHUNK_SIZE = 1 << 16  # minimum number of characters (or bytes) of a JSON list to read at a time
_GZIP_MAGIC = b"\x1f\x8b"


class SolutionsError(UserError, ValueError):
    """Error for a file from which no (more) rows can be read. The message names the file, and the row if known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SolutionRow:
    """Programs for one problem.

    Attributes:
        row: 1-based line number (JSONL) or position in the list (JSON).
        question_id: id of the problem.
        texts: programs or, with ``raw``, complete model answers.
        raw: code has yet to be extracted from ``texts``.
    """

    row: int
    question_id: str
    texts: tuple[str, ...]
    raw: bool

    def iter_programs(self, problem: Problem) -> Iterator[str | None]:
        """Yield the programs in order; None for an answer without a program that fits ``problem``."""
        for text in self.texts:
            yield extract_code(text, problem.func_name).code if self.raw else text


def read_solutions(path: Path) -> Iterator[SolutionRow | RejectedRow]:
    """Yield the rows of a JSON list or JSONL file, compressed with gzip or not.

    Layout and compression are detected from the content, not from the file name. An invalid row is yielded as a
    RejectedRow. Raises OSError if the file cannot be read, and SolutionsError if the gzip data is damaged or a JSON
    list is malformed (it is then unknown where the next row starts).
    """
    row = 0
    try:
        is_list = _is_json_list(path)
        with _open_file(path) as handle:
            for row, value in _read_json_list(handle) if is_list else _read_json_lines(handle):
                yield value if isinstance(value, RejectedRow) else _parse_row(row, value)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SolutionsError(f"{path}, after row {row}: damaged gzip data: {error}") from error
    except (ValueError, RecursionError) as error:
        raise SolutionsError(f"{path}, after row {row}: the JSON list is broken: {error}") from error


def _parse_row(row: int, value: object) -> SolutionRow | RejectedRow:
    if not isinstance(value, dict):
        return RejectedRow(row, f"expected an object, got {type(value).__name__}")
    question_id = value.get("question_id")
    if isinstance(question_id, int) and not isinstance(question_id, bool):  # accepted as in problem files
        question_id = str(question_id)
    if not isinstance(question_id, str) or not question_id:
        return RejectedRow(row, f"question_id: expected a non-empty string, got {_abbreviate(question_id)}")
    # LiveCodeBench's own result files have both columns. It judged the extracted programs (code_list), and so do we.
    name = "code_list" if "code_list" in value else "output_list"
    texts = value.get(name)
    if name not in value:
        return RejectedRow(row, f"neither code_list nor output_list, only {_abbreviate(sorted(value))}")
    if not isinstance(texts, list) or not texts:
        return RejectedRow(row, f"{name}: expected a list with at least one text, got {_abbreviate(texts)}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            return RejectedRow(row, f"{name}[{index}]: expected text, got {_abbreviate(text)}")
    return SolutionRow(row=row, question_id=question_id, texts=tuple(texts), raw=name == "output_list")


def _abbreviate(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _open_file(path: Path) -> BinaryIO:
    with path.open("rb") as handle:
        is_gzip = handle.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path, "rb")) if is_gzip else path.open("rb")


def _is_json_list(path: Path) -> bool:
    with _open_file(path) as handle:
        text = handle.read(_CHUNK_SIZE).removeprefix(codecs.BOM_UTF8)
        while text and not text.strip():
            text = handle.read(_CHUNK_SIZE)
    return text.lstrip().startswith(b"[")


def _read_json_lines(handle: BinaryIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(handle, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            value = RejectedRow(number, f"not JSON: {error}")
        yield number, value


def _read_json_list(handle: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Yield the numbered values of one JSON list.

    Raises ValueError if it is malformed, or RecursionError if a value is nested too deeply.
    """
    reader = _JsonTextReader(io.TextIOWrapper(handle, "utf-8-sig"))
    reader.take_char()  # the opening bracket
    row = 0
    char = reader.take_char(only="]")
    while char != "]":
        row += 1
        yield row, reader.take_value()
        char = reader.take_char()
        if char not in ("]", ","):
            raise ValueError(f"unexpected {char!r} after a row" if char else "it ends without a closing bracket")
    if char := reader.take_char():
        raise ValueError(f"unexpected {char!r} after the closing bracket")


class _JsonTextReader:
    """Incremental reader of JSON text.

    ``_buffer`` holds text that was read; from ``_position`` on it is not yet consumed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._buffer = ""
        self._position = 0
        self._decoder = json.JSONDecoder()

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

    def take_value(self) -> Any:
        """Consume and return the next JSON value. Raises ValueError, RecursionError."""
        while True:
            self._skip_blanks()
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
            except ValueError:
                if not self._read_more():  # otherwise the value may just be incomplete
                    raise
                continue
            # Accept a value only at a delimiter or the end: "12" may continue as 12.5e3 in the next chunk.
            if self._buffer[end : end + 1] in _AFTER_VALUE or not self._read_more():
                self._position = end
                return value

    def _skip_blanks(self) -> None:
        while True:
            while self._buffer[self._position : self._position + 1] in _BLANKS and self._position < len(self._buffer):
                self._position += 1
            if self._position < len(self._buffer) or not self._read_more():
                return

    def _read_more(self) -> bool:
        """Read another chunk. At the end of the stream, return False and change nothing."""
        # At least doubles the unread text, so that a long value is parsed again only a few times, not for every chunk.
        chunk = self._stream.read(max(_CHUNK_SIZE, len(self._buffer) - self._position))
        if chunk:
            self._buffer, self._position = self._buffer[self._position :] + chunk, 0
        return bool(chunk)
