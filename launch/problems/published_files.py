"""Published files of problems: download from the hub, and reading of rows (JSONL, a JSON list or Parquet)."""

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
from huggingface_hub import hf_hub_download

from evaluator.problem import ProblemError
from launch.hub import HUB_ERRORS, first_line
from launch.problems.evaluation_set import BadRow, BenchmarkError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
# Exceptions raised when a file has another format, is damaged or is cut off.
READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, pa.ArrowException)


def download_from_hub(repository: str, file: str, path_hint: str) -> Path:
    """Return the path of a data set's file in the hub's own cache, downloading it if necessary.

    Args:
        repository: data set on the hub, as "owner/name".
        file: path of the file in the repository.
        path_hint: for the error message: value for ``dataset.held_out_path`` after a manual download, in words.

    Raises:
        BenchmarkError: the download failed.
    """
    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset"))
    except HUB_ERRORS as error:
        raise BenchmarkError(
            f"cannot download {file} of {repository} from the hub ({first_line(error)}). Download it on a machine with "
            f"network access and set dataset.held_out_path to {path_hint}"
        ) from error


def read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]] | BadRow]:
    """Yield each row as (1-based number, columns), or as a BadRow if it cannot be decoded.

    The format follows from the file name. If the file is damaged, a last BadRow reports where reading stopped.

    Raises:
        ValueError: the file name has none of ``SUFFIXES``.
    """
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"unsupported file name, must end in {', '.join(SUFFIXES)}")
    number = 0
    try:
        for number, row in enumerate(_read_raw_rows(path), 1):
            if row.strip() if isinstance(row, bytes) else True:
                try:
                    yield number, decode_object(partial(_decode, row))
                except ProblemError as error:
                    yield BadRow(path.name, number, str(error))
    except READ_ERRORS as error:
        yield BadRow(path.name, None, f"cannot be read beyond row {number}: {error}")


def decode_object(decode: Callable[[], Any]) -> Mapping[str, Any]:
    """Return the object that ``decode`` makes of a row.

    Raises:
        ProblemError: ``decode`` failed, or did not return a JSON object.
    """
    try:
        value = decode()
    except UnicodeDecodeError as error:
        raise ProblemError(f"not UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProblemError(f"expected an object, got {type(value).__name__}")
    return value


def check_columns(row: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise ProblemError if the row is missing one of the columns."""
    if missing := [name for name in names if name not in row]:
        raise ProblemError(
            f"unexpected schema: missing columns {', '.join(missing)}; the row has {', '.join(row)}"[:300]
        )


def require_texts(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the values of these columns, in this order.

    Raises:
        ProblemError: a column is missing or does not hold text.
    """
    check_columns(row, names)
    for name in names:
        if not isinstance(row[name], str):
            raise ProblemError(f"{name}: expected text, got {type(row[name]).__name__}")
    return [row[name] for name in names]


def _read_raw_rows(path: Path) -> Iterator[Any]:
    """Yield rows as stored: lines of JSONL as bytes, values of a JSON list, mappings of Parquet."""
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


def _decode(row: Any) -> Any:
    return json.loads(row) if isinstance(row, bytes) else row
