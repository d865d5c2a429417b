"""docs/method.md: every file it names defines the name beside it, and every default of the method is in its table."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from launch.composition import compose_values

ROOT = Path(__file__).parents[2]
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
"""Keys of ``learner`` that belong to the method; the others are those of the machine."""


def definitions(source):
    """Names that are defined or assigned, qualified by the classes and functions around them."""
    found = set()

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + child.name)
                name = f"{prefix}{child.name}."
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                found.add(prefix + child.id)
            visit(child, name)

    visit(ast.parse(source), "")
    return found


def test_definitions_by_hand():
    source = "a = 1\n\nclass B:\n    def c(self):\n        if a:\n            d = 2\n        d = 3\n"
    assert definitions(source) == {"a", "B", "B.c", "B.c.d"}


def test_formulas_have_their_names():
    """No file of the code is named without a name in it, but those of tests; the objective's parts are all there."""
    assert len(REFERENCES) >= 20
    named = {path for path, _ in REFERENCES}
    assert set(re.findall(r"`((?:learner|launch)/[\w/]+\.py)", PAGE)) == named
    assert not re.findall(r"`(?:learner|launch)/[\w/]+\.py(?!: [\w.]+`)", PAGE)


def test_every_formula_of_a_table_has_a_reference():
    tables = re.findall(r"\| formula \| where \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    assert len(tables) == 2
    for row in "".join(tables).splitlines():
        assert re.search(r"`[\w/]+\.py: [\w.]+` \|$", row), f"docs/method.md: no file and name in the row {row}"


@pytest.mark.parametrize(("path", "name"), REFERENCES)
def test_the_file_defines_the_name(path, name):
    assert (ROOT / path).is_file(), f"docs/method.md names {path}, which does not exist"
    assert name in definitions((ROOT / path).read_text()), f"docs/method.md names {name}, which {path} does not define"


def table_of_defaults():
    """{dotted key: default as written} of the page's table; keys and values of a row are in backticks."""
    table = PAGE.split("## Defaults")[1].split("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    assert all(len(row) == 5 and row[3].strip() for row in rows)
    listed = {}
    for row in rows:
        (first, *others) = re.findall(r"`([^`]+)`", row[1])
        values = re.findall(r"`([^`]+)`", row[2])
        group = first.split(".")[0]
        keys = [first, *(f"{group}.{key}" for key in others)]
        listed |= dict(zip(keys, map(yaml.safe_load, values), strict=True))
    return listed


def test_every_default_has_its_row():
    """Every key of the method is in the table of defaults, with the value of conf/config.yaml."""
    values = compose_values("config")
    method = {f"algorithm.{key}": value for key, value in values["algorithm"].items()}
    method |= {f"learner.{key}": values["learner"][key] for key in OPTIMIZER_KEYS}
    assert table_of_defaults() == method
