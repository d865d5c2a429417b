"""Folder of a report: files written atomically, data as script files, and what an earlier build left in it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from launch.records.run_path import RunDirectoryError

ASSETS = "assets"
DATA = "data"
LONGEST_BUILD_S = 3600.0


def encode_json(value: object) -> bytes:
    """Return a value as JSON in UTF-8, in which lone surrogates are escapes. Raises ValueError for NaN."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def measure_json(value: object) -> int:
    """Return the size of ``encode_json``."""
    return len(encode_json(value))


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
        """Write a file atomically, unless it has that content; return its size."""
        path = self.path / name
        if not (path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content):
            # With the process id, so that two builds at once do not write into the same file.
            unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
        return len(content)

    def write_data(self, name: str, value: object) -> int:
        """Write ``data/NAME.js``, which passes ``value`` to the page that loads it; return its size."""
        content = b"report.receive(" + encode_json(name) + b"," + encode_json(value) + b");\n"
        return self.write(f"{DATA}/{name}.js", content)

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
        """Delete files of ``data/`` except those of the names ``kept``, and what a killed build left."""
        names = {f"{name}.js" for name in kept}
        for path in (self.path / DATA).iterdir():
            is_stale = path.suffix == ".js" and path.name not in names
            if is_stale or (path.suffix == ".unfinished" and _is_old(path)):
                path.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    """Return True if no build in progress can be writing the file."""
    try:
        return time.time() - path.stat().st_mtime > LONGEST_BUILD_S
    except FileNotFoundError:
        return False
