"""Reading files of solutions: which programs, or raw model answers, are given to which problem.

Rows come one at a time, from either layout, so a file far larger than memory can be read (and read again).
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
_PIECE = 1 << 16  # characters of a JSON list read at a time, at least
_GZIP_MAGIC = b"\x1f\x8b"


class SolutionsError(UserError, ValueError):
    """A file no rows can be read from, or no more rows; the message names the file, and the row where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SolutionRow:
    """Some programs for one problem. ``row`` is the 1-based line (JSONL) or place in the list (JSON).

    ``texts`` are programs, or with ``raw`` whole model answers from which code is yet to be extracted.
    """

    row: int
    question_id: str
    texts: tuple[str, ...]
    raw: bool

    def codes(self, problem: Problem) -> Iterator[str | None]:
        """The programs, in order; None for an answer that holds none which fits ``problem``."""
        for text in self.texts:
            yield extract_code(text, problem.func_name).code if self.raw else text


def read_solutions(path: Path) -> Iterator[SolutionRow | RejectedRow]:
    """The rows of a JSON list or of JSONL, compressed with gzip or not: what it is shows in the content, not the name.

    A row that is none comes as a RejectedRow in its place. Raises OSError when the file cannot be read, SolutionsError
    when it is damaged, or is a list that stops being JSON (where one row of it ends cannot be told then).
    """
    row = 0
    try:
        is_list = _begins_list(path)
        with _opened(path) as handle:
            for row, value in _list_rows(handle) if is_list else _line_rows(handle):
                yield value if isinstance(value, RejectedRow) else _parsed(row, value)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SolutionsError(f"{path}, after row {row}: damaged gzip data: {error}") from error
    except (ValueError, RecursionError) as error:
        raise SolutionsError(f"{path}, after row {row}: the JSON list is broken: {error}") from error


def _parsed(row: int, value: object) -> SolutionRow | RejectedRow:
    if not isinstance(value, dict):
        return RejectedRow(row, f"expected an object, got {type(value).__name__}")
    question_id = value.get("question_id")
    if isinstance(question_id, int) and not isinstance(question_id, bool):  # as in problem files
        question_id = str(question_id)
    if not isinstance(question_id, str) or not question_id:
        return RejectedRow(row, f"question_id: expected a non-empty string, got {_shown(question_id)}")
    # LiveCodeBench's own result files have both columns: the programs it extracted are what it judged.
    name = "code_list" if "code_list" in value else "output_list"
    texts = value.get(name)
    if name not in value:
        return RejectedRow(row, f"neither code_list nor output_list, only {_shown(sorted(value))}")
    if not isinstance(texts, list) or not texts:
        return RejectedRow(row, f"{name}: expected a list with at least one text, got {_shown(texts)}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            return RejectedRow(row, f"{name}[{index}]: expected text, got {_shown(text)}")
    return SolutionRow(row=row, question_id=question_id, texts=tuple(texts), raw=name == "output_list")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as handle:
        packed = handle.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def _begins_list(path: Path) -> bool:
    with _opened(path) as handle:
        text = handle.read(_PIECE).removeprefix(codecs.BOM_UTF8)
        while text and not text.strip():
            text = handle.read(_PIECE)
    return text.lstrip().startswith(b"[")


def _line_rows(handle: BinaryIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(handle, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            value = RejectedRow(number, f"not JSON: {error}")
        yield number, value


def _list_rows(handle: BinaryIO) -> Iterator[tuple[int, Any]]:
    """The values of one JSON list. Raises ValueError (RecursionError for a value nested too deep) where it is none."""
    text = _Pieces(io.TextIOWrapper(handle, "utf-8-sig"))
    text.mark()  # the opening bracket
    row = 0
    mark = text.mark(only="]")
    while mark != "]":
        row += 1
        yield row, text.value()
        mark = text.mark()
        if mark not in ("]", ","):
            raise ValueError(f"after a row comes {mark!r}" if mark else "it ends without a closing bracket")
    if mark := text.mark():
        raise ValueError(f"after its closing bracket comes {mark!r}")


class _Pieces:
    """JSON text that is read as far as needed: ``_text`` from ``_at`` on is read, but not yet taken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def mark(self, only: str | None = None) -> str:
        """Take the next character that is no blank ("" at the end); with ``only``, leave it unless it is that one."""
        self._skip_blanks()
        mark = self._text[self._at : self._at + 1]
        if only is None or mark == only:
            self._at += len(mark)
            return mark
        return ""

    def value(self) -> Any:
        """Take the next JSON value. Raises ValueError, RecursionError."""
        while True:
            self._skip_blanks()
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():  # else it may only be incomplete
                    raise
                continue
            # Not "12" of a number that goes on as 12.5e3 in the next piece.
            if self._text[end : end + 1] in _AFTER_VALUE or not self._more():
                self._at = end
                return value

    def _skip_blanks(self) -> None:
        while True:
            while self._text[self._at : self._at + 1] in _BLANKS and self._at < len(self._text):
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Read on; False, and nothing has moved, at the end."""
        # As much again as is left over: a long value is parsed anew a few times, not at every small piece of it.
        piece = self._stream.read(max(_PIECE, len(self._text) - self._at))
        if piece:
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)
