"""Functional tests from asserts about the result of a function, as LeetCode sets publish them.

    assert candidate(nums = [3, 1], k = 2) == 4
    assert is_same_list(candidate(head = list_node([1, 2])), list_node([2, 1]))

The asserts are only parsed, never run: every argument and result must be a literal, ``inf``, ``nan``, or a list that
``list_node`` or ``tree_node`` turn into nodes, which are lists in tests.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evaluator.problem import ProblemError, ProblemTest

_NUMBERS = {"inf": math.inf, "nan": math.nan}
_NODE_MAKERS = ("list_node", "tree_node")
_NODE_COMPARISONS = ("is_same_list", "is_same_tree")
_CALLED = "candidate"


@dataclass(frozen=True, kw_only=True, slots=True)
class AssertTests:
    """Tests that asserts make.

    Attributes:
        tests: the tests.
        dropped: source of each assert that cannot be a test.
    """

    tests: tuple[ProblemTest, ...]
    dropped: tuple[str, ...]


def parse_asserts(source: str, starter_code: str, func_name: str) -> AssertTests:
    """Return the tests in the asserts of ``check(candidate)``.

    Args:
        source: the published test code.
        starter_code: starter code, whose signature gives the order of arguments that are passed by name.
        func_name: function that the asserts call as ``candidate``.

    Raises:
        ProblemError: the test code is not Python or has no assert that can be a test.
    """
    parameters = _find_parameters(starter_code, func_name)
    tests = []
    dropped = []
    for node in _find_asserts(source):
        try:
            call, expected = _split_assert(node.test)
            arguments = [json.dumps(value) for value in _read_arguments(call, parameters)]
            tests.append(ProblemTest("\n".join(arguments), json.dumps(_read_value(expected)), "functional"))
        except (ValueError, TypeError, RecursionError):
            dropped.append(ast.unparse(node))
    if not tests:
        first = f", the first: {dropped[0][:200]}" if dropped else ""
        raise ProblemError(f"test: no assert can be a test, of {len(dropped)}{first}")
    return AssertTests(tests=tuple(tests), dropped=tuple(dropped))


def _find_asserts(source: str) -> Iterator[ast.Assert]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ProblemError(f"test: not Python: {error}") from error
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.FunctionDef))]
    return (node for body in bodies for node in body if isinstance(node, ast.Assert))


def _find_parameters(starter_code: str, func_name: str) -> list[str]:
    """Return the names of the function's parameters. Raises ProblemError if the starter code does not define it."""
    for indent in ("    ", "        "):  # starter code ends before the body, at the indent of a method or a function
        try:
            tree = ast.parse(f"{starter_code.rstrip()}\n{indent}pass")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == func_name:
                names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
                return names[1:] if names[:1] in (["self"], ["cls"]) else names
    raise ProblemError(f"starter_code: defines no function {func_name}")


def _split_assert(test: ast.expr) -> tuple[ast.Call, ast.expr]:
    """Return the call of the function and the expected result. Raises ValueError for any other kind of assert."""
    match test:
        case ast.Compare(left=ast.Call(func=ast.Name(id=name)) as call, ops=[ast.Eq()], comparators=[expected]):
            if name == _CALLED:
                return call, expected
        case ast.Call(func=ast.Name(id=outer), args=[ast.Call(func=ast.Name(id=name)) as call, expected], keywords=[]):
            if name == _CALLED and outer in _NODE_COMPARISONS:
                return call, expected
    raise ValueError("neither an equality nor a comparison of nodes")


def _read_arguments(call: ast.Call, parameters: Sequence[str]) -> list[Any]:
    """Return the values of a call's arguments in the order of the parameters. Raises ValueError."""
    values = {name: _read_value(node) for name, node in zip(parameters, call.args, strict=False)}
    if len(values) < len(call.args):
        raise ValueError("too many arguments")
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in values or keyword.arg not in parameters:
            raise ValueError(f"unexpected argument {keyword.arg}")
        values[keyword.arg] = _read_value(keyword.value)
    given = list(parameters[: len(values)])
    if set(given) != values.keys():
        raise ValueError("an argument is missing")
    return [values[name] for name in given]


def _read_value(node: ast.expr) -> Any:
    """Return the value of an expression. Raises ValueError if it is not of the documented forms."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in _NUMBERS:
            return _NUMBERS[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf")):
            return -math.inf
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(text))], keywords=[]):
            return float(text)
        case ast.Call(func=ast.Name(id=name), args=[ast.List() as items], keywords=[]) if name in _NODE_MAKERS:
            return _read_value(items)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_read_value(element) for element in elements]
    return ast.literal_eval(node)
