"""Published files of problems: download from the hub, and reading of rows in any format of ``evaluator.row_files``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import hf_hub_download

from evaluator.problem import ProblemError
from evaluator.row_files import RejectedRow, RowFile, RowFileError
from launch.hub import HUB_ERRORS, first_line
from launch.problems.evaluation_set import BadRow, BenchmarkError

Parsed = TypeVar("Parsed")


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

    If the file cannot be read, or is damaged, a last BadRow reports where reading stopped.
    """
    number = 0
    try:
        with RowFile(path) as file:
            for row in file.read():
                if isinstance(row, RejectedRow):
                    number = row.line
                    yield BadRow(path.name, number, row.reason)
                else:
                    number = row[0]
                    yield row
    except RowFileError as error:
        yield BadRow(path.name, None, f"cannot be read beyond row {number}: {error.__cause__ or error}")
    except OSError as error:
        yield BadRow(path.name, None, f"cannot be read beyond row {number}: {error.strerror or error}")


def parse_rows(path: Path, parse: Callable[[Mapping[str, Any]], Parsed]) -> Iterator[tuple[int, Parsed] | BadRow]:
    """Yield each row as (1-based number, parsed row), or as a BadRow if it cannot be read or parsed.

    Rows are parsed one at a time, since a release has gigabytes of tests, of which a date window may keep only a few.

    Args:
        path: the file.
        parse: parser of a row; a ProblemError that it raises makes the row a BadRow.
    """
    for row in read_rows(path):
        if isinstance(row, BadRow):
            yield row
            continue
        number, columns = row
        try:
            parsed = parse(columns)
        except ProblemError as error:
            yield BadRow(path.name, number, str(error))
        else:
            yield number, parsed


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
