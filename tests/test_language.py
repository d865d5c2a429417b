"""Rules of style that can be checked: first words of docstrings, dataclasses, calls and assignments."""

import ast
import subprocess

import pytest

from tests.source_tree import ROOT, list_nodes, list_sources

PACKAGES = ("actors", "benchmarks", "conf", "evaluator", "launch", "learner", "tests")
SOURCES = {path: list_nodes(path) for name in PACKAGES for path in list_sources(name)}
MAX_FIELDS = 3
"""Fields of a dataclass that may be given by position."""
MAX_POSITIONAL = 5
"""Positional arguments of a call to a function of this project."""
BAN_AS_FIRST_WORD = {
    *("also", "are", "as", "does", "for", "has", "how", "is", "none", "nothing", "of", "one", "that", "those", "what"),
    *("when", "where", "whether", "which", "who", "whose", "why", "with"),
}
"""Words with which no docstring begins: it names what something is, or says what it does, in the imperative."""
PREDICATES = ("is_", "has_", "can_")


def list_definitions(nodes):
    """Yield the functions and classes among the nodes of a module."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def locate(path, node):
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def is_training_text(path):
    """Solutions of the built-in problems are text that models are trained on: their source does not change."""
    return path.is_relative_to(ROOT / "launch/problems/starter")


def test_sources_are_found():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert len(SOURCES) > 300
    if listed:  # a source tree without a repository has no list
        assert {str(path.relative_to(ROOT)) for path in SOURCES} >= set(listed.split())


def test_docstrings_begin_with_a_noun_phrase_or_an_imperative():
    wrong = [
        f"{locate(path, node)} {node.name}: {docstring.splitlines()[0]}"
        for path, nodes in SOURCES.items()
        for node in list_definitions(nodes)
        if (docstring := ast.get_docstring(node)) and docstring.split()[0].strip(",.:;").lower() in BAN_AS_FIRST_WORD
    ]
    assert not wrong, "\n".join(["rewrite the first words of:", *wrong])


def read_dataclass_decorator(node):
    """Return the keywords of a class's ``dataclass`` decorator as source text; None without one."""
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        name = ast.unparse(call.func if call else decorator)
        if name.split(".")[-1] == "dataclass":
            return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords} if call else {}
    return None


def test_dataclasses_of_more_than_three_fields_take_keywords():
    wrong = []
    for path, nodes in SOURCES.items():
        for node in list_definitions(nodes):
            if not isinstance(node, ast.ClassDef):
                continue
            keywords = read_dataclass_decorator(node)
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
            # Configuration is made by pydantic from a mapping, never by position.
            if keywords is None or "config" in keywords or len(fields) <= MAX_FIELDS:
                continue
            if keywords.get("kw_only") != "True":
                wrong.append(f"{locate(path, node)} {node.name}")
    assert not wrong, "\n".join(["add kw_only=True:", *wrong])


def test_no_call_has_six_positional_arguments():
    """Variadic functions, and methods of libraries, may be called with more."""
    parameters = {}
    for nodes in SOURCES.values():
        for node in list_definitions(nodes):
            if isinstance(node, ast.ClassDef):
                continue
            variadic = node.args.vararg is not None
            parameters.setdefault(node.name, []).append(variadic)
    fixed = {name for name, variadic in parameters.items() if not any(variadic)}
    wrong = [
        f"{locate(path, call)} {ast.unparse(call.func)}"
        for path, nodes in SOURCES.items()
        for call in nodes
        if isinstance(call, ast.Call)
        and len(call.args) > MAX_POSITIONAL
        and isinstance(call.func, ast.Name)
        and call.func.id in fixed
    ]
    assert not wrong, "\n".join(["name the arguments of:", *wrong])


def is_swap(assignment):
    """An assignment whose values use its targets, such as ``a, b = b, a``."""
    used = {ast.unparse(node) for value in assignment.value.elts for node in ast.walk(value)}
    return bool(used & {ast.unparse(target) for target in assignment.targets[0].elts})


def test_unrelated_names_are_assigned_one_by_one():
    wrong = [
        f"{locate(path, node)} {ast.unparse(node)}"
        for path, nodes in SOURCES.items()
        if not is_training_text(path)
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
        and not is_swap(node)
    ]
    assert not wrong, "\n".join(["assign one name per line:", *wrong])


@pytest.mark.parametrize("prefix", PREDICATES)
def test_predicates_return_bool(prefix):
    wrong = [
        locate(path, node)
        for path, nodes in SOURCES.items()
        if path.parts[len(ROOT.parts)] != "tests"
        for node in list_definitions(nodes)
        if not isinstance(node, ast.ClassDef)
        and node.name.lstrip("_").startswith(prefix)
        and (node.returns is None or "bool" not in ast.unparse(node.returns).lower())
    ]
    assert not wrong, f"{prefix}* must return bool: {wrong}"
