"""Rows of published files of problems, JSONL, a JSON list or Parquet, each with its number or why it is none."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.problem import ProblemError
from launch.problems.evaluation_set import BadRow

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".parquet")
# What reading another format, a damaged or a half-written file raises.
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, pa.ArrowException)


def read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]] | BadRow]:
    """1-based numbers and columns of rows, by the name's ending; where the file stops being one, a last BadRow.

    Raises ValueError for another ending.
    """
    if not path.name.endswith(ENDINGS):
        raise ValueError(f"not one of {', '.join(ENDINGS)}")
    number = 0
    try:
        for number, row in enumerate(_stored(path), 1):
            if row.strip() if isinstance(row, bytes) else True:
                try:
                    yield number, json_object(partial(_value, row))
                except ProblemError as error:
                    yield BadRow(path.name, number, str(error))
    except UNREADABLE as error:
        yield BadRow(path.name, None, f"cannot be read beyond row {number}: {error}")


def json_object(read: Callable[[], Any]) -> Mapping[str, Any]:
    """What ``read`` decodes of a row, which must be an object. Raises ProblemError when it is none."""
    try:
        value = read()
    except UnicodeDecodeError as error:
        raise ProblemError(f"not UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProblemError(f"expected an object, got {type(value).__name__}")
    return value


def required(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The texts in these columns. Raises ProblemError for one that is missing or holds no text."""
    if missing := [name for name in names if name not in row]:
        raise ProblemError(f"another schema: no column {', '.join(missing)}, but {', '.join(row)}"[:300])
    for name in names:
        if not isinstance(row[name], str):
            raise ProblemError(f"{name}: expected text, got {type(row[name]).__name__}")
    return [row[name] for name in names]


def _stored(path: Path) -> Iterator[Any]:
    """Rows as they are stored: lines of JSONL as bytes, values of a JSON list, mappings of Parquet."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=64):
                yield from batch.to_pylist()
    elif path.suffix == ".json":
        rows = json.loads(path.read_bytes())
        if not isinstance(rows, list):
            raise ValueError(f"expected a JSON list of rows, got {type(rows).__name__}")
        yield from rows
    else:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            yield from handle


def _value(row: Any) -> Any:
    return json.loads(row) if isinstance(row, bytes) else row
