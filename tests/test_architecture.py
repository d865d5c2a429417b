"""Import rules of docs/architecture.md between packages and modules, checked on the imports of all files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.source_tree import ROOT, list_nodes, list_sources

MAY_IMPORT = {
    "evaluator": set(),
    "learner": {"evaluator"},
    "actors": {"learner", "evaluator"},
    "conf": {"evaluator"},
    "launch": {"actors", "learner", "evaluator", "conf"},
}
"""Packages of this project that each package may import."""
FORBIDDEN_LIBRARIES = {
    "evaluator": {"torch", "transformers", "ray", "vllm", "hydra", "omegaconf", "pydantic", "pandas"},
    "learner": {"ray", "vllm", "hydra", "omegaconf"},
    "conf": {"torch", "transformers", "ray", "vllm"},
}
"""Libraries that each package must not import."""
COMMANDS = {
    "launch.curate",
    "launch.doctor",
    "launch.driver",
    "launch.evaluate",
    "launch.export",
    "launch.report",
    "launch.scale",
    "launch.warm_start",
}
EVALUATOR_LIBRARIES = {*sys.stdlib_module_names, "numpy", "pyarrow"}


def find_modules() -> dict[str, Path]:
    """Return the path of every module of the five packages, by dotted name."""
    paths = (path for package in MAY_IMPORT for path in list_sources(package) if "build" not in path.parts)
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = find_modules()


def find_imported_names(path: Path) -> set[str]:
    """Return the dotted names that a file imports, at module level or inside a function."""
    names = set()
    for node in list_nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import: use the absolute module name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


IMPORTS = {module: find_imported_names(path) for module, path in MODULES.items()}


def find_own_module(name: str) -> str | None:
    """Return the project's module that importing ``name`` executes: ``name`` itself or the module that defines it.

    None if ``name`` does not belong to the project.
    """
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


OWN_IMPORTS = {
    module: {imported for name in names if (imported := find_own_module(name)) and imported != module}
    for module, names in IMPORTS.items()
}
"""Modules of this project that each module imports."""


def get_component(module: str) -> str:
    """Return the component of a module.

    A component of `launch` or `actors` is a subfolder, or a file directly in the package. Any other package is one
    component.
    """
    parts = module.split(".")
    if parts[0] not in ("launch", "actors"):
        return parts[0]
    return ".".join(parts[:2])


def find_cycle(imports: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names on an import cycle, the first one repeated at the end; [] if there is no cycle."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for imported in sorted(imports.get(name, ())):
            if cycle := visit(imported, [*path, name]):
                return cycle
        done.add(name)
        return []

    return next((cycle for name in sorted(imports) if (cycle := visit(name, []))), [])


def test_find_cycle_returns_a_cycle_or_nothing():
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_all_packages_are_scanned():
    assert len(MODULES) > 150
    assert {module.split(".")[0] for module in MODULES} == set(MAY_IMPORT)
    assert "learner.credit" in OWN_IMPORTS["launch.training.old_logprobs"]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_allowed_packages(package):
    violations = {
        f"{module} -> {imported}"
        for module, imports in OWN_IMPORTS.items()
        if module.split(".")[0] == package
        for imported in imports
        if imported.split(".")[0] not in MAY_IMPORT[package] | {package}
    }
    assert violations == set()


def test_no_import_cycle_between_modules():
    # A package's __init__ may import its own modules (its public API), as long as they do not import the package.
    assert find_cycle(OWN_IMPORTS) == []


def test_no_import_cycle_between_components():
    components: dict[str, set[str]] = {}
    for module, imports in OWN_IMPORTS.items():
        importer = get_component(module)
        components.setdefault(importer, set()).update({get_component(imported) for imported in imports} - {importer})
    assert find_cycle(components) == []


def test_no_module_imports_a_command():
    imports_by_file = {
        **OWN_IMPORTS,
        **{str(path): find_imported_names(path) for path in list_sources("benchmarks")},
    }
    violations = {
        f"{importer} -> {imported}"
        for importer, names in imports_by_file.items()
        for imported in {find_own_module(name) for name in names} & COMMANDS
    }
    assert violations == set()
    assert {module for module, path in MODULES.items() if "@hydra.main" in path.read_text()} == COMMANDS


@pytest.mark.parametrize("package", FORBIDDEN_LIBRARIES)
def test_package_imports_no_forbidden_library(package):
    violations = {
        f"{module} -> {name}"
        for module, names in IMPORTS.items()
        if module.split(".")[0] == package
        for name in names
        if name.split(".")[0] in FORBIDDEN_LIBRARIES[package]
    }
    assert violations == set()


def test_evaluator_imports_only_standard_library_numpy_and_pyarrow():
    imported = {
        name.split(".")[0] for module, names in IMPORTS.items() if module.split(".")[0] == "evaluator" for name in names
    }
    assert imported - EVALUATOR_LIBRARIES == {"evaluator"}
