"""Source files of this project as syntax trees, parsed once for all tests that check rules on them."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def list_sources(folder: str) -> tuple[Path, ...]:
    """Return the Python files below ``folder`` of the project, in order."""
    return tuple(sorted((ROOT / folder).rglob("*.py")))


@functools.cache
def list_nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text())))
