"""The rooms of docs/architecture.md: which package may import which, read from the imports of all files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "evaluator": set(),
    "learner": {"evaluator"},
    "actors": {"learner", "evaluator"},
    "conf": {"evaluator"},
    "launch": {"actors", "learner", "evaluator", "conf"},
}
"""Of each package, the project's other packages that it may import."""
FORBIDDEN = {
    "evaluator": {"torch", "transformers", "ray", "vllm", "hydra", "omegaconf", "pydantic", "pandas"},
    "learner": {"ray", "vllm", "hydra", "omegaconf"},
    "conf": {"torch", "transformers", "ray", "vllm"},
}
"""Of each package, libraries that it must not import."""
COMMANDS = {"launch.driver", "launch.evaluate", "launch.export", "launch.scale", "launch.warm_start"}
STANDARD_OR_ARRAYS = {*sys.stdlib_module_names, "numpy", "pyarrow"}


def modules() -> dict[str, Path]:
    """Files of the five packages by module name."""
    paths = (path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py") if "build" not in path.parts)
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


def imported_names(path: Path) -> set[str]:
    """Dotted names that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


IMPORTS = {module: imported_names(path) for module, path in MODULES.items()}


def own_module(name: str) -> str | None:
    """The project's module that importing ``name`` runs: itself, or the module that ``name`` is a name in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


ARROWS = {
    module: {found for name in names if (found := own_module(name)) and found != module}
    for module, names in IMPORTS.items()
}
"""Of each module, the project's modules that it imports."""


def box(module: str) -> str:
    """The room of a module: its folder, or the file itself where it lies directly in a package with folders."""
    parts = module.split(".")
    if parts[0] not in ("launch", "actors"):
        return parts[0]
    return ".".join(parts[:2])


def circle(arrows: Mapping[str, Iterable[str]]) -> list[str]:
    """A circle of ``arrows`` as the names on it, [] where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for following in sorted(arrows.get(name, ())):
            if found := visit(following, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := visit(name, []))), [])


def test_a_circle_is_found():
    assert circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert circle({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_all_packages_are_read():
    assert len(MODULES) > 150
    assert {module.split(".")[0] for module in MODULES} == set(MAY_IMPORT)
    assert "learner.credit" in ARROWS["launch.training.train"]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_down(package):
    upward = {
        f"{module} -> {found}"
        for module, arrows in ARROWS.items()
        if module.split(".")[0] == package
        for found in arrows
        if found.split(".")[0] not in MAY_IMPORT[package] | {package}
    }
    assert upward == set()


def test_no_circle_of_files():
    # What a package's __init__ imports of its own files is its public face, and these do not import it.
    assert circle(ARROWS) == []


def test_no_circle_of_rooms():
    rooms: dict[str, set[str]] = {}
    for module, arrows in ARROWS.items():
        rooms.setdefault(box(module), set()).update(box(found) for found in arrows if box(found) != box(module))
    assert circle(rooms) == []


def test_nothing_imports_a_command():
    readers = {**ARROWS, **{str(path): imported_names(path) for path in (ROOT / "benchmarks").rglob("*.py")}}
    importing = {
        f"{module} -> {found}"
        for module, names in readers.items()
        for found in {own_module(name) for name in names} & COMMANDS
    }
    assert importing == set()
    assert {module for module, path in MODULES.items() if "@hydra.main" in path.read_text()} == COMMANDS


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_is_free_of_libraries(package):
    found = {
        f"{module} -> {name}"
        for module, names in IMPORTS.items()
        if module.split(".")[0] == package
        for name in names
        if name.split(".")[0] in FORBIDDEN[package]
    }
    assert found == set()


def test_the_evaluator_needs_the_standard_library_and_arrays_only():
    found = {
        name.split(".")[0] for module, names in IMPORTS.items() if module.split(".")[0] == "evaluator" for name in names
    }
    assert found - STANDARD_OR_ARRAYS == {"evaluator"}
