"""Folder of a report: files written atomically, data as script files, and what an earlier build left in it."""

from __future__ import annotations

import base64
import fcntl
import gzip
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from io import FileIO
from pathlib import Path

from launch.records.run_path import RunDirectoryError

ASSETS = "assets"
DATA = "data"
LOCK = ".lock"
MARKER = b"microcoder report\n"
"""Content of the lock's file, which says that a folder is a report."""
FRONT_START = b'report.receive("front",'
"""Start of ``data/front.js``; reports of an older version have no marker."""
LONGEST_BUILD_S = 3600.0
"""Seconds after which a build is taken for dead: longer than any that was measured."""
LOCK_INTERVAL_S = 0.1
COMPRESSION_LEVEL = 6

_OWN_DATA = re.compile(r"(front|groups|(step|texts)_\d+(_\d+)*)\.js")
_UNFINISHED = re.compile(r"\..+\.\d+\.unfinished")


def encode_json(value: object) -> bytes:
    """Return a value as JSON in UTF-8, in which lone surrogates are escapes. Raises ValueError for NaN."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


@contextmanager
def open_report_folder(path: Path) -> Iterator[ReportFolder]:
    """Create the folder of a report, and lock it: a second build waits until the first has ended.

    Otherwise each would delete pages that only the other one knows. The lock is released when a process dies.

    Raises:
        RunDirectoryError: the folder has other files than those of a report, or cannot be written to, or another build
            does not end within ``LONGEST_BUILD_S``.
    """
    check_output(path)
    folder = ReportFolder(path)
    with open(path / LOCK, "ab", buffering=0) as file:
        # Before anything else is written, so that the report of a build that is killed is known as one.
        if not _starts_with(path / LOCK, MARKER):
            file.write(MARKER)
        _lock(file, path)
        yield folder


def check_output(path: Path) -> None:
    """Check that a folder is a report, or has no files. Raises RunDirectoryError, before any file of it is changed."""
    # Files are listed before the marker is read: a build that began in between has written the marker first.
    if _has_files(path) and not _is_report(path):
        raise RunDirectoryError(f"{path} has files in it and is not a report: choose another output")


def _has_files(path: Path) -> bool:
    """Return True if a folder has anything but empty folders of a report and the file of a lock."""
    try:
        others = [entry for entry in path.iterdir() if entry.name not in (ASSETS, DATA, LOCK)]
        own = [folder for name in (ASSETS, DATA) if (folder := path / name).is_dir()]
        return bool(others) or any(any(folder.iterdir()) for folder in own)
    except OSError:
        return False  # it is missing, or not readable, which ``ReportFolder`` reports


def _is_report(path: Path) -> bool:
    return _starts_with(path / LOCK, MARKER) or _starts_with(path / DATA / "front.js", FRONT_START)


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _lock(file: FileIO, path: Path) -> None:
    """Wait for the lock on ``file``. Raises RunDirectoryError at the deadline."""
    deadline = time.monotonic() + LONGEST_BUILD_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise RunDirectoryError(
                    f"another process has been writing the report in {path} for {LONGEST_BUILD_S:.0f} s: end it, or "
                    "set output=DIR"
                ) from None
            time.sleep(LOCK_INTERVAL_S)
        except OSError:
            # Some network file systems have no locks. Two builds at once are rare, and a later one mends what they did.
            return


class ReportFolder:
    """Folder of a report."""

    def __init__(self, path: Path) -> None:
        """Create the folder. Raises RunDirectoryError if it cannot be written to."""
        self.path = path
        try:
            (path / ASSETS).mkdir(parents=True, exist_ok=True)
            (path / DATA).mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=path / DATA):
                pass
        except OSError as error:
            raise RunDirectoryError(f"the report cannot be written to {path}: {error}: set output=DIR") from error

    def write(self, name: str, content: bytes) -> int:
        """Write a file atomically, unless it has that content; return its size. Raises RunDirectoryError."""
        path = self.path / name
        # With the process id, so that two builds at once do not write into the same file.
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
        try:
            if not (path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content):
                unfinished.write_bytes(content)
                os.replace(unfinished, path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise RunDirectoryError(f"{path} cannot be written: {error}: make room, or set output=DIR") from error
        return len(content)

    def get_size(self, name: str) -> int:
        """Return the size of ``data/NAME.js``; -1 if there is no such file."""
        try:
            return (self.path / DATA / f"{name}.js").stat().st_size
        except OSError:
            return -1

    def write_data(self, name: str, value: object) -> int:
        """Write ``data/NAME.js``, which passes ``value`` to the page that loads it; return its size."""
        return self.write_encoded(name, encode_json(value))

    def write_encoded(self, name: str, value: bytes) -> int:
        """Write ``data/NAME.js`` with a value that is encoded already; return its size."""
        return self.write(f"{DATA}/{name}.js", b"report.receive(" + encode_json(name) + b"," + value + b");\n")

    def write_compressed(self, name: str, value: bytes) -> int:
        """Write ``data/NAME.js`` with an encoded value compressed by gzip, as a text in base64; return its size."""
        packed = base64.b64encode(gzip.compress(value, COMPRESSION_LEVEL, mtime=0))
        return self.write_encoded(name, b'"' + packed + b'"')

    def copy_assets(self, names: Iterable[str]) -> None:
        """Copy the scripts and styles of the pages, and the bundle of Plotly, which is copied once."""
        for name in names:
            self.write(f"{ASSETS}/{name}", files("launch.run_report").joinpath("assets", name).read_bytes())
        bundle = files("plotly").joinpath("package_data", "plotly.min.js")
        target = self.path / ASSETS / "plotly.min.js"
        with bundle.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
        if not (target.is_file() and target.stat().st_size == size):
            self.write(f"{ASSETS}/plotly.min.js", bundle.read_bytes())

    def remove_data(self, kept: Iterable[str]) -> None:
        """Delete pages in ``data/`` except those of the names ``kept``, and what a killed build left.

        Files with names that no build gives are left alone.
        """
        names = {f"{name}.js" for name in kept}
        stale = [
            path
            for path in (self.path / DATA).glob("*.js")
            if _OWN_DATA.fullmatch(path.name) and path.name not in names and path.is_file()
        ]
        unfinished = [
            path
            for folder in (self.path, self.path / DATA, self.path / ASSETS)
            for path in folder.glob(".*.unfinished")
            if _UNFINISHED.fullmatch(path.name) and _is_old(path)
        ]
        for path in (*stale, *unfinished):
            path.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    """Return True if no build in progress can be writing the file."""
    try:
        return time.time() - path.stat().st_mtime > LONGEST_BUILD_S
    except FileNotFoundError:
        return False
