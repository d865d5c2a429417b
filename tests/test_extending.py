"""Follow docs/extending.md: apply each section's steps to a copy of the repository and run the test that it names."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()
SECTIONS = dict(zip(*[iter(re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)[1:])] * 2, strict=True))
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
COPIED = ("actors", "conf", "evaluator", "launch", "learner", "tests", "pyproject.toml")


@dataclass(frozen=True)
class Step:
    """A file to create with ``content``, or a change of it: ``content`` is a diff without line numbers."""

    path: str
    is_change: bool
    content: str


def parse_steps(section):
    """Return the steps of a section, in order: every block after "Create `path`:" or "Change `path`:"."""
    steps = []
    for text in re.split(r"^(?=(?:Create|Change) `)", section, flags=re.MULTILINE)[1:]:
        verb, path = re.match(r"(Create|Change) `([^`]+)`:\n", text).groups()
        steps += [Step(path, verb == "Change", content) for _, content in BLOCK.findall(text)]
    return steps


def apply_step(root, step):
    """Create or change a file below ``root``."""
    path = root / step.path
    if not step.is_change:
        assert not path.exists(), f"{step.path} exists already"
        path.write_text(step.content)
        return
    lines = step.content.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    new = "".join(line[1:] for line in lines if not line.startswith("-"))
    text = path.read_text()
    assert text.count(old) == 1, f"{step.path}: the page's change does not fit, there is not exactly one:\n{old}"
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the repository's code."""
    root = tmp_path_factory.mktemp("repository")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            )
        else:
            shutil.copy(ROOT / name, root)
    return root


def test_every_kind_of_extension_has_a_section():
    kinds = ["reward", "benchmark", "source of training problems", "recipe", "mask or a loss term", "weight transport"]
    assert list(SECTIONS) == [f"A {kind}" for kind in kinds]


@pytest.mark.slow
@pytest.mark.parametrize("title", SECTIONS)
def test_the_steps_of_a_section_work(title, repository, tmp_path):
    section = SECTIONS[title]
    steps = parse_steps(section)
    assert steps
    root = tmp_path / "repository"
    shutil.copytree(repository, root)
    for step in steps:
        apply_step(root, step)
    (command,) = re.findall(r"^Run `python (-m pytest [^`]+)`", section, re.MULTILINE)
    arguments = [sys.executable, *shlex.split(command), "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/tmp"]
    ended = subprocess.run(arguments, cwd=root, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^\d+ passed", ended.stdout, re.MULTILINE), ended.stdout
