"""docs/index.md: it lists every page, and each entry of its table names a definition that exists."""

import re
from pathlib import Path

import pytest

from tests.test_method_page import list_definitions

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/index.md").read_text()
ENTRIES = re.findall(r"\| `([\w/]+\.py): ([\w.]+)` \|", PAGE)


def test_every_page_is_listed_once():
    listed = re.findall(r"^\| \[[\w.]+\]\(([\w.]+)\)", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md")


def test_the_table_answers_at_least_twenty_questions():
    assert len(ENTRIES) >= 20


@pytest.mark.parametrize(("path", "name"), ENTRIES)
def test_entry_names_a_definition(path, name):
    assert name in list_definitions((ROOT / path).read_text())
