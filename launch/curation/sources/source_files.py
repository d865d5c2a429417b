"""Files of a source: find them on disk or on the hub, and read them row by row.

"taco" | "taco:FOLDER" | "my_set.yaml" | "problems.jsonl" ──► resolve_source ──► Source ──► read_source, per file
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download

from evaluator.errors import UserError
from evaluator.problem import ProblemError
from evaluator.row_files import RejectedRow, RowFile, RowFileError
from launch.curation.candidates import Candidate, Dropped
from launch.curation.sources.column_mapping import load_mapped_reader
from launch.curation.sources.problem_file import make_file_reader
from launch.curation.sources.reader import Reader, UnwantedRow
from launch.hub import HUB_ERRORS, first_line, format_download_command
from launch.problems.usable_problems import replace_surrogates

ROW_FILE_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
_MAPPING_SUFFIXES = (".yaml", ".yml")


class SourceError(UserError, ValueError):
    """Error for a source that is unknown or whose files are not available. The message says what to do."""


class DownloadError(SourceError):
    """Error for a source whose files cannot be downloaded.

    Attributes:
        files: the files and their repository, in words.
        reason: message of the hub's client.
    """

    def __init__(self, message: str, files: str, reason: str) -> None:
        super().__init__(message)
        self.files = files
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Source:
    """A source with its files, in an order that does not depend on the machine."""

    reader: Reader
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source whose files may still have to be downloaded: then ``files`` is None."""

    reader: Reader
    files: tuple[Path, ...] | None


def resolve_sources(texts: Sequence[str], readers: Mapping[str, Reader], key: str = "sources") -> list[Source]:
    """Return the sources of ``sources=[...]``, as ``resolve_source`` does for each.

    Raises:
        SourceError: as for ``resolve_source``, or two sources have one name, so that their ids could be equal.
        MappingError: a YAML file does not describe a set.
    """
    sources: list[Source] = []
    for text in texts:
        source = resolve_source(text, readers, key)
        if any(set(source.files) & set(other.files) for other in sources):
            raise SourceError(f"{key}: a file of {text!r} is in the list twice")
        name = source.reader.name
        is_published = readers.get(name) == source.reader  # its ids do not depend on the file
        if any(other.reader.name == name and not (is_published and other.reader == source.reader) for other in sources):
            raise SourceError(f"{key}: {text!r} has the name of another source, {name}: rename it")
        sources.append(source)
    return sources


def resolve_source(text: str, readers: Mapping[str, Reader], key: str = "sources") -> Source:
    """Return the source that an element of ``sources=[...]`` names, downloading its files if it is on the hub only.

    Raises:
        SourceError: as for ``find_source``; a DownloadError if the files cannot be downloaded.
        MappingError: the YAML file does not describe a set.
    """
    found = find_source(text, readers, key)
    return Source(found.reader, _download_files(found.reader, key) if found.files is None else found.files)


def find_source(text: str, readers: Mapping[str, Reader], key: str = "sources") -> FoundSource:
    """Return the source that an element of ``sources=[...]`` names, without downloading anything.

    Args:
        text: name of a published set; "NAME:PATH" for its files in a folder, or one of them; the YAML file of a further
            set; or a file of problems in this project's format.
        readers: readers of the published sets by name.
        key: configuration key that names the source, for messages.

    Raises:
        SourceError: there is no such source, or its folder has no files.
        MappingError: the YAML file does not describe a set.
    """
    name, has_path, path = text.partition(":")
    if name in readers and has_path:
        return FoundSource(readers[name], _find_local_files(readers[name], Path(path), key))
    if text in readers:
        return FoundSource(readers[text], None)
    file = Path(text)
    if not file.is_file():
        raise SourceError(f"{key}: {text!r} is neither a file nor one of {', '.join(sorted(readers))}")
    if file.suffix not in _MAPPING_SUFFIXES:
        return FoundSource(make_file_reader(file), (file,))
    reader = load_mapped_reader(file)
    return FoundSource(reader, None if reader.repository else _find_local_files(reader, file.parent, key))


def _find_local_files(reader: Reader, path: Path, key: str) -> tuple[Path, ...]:
    """Return a file, or the files of a folder: those that match the set's patterns, else all files of rows.

    Raises SourceError if there is none.
    """
    if path.is_file():
        return (path,)
    matching = {file for pattern in reader.files for file in path.glob(pattern) if file.is_file()}
    found = matching or {file for file in path.glob("*") if file.is_file() and file.name.endswith(ROW_FILE_SUFFIXES)}
    if not found:
        raise SourceError(f"{key}: {reader.name}: {path} has none of {', '.join(reader.files)}")
    return tuple(sorted(found))


def _download_files(reader: Reader, key: str) -> tuple[Path, ...]:
    """Return the set's files in the hub's own cache, downloading those that are missing. Raises SourceError."""
    try:
        names = HfApi().list_repo_files(reader.repository, repo_type="dataset")
        wanted = sorted(name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in reader.files))
        if not wanted:
            raise SourceError(f"{key}: {reader.name}: {reader.repository} has none of {', '.join(reader.files)}")
        return tuple(Path(hf_hub_download(reader.repository, name, repo_type="dataset")) for name in wanted)
    except HUB_ERRORS as error:
        files = f"{', '.join(reader.files)} of {reader.repository}"
        command = format_download_command(reader.repository, reader.files, "FOLDER")
        raise DownloadError(
            f"{key}: {reader.name}: cannot download {files} from the hub ({first_line(error)}). On a machine with "
            f"network access run: {command}; then give '{key}=[{reader.name}:FOLDER]'",
            files=files,
            reason=first_line(error),
        ) from error


def read_source(reader: Reader, path: Path) -> Iterator[Candidate | Dropped]:
    """Yield each row of a file as a candidate, or as a record of why it was dropped.

    A row whose id was in an earlier row of the file is dropped. If the rest of the file cannot be read, the last record
    says so.
    """
    known: set[str] = set()
    number = 0
    try:
        with RowFile(path) as file:
            for row in file.read():
                if isinstance(row, RejectedRow):
                    number = row.line
                    yield _drop(reader, path, number, reason="bad_row", detail=row.reason)
                    continue
                number, columns = row
                result = _read_row(reader, path, number, columns)
                question_id = result.problem.question_id if isinstance(result, Candidate) else ""
                if question_id in known:
                    yield _drop(reader, path, number, reason="duplicate_id", detail=f"{question_id}: in an earlier row")
                    continue
                if question_id:
                    known.add(question_id)
                yield result
    except (OSError, RowFileError) as error:
        yield _drop(reader, path, number + 1, reason="unreadable_file", detail=f"cannot be read any further: {error}")


def _read_row(reader: Reader, path: Path, number: int, columns: Mapping[str, object]) -> Candidate | Dropped:
    try:
        return reader.read(columns)
    except UnwantedRow as error:
        return _drop(reader, path, number, reason=error.reason, detail=str(error))
    except ProblemError as error:
        return _drop(reader, path, number, reason="bad_row", detail=str(error))
    except RecursionError:
        return _drop(reader, path, number, reason="bad_row", detail="nested too deeply")


def _drop(reader: Reader, path: Path, number: int, *, reason: str, detail: str) -> Dropped:
    place = f"{path.name}, row {number}"
    return Dropped(
        question_id=replace_surrogates(f"{reader.name}/{path.name}:{number}"),
        source=reader.name,
        stage="collect",
        reason=reason,
        detail=replace_surrogates(f"{place}: {detail}"[:500]),
    )
