"""Versions of the two packages and the changelog agree."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADINGS = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def read_version(path):
    return tomllib.loads((ROOT / path).read_text())["project"]["version"]


def test_both_packages_have_the_version_that_the_changelog_has_newest():
    released = [heading for heading in HEADINGS if heading != "Unreleased"]
    assert read_version("pyproject.toml") == read_version("evaluator/pyproject.toml") == released[0]


def test_changelog_lists_versions_newest_first():
    assert "Unreleased" not in HEADINGS[1:]
    versions = [tuple(map(int, heading.split("."))) for heading in HEADINGS if heading != "Unreleased"]
    assert versions == sorted(versions, reverse=True)
