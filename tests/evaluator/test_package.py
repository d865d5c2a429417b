"""The package ``microcoder-evaluator``: what it declares, and that it works where nothing else of the project is."""

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
FOLDER = ROOT / "evaluator"
PROJECT, PACKAGE = (tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (ROOT, FOLDER))
PINS = {pin.name: next(iter(pin.specifier)).version for pin in map(Requirement, PROJECT["project"]["dependencies"])}
REQUIRED = [Requirement(text) for text in PACKAGE["project"]["dependencies"]]
LEFTOVERS = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
OTHERS = ("actors", "conf", "launch", "learner", "pandas", "ray", "torch", "vllm")

ADD = "print(sum(map(int, input().split())))"
SQUARES = "import numpy\n\ndef squares(n):\n    return (numpy.arange(n) ** 2).tolist()"


def test_versions_agree_with_the_project():
    for name in ("version", "license", "license-files"):
        assert PACKAGE["project"][name] == PROJECT["project"][name]
    assert PACKAGE["build-system"] == PROJECT["build-system"]
    assert {required.name for required in REQUIRED} == {"numpy", "pyarrow"}
    for required in REQUIRED:  # the range begins at the version that is tested here
        assert f">={PINS[required.name]}" in map(str, required.specifier)
        assert PINS[required.name] in required.specifier
    oldest = next(one.version for one in SpecifierSet(PROJECT["project"]["requires-python"]) if one.operator == ">=")
    assert PACKAGE["project"]["requires-python"] == f">={oldest}"
    assert (FOLDER / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_every_folder_of_code_is_named():
    found = [
        path.parent.relative_to(ROOT)
        for path in FOLDER.rglob("__init__.py")
        if "build" not in path.relative_to(FOLDER).parts
    ]
    assert PACKAGE["tool"]["setuptools"]["packages"] == sorted(".".join(folder.parts) for folder in found)


def test_tools_keep_to_the_settings_of_the_project():
    assert set(PACKAGE["tool"]) == {"setuptools"}


def test_import_loads_nothing_heavy():
    unwanted = {*OTHERS, "numpy", "pyarrow"}
    program = f"import sys, evaluator.score.__main__; print(*sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def run(folder, *command):
    """Run a command in ``folder`` without the settings of this environment; returns its standard output."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh environment that holds the wheel, numpy and pyarrow; the wheel is built from a copy of the folder."""
    folder = tmp_path_factory.mktemp("package")
    uv = Path(sys.executable).with_name("uv")
    shutil.copytree(FOLDER, folder / "source", ignore=LEFTOVERS)
    run(folder, uv, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", "dist", "source")
    [wheel] = (folder / "dist").glob("*.whl")
    run(folder, uv, "venv", "--quiet", "--python", sys.executable, "environment")
    python = folder / "environment/bin/python"
    pins = [f"{required.name}=={PINS[required.name]}" for required in REQUIRED]  # by itself, uv takes the newest
    run(folder, uv, "pip", "install", "--quiet", "--python", python, wheel, *pins)
    return folder


def problem(question_id, tests, **metadata):
    return {
        "question_id": question_id,
        "platform": "other",
        "public_test_cases": json.dumps([{"input": text, "output": output} for text, output in tests]),
        "metadata": json.dumps(metadata),
    }


@pytest.mark.integration
def test_nothing_else_is_installed(environment):
    program = (
        "import importlib.util, sys, evaluator\n"
        f"found = [name for name in {OTHERS} if importlib.util.find_spec(name)]\n"
        "print([evaluator.__file__, found, sys.path])"
    )
    out = run(environment, environment / "environment/bin/python", "-I", "-c", program)
    assert str(environment / "environment/lib") in out.split(",")[0]
    assert "[]" in out
    assert str(ROOT) not in out


@pytest.mark.integration
def test_the_wheel_holds_every_file_of_code(environment):
    [installed] = (environment / "environment/lib").glob("python*/site-packages/evaluator")
    ours, theirs = (
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        for folder in (environment / "source", installed)
    )
    built = {name for name in ours if name.startswith("build/") or ".egg-info/" in name}
    assert theirs == ours - built - {"pyproject.toml", "LICENSE"}
    assert list(installed.parent.glob("microcoder_evaluator-*.dist-info/licenses/LICENSE"))


@pytest.mark.integration
def test_programs_are_judged_in_a_fresh_environment(environment):
    rows = [
        problem("add", [("1 2\n", "3\n"), ("4 4\n", "8\n")]),
        problem("squares", [("3", "[0, 1, 4]")], func_name="squares"),
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
    assert [(one["question_id"], one["index"], one["status"]) for one in verdicts] == [
        ("add", 0, "passed"),
        ("add", 1, "wrong_answer"),
        ("squares", 0, "passed"),
        ("squares", 1, "wrong_answer"),
    ]
    assert "4 programs for 2 problems" in out
