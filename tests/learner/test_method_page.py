"""docs/method.md: every line it names defines what it says, and every default of the method is in its table."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/method.md").read_text()
REFERENCES = re.findall(r"`([\w/]+\.py):(\d+): ([\w.]+)`", PAGE)


def definitions(source):
    """Lines on which each name is defined or assigned, qualified by the classes and functions around it."""
    found = {}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.setdefault(prefix + child.name, []).append(child.lineno)
                name = f"{prefix}{child.name}."
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                found.setdefault(prefix + child.id, []).append(child.lineno)
            visit(child, name)

    visit(ast.parse(source), "")
    return found


def test_definitions_by_hand():
    source = "a = 1\n\nclass B:\n    def c(self):\n        if a:\n            d = 2\n        d = 3\n"
    assert definitions(source) == {"a": [1], "B": [3], "B.c": [4], "B.c.d": [6, 7]}


def test_formulas_have_their_lines():
    """No file of the code is named without a line, but those of tests; the objective's parts are all there."""
    assert len(REFERENCES) >= 20
    named = {path for path, _, _ in REFERENCES}
    assert set(re.findall(r"`((?:learner|launch)/[\w/]+\.py)", PAGE)) == named
    assert not re.findall(r"`(?:learner|launch)/[\w/]+\.py(?!:\d+: )", PAGE)


@pytest.mark.parametrize(("path", "line", "name"), REFERENCES)
def test_the_line_defines_the_name(path, line, name):
    lines = definitions((ROOT / path).read_text()).get(name)
    assert lines is not None, f"docs/method.md names {name} of {path}, which does not define it"
    assert int(line) in lines, f"docs/method.md: {name} is not on line {line} of {path} but on {lines}"


def test_every_default_has_its_row():
    """A key of the method's own configuration is in the table of defaults, with its value's row."""
    values = yaml.safe_load((ROOT / "conf/algorithm/microcoder_grpo.yaml").read_text())
    table = PAGE.split("## Defaults")[1].split("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    assert all(len(row) == 5 and row[3].strip() for row in rows)
    listed = {f"{group}.{key}" for row in rows for group, *keys in [re.findall(r"\w+", row[1])] for key in keys}
    assert listed >= {f"{group}.{key}" for group, keys in values.items() for key in keys}
