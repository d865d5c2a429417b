"""Reader of a report's files, as strict as a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

DATA_FILE = re.compile(rb'report\.receive\(("[a-z0-9_]+"),(.*)\);\n', re.DOTALL)


def read_data(report: Path, name: str) -> Any:
    """Return the value that a data file passes to the page. Fails on NaN and on anything else around the JSON."""
    match = DATA_FILE.fullmatch((report / "data" / f"{name}.js").read_bytes())
    assert match is not None and json.loads(match[1]) == name
    value = json.loads(match[2], parse_constant=fail_on_constant)
    if re.fullmatch(r"texts_\d+_\d+", name):
        return json.loads(gzip.decompress(base64.b64decode(value, validate=True)), parse_constant=fail_on_constant)
    return value


def read_all_data(report: Path) -> dict[str, Any]:
    """Return the values of all data files by name."""
    return {path.stem: read_data(report, path.stem) for path in sorted((report / "data").glob("*.js"))}


def fail_on_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def read_levels(report: Path) -> dict[int, str | None]:
    """Return which texts of each step are in a report, and check that its files are those."""
    levels = {step["step"]: step["level"] for step in read_data(report, "front")["steps"]}
    names = {path.stem for path in (report / "data").glob("*.js")}
    for step, level in levels.items():
        assert (f"step_{step:06d}" in names) == (level is not None)
        assert (f"texts_{step:06d}" in names) == (level in ("all", "signal"))
    return levels


def read_group_texts(report: Path, step: int, group: int) -> Any:
    """Return the texts of a group as the page finds them, with its "tokens"; None if the report has none of it."""
    index = read_data(report, f"texts_{step:06d}")
    for number, groups in enumerate(index["chunks"]):
        if group in groups:
            chunk = read_data(report, f"texts_{step:06d}_{number}")
            return {**next(each for each in chunk["groups"] if each["group"] == group), "tokens": chunk["tokens"]}
    return None


def measure_report(report: Path) -> dict[str, int]:
    """Return the bytes of figures (with the index of groups and the manifest) and those of texts."""
    sizes = {path.name: path.stat().st_size for path in (report / "data").iterdir()}
    texts = sum(size for name, size in sizes.items() if name.startswith("texts_"))
    return {"texts": texts, "figures": sum(sizes.values()) - texts - sizes["front.js"]}
