"""docs/method.md: each file that it names defines the name given with it, and its table lists every default."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from launch.composition import compose_values

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/method.md").read_text()
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.py): ([\w.]+)`", PAGE)))
OPTIMIZER_KEYS = {
    "betas",
    "decay",
    "grad_clip",
    "learning_rate",
    "max_skipped_updates",
    "warmup_steps",
    "weight_decay",
}
"""Keys of ``learner`` that belong to the method; the others depend on the hardware."""


def list_definitions(source):
    """Return the names that ``source`` defines or assigns, qualified by the enclosing classes and functions."""
    names = set()

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(prefix + child.name)
                name = f"{prefix}{child.name}."
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                names.add(prefix + child.id)
            visit(child, name)

    visit(ast.parse(source), "")
    return names


def test_list_definitions_qualifies_nested_names():
    source = "a = 1\n\nclass B:\n    def c(self):\n        if a:\n            d = 2\n        d = 3\n"
    assert list_definitions(source) == {"a", "B", "B.c", "B.c.d"}


def test_page_names_a_definition_with_every_code_file():
    """Only test files may be named without a definition."""
    assert len(REFERENCES) >= 20
    named = {path for path, _ in REFERENCES}
    assert set(re.findall(r"`((?:learner|launch|evaluator)/[\w/]+\.py)", PAGE)) == named
    assert not re.findall(r"`(?:learner|launch)/[\w/]+\.py(?!: [\w.]+`)", PAGE)


def test_formula_tables_reference_a_definition_in_every_row():
    tables = re.findall(r"\| formula \| where \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    assert len(tables) == 2
    for row in "".join(tables).splitlines():
        assert re.search(r"`[\w/]+\.py: [\w.]+` \|$", row), f"docs/method.md: end the row {row} with `file.py: name`"


@pytest.mark.parametrize(("path", "name"), REFERENCES)
def test_named_file_defines_the_name(path, name):
    assert (ROOT / path).is_file(), f"docs/method.md names {path}, which does not exist"
    names = list_definitions((ROOT / path).read_text())
    assert name in names, f"docs/method.md names {name}, which {path} does not define"


def parse_table_of_defaults():
    """Parse the page's table of defaults as {dotted key: value}; keys and values of a row are in backticks."""
    table = PAGE.split("## Defaults")[1].split("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    assert all(len(row) == 5 and row[3].strip() for row in rows)
    defaults = {}
    for row in rows:
        (first, *others) = re.findall(r"`([^`]+)`", row[1])
        values = re.findall(r"`([^`]+)`", row[2])
        group = first.split(".")[0]
        keys = [first, *(f"{group}.{key}" for key in others)]
        defaults |= dict(zip(keys, map(yaml.safe_load, values), strict=True))
    return defaults


def test_table_of_defaults_matches_the_configuration():
    """The table has exactly the keys of the method, with the values of conf/config.yaml."""
    values = compose_values("config")
    method = {f"algorithm.{key}": value for key, value in values["algorithm"].items()}
    method |= {f"learner.{key}": values["learner"][key] for key in OPTIMIZER_KEYS}
    assert parse_table_of_defaults() == method
