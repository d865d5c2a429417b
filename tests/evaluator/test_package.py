"""Package ``microcoder-evaluator``: its metadata, its files, and its use without the rest of the project."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pyarrow import parquet

ROOT = Path(__file__).parents[2]
PACKAGE_FOLDER = ROOT / "evaluator"
PROJECT_CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE_CONFIG = tomllib.loads((PACKAGE_FOLDER / "pyproject.toml").read_text())
PINNED = [Requirement(text) for text in PROJECT_CONFIG["project"]["dependencies"]]
PINS = {requirement.name: next(iter(requirement.specifier)).version for requirement in PINNED}
REQUIREMENTS = [Requirement(text) for text in PACKAGE_CONFIG["project"]["dependencies"]]
BUILD_FILES = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
OTHER_PACKAGES = ("actors", "conf", "launch", "learner", "pandas", "ray", "torch", "vllm")

ADD = "print(sum(map(int, input().split())))"
SQUARES = "import numpy\n\ndef squares(n):\n    return (numpy.arange(n) ** 2).tolist()"


def test_metadata_agrees_with_the_project():
    for name in ("version", "license", "license-files"):
        assert PACKAGE_CONFIG["project"][name] == PROJECT_CONFIG["project"][name]
    assert PACKAGE_CONFIG["build-system"] == PROJECT_CONFIG["build-system"]
    assert {requirement.name for requirement in REQUIREMENTS} == {"numpy", "pyarrow"}
    for requirement in REQUIREMENTS:  # the allowed range begins at the tested version
        assert f">={PINS[requirement.name]}" in map(str, requirement.specifier)
        assert PINS[requirement.name] in requirement.specifier
    python_versions = SpecifierSet(PROJECT_CONFIG["project"]["requires-python"])
    oldest = next(part.version for part in python_versions if part.operator == ">=")
    assert PACKAGE_CONFIG["project"]["requires-python"] == f">={oldest}"
    assert (PACKAGE_FOLDER / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_every_code_folder_is_a_declared_package():
    folders = [
        path.parent.relative_to(ROOT)
        for path in PACKAGE_FOLDER.rglob("__init__.py")
        if "build" not in path.relative_to(PACKAGE_FOLDER).parts
    ]
    assert PACKAGE_CONFIG["tool"]["setuptools"]["packages"] == sorted(".".join(folder.parts) for folder in folders)


def test_package_does_not_override_tool_settings():
    assert set(PACKAGE_CONFIG["tool"]) == {"setuptools"}


def test_import_does_not_load_heavy_packages():
    heavy = {*OTHER_PACKAGES, "numpy", "pyarrow"}
    program = f"import sys, evaluator.score.__main__; print(*sorted({heavy} & set(sys.modules)))"
    completed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert completed.stdout == "\n"


def run(folder, *command):
    """Run a command in ``folder``, without the variables of this Python environment, and return its standard output."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    completed = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert completed.returncode == 0, f"{command}: {completed.stdout}{completed.stderr}"
    return completed.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Folder of a fresh environment with numpy, pyarrow and the wheel, which is built from a copy of the package."""
    folder = tmp_path_factory.mktemp("package")
    uv = Path(sys.executable).with_name("uv")
    shutil.copytree(PACKAGE_FOLDER, folder / "source", ignore=BUILD_FILES)
    run(folder, uv, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", "dist", "source")
    [wheel] = (folder / "dist").glob("*.whl")
    run(folder, uv, "venv", "--quiet", "--python", sys.executable, "environment")
    python = folder / "environment/bin/python"
    # Without pins, uv would install the newest versions.
    pins = [f"{requirement.name}=={PINS[requirement.name]}" for requirement in REQUIREMENTS]
    run(folder, uv, "pip", "install", "--quiet", "--python", python, wheel, *pins)
    return folder


def make_problem_row(question_id, tests, **metadata):
    """Return a row of a problem file with (input, output) ``tests``."""
    return {
        "question_id": question_id,
        "platform": "other",
        "public_test_cases": json.dumps([{"input": text, "output": output} for text, output in tests]),
        "metadata": json.dumps(metadata),
    }


@pytest.mark.integration
def test_no_other_package_of_the_project_is_installed(environment):
    program = (
        "import importlib.util, sys, evaluator\n"
        f"found = [name for name in {OTHER_PACKAGES} if importlib.util.find_spec(name)]\n"
        "print([evaluator.__file__, found, sys.path])"
    )
    out = run(environment, environment / "environment/bin/python", "-I", "-c", program)
    assert str(environment / "environment/lib") in out.split(",")[0]
    assert "[]" in out
    assert str(ROOT) not in out


@pytest.mark.integration
def test_wheel_contains_every_source_file(environment):
    [installed] = (environment / "environment/lib").glob("python*/site-packages/evaluator")
    source_files, installed_files = (
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        for folder in (environment / "source", installed)
    )
    build_files = {name for name in source_files if name.startswith("build/") or ".egg-info/" in name}
    assert installed_files == source_files - build_files - {"pyproject.toml", "LICENSE"}
    assert list(installed.parent.glob("microcoder_evaluator-*.dist-info/licenses/LICENSE"))


@pytest.mark.integration
def test_scoring_command_works_in_a_fresh_environment(environment):
    rows = [
        make_problem_row("add", [("1 2\n", "3\n"), ("4 4\n", "8\n")]),
        make_problem_row("squares", [("3", "[0, 1, 4]")], func_name="squares"),
    ]
    parquet.write_table(pa.Table.from_pylist(rows), environment / "problems.parquet")
    solutions = [
        {"question_id": "add", "code_list": [ADD, "print(3)"]},
        {"question_id": "squares", "code_list": [SQUARES, "def squares(n):\n    return list(range(n))"]},
    ]
    (environment / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in solutions))
    command = [environment / "environment/bin/evaluator-score", "--problems", "problems.parquet"]
    out = run(environment, *command, "--solutions", "solutions.jsonl", "--out", "verdicts.jsonl", "--timeout", "20")
    verdicts = [json.loads(line) for line in (environment / "verdicts.jsonl").read_text().splitlines()]
    assert [(row["question_id"], row["index"], row["status"]) for row in verdicts] == [
        ("add", 0, "passed"),
        ("add", 1, "wrong_answer"),
        ("squares", 0, "passed"),
        ("squares", 1, "wrong_answer"),
    ]
    assert "4 programs for 2 problems" in out
