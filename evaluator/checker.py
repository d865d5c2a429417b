"""Checkers: the comparison that a problem's ``metadata.checker`` allows beyond the default one.

``float`` sets the tolerance of numbers, whatever the statement grants. ``tokens_ci`` ignores the case of ASCII letters.
``unordered`` and ``unordered_deep`` ignore order, but not multiplicity. ``custom`` decides by a program of the
problem's author, which runs in a sandbox.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_TOLERANCE = 1e-6  # for a ``float`` checker that gives neither ``abs`` nor ``rel``

_ALLOWED_KEYS = {
    "float": frozenset({"abs", "rel"}),
    "tokens_ci": frozenset[str](),
    "unordered": frozenset[str](),
    "unordered_deep": frozenset[str](),
    "custom": frozenset({"code"}),
}


@dataclass(frozen=True)
class Tolerance:
    """``float`` checker: a number may differ by ``abs``, or by ``rel`` times the expected number.

    Two integers must be equal. A fraction may also match an expected integer within the tolerance, except at a place at
    which every test expects an integer, while tests expect fractions at other places: such an integer stays exact, such
    as the count in "2 0.5" (``comparison.places``).
    """

    abs: float
    rel: float


@dataclass(frozen=True)
class AnyCase:
    """``tokens_ci`` checker: ignore the case of ASCII letters."""


@dataclass(frozen=True)
class AnyOrder:
    """``unordered`` checker (outermost list) or, with ``deep``, ``unordered_deep`` checker (every list).

    Order is ignored, multiplicity is not. On standard output, the outermost list consists of the lines, or of the
    tokens if the expected output is a single line or has one token per line; ``deep`` ignores the order of the lines
    and the order of the tokens within each line.
    """

    deep: bool


@dataclass(frozen=True)
class CustomChecker:
    """``custom`` checker: ``code`` defines ``check(inp, out, exp)``, which returns True to accept the answer.

    It may also return (True or False, message). Any other result is a failure of the checker.
    """

    code: str


Checker = Tolerance | AnyCase | AnyOrder | CustomChecker


def parse_checker(value: object) -> Checker | None:
    """Parse a decoded ``metadata.checker``; None (no checker) stays None.

    A ``float`` checker that gives only one of ``abs`` and ``rel`` gets 0 for the other. Raises ValueError that names
    the error and the allowed values; unknown keys are errors, because a misspelt ``rel`` would silently change the
    tolerance.

    >>> parse_checker({"type": "float", "abs": 1e-4, "rel": 0})
    Tolerance(abs=0.0001, rel=0.0)
    >>> parse_checker({"type": "unordered_deep"})
    AnyOrder(deep=True)
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object, got {type(value).__name__}")
    checker_type = value.get("type")
    if not isinstance(checker_type, str) or checker_type not in _ALLOWED_KEYS:
        raise ValueError(f"type: expected one of {', '.join(_ALLOWED_KEYS)}, got {checker_type!r}")
    unknown = [key for key in value if key != "type" and key not in _ALLOWED_KEYS[checker_type]]
    if unknown:
        allowed = ", ".join(["type", *sorted(_ALLOWED_KEYS[checker_type])])
        raise ValueError(f"{unknown[0]}: unknown key of a {checker_type} checker, which has {allowed}")
    if checker_type == "float":
        return _parse_tolerance(value)
    if checker_type == "tokens_ci":
        return AnyCase()
    if checker_type == "custom":
        return CustomChecker(_check_code(value.get("code")))
    return AnyOrder(deep=checker_type == "unordered_deep")


def _parse_tolerance(value: Mapping[str, Any]) -> Tolerance:
    if "abs" not in value and "rel" not in value:
        return Tolerance(DEFAULT_TOLERANCE, DEFAULT_TOLERANCE)
    return Tolerance(_parse_error_bound(value, "abs"), _parse_error_bound(value, "rel"))


def _parse_error_bound(value: Mapping[str, Any], name: str) -> float:
    bound = value.get(name, 0.0)
    # Compared with math.inf, not by isfinite(), which raises for an integer beyond the range of float.
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < math.inf:
        raise ValueError(f"{name}: expected a number that is not negative, got {bound!r}"[:200])
    try:
        return float(bound)
    except OverflowError:
        raise ValueError(f"{name}: too large for a tolerance") from None


def _check_code(code: object) -> str:
    if not isinstance(code, str):
        raise ValueError(f"code: expected the source of check(inp, out, exp), got {type(code).__name__}")
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"code: not Python: {error}") from error
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "check" not in functions:
        names = ", ".join(sorted(functions)) or "none"
        raise ValueError(f"code: defines no function check(inp, out, exp) at its top level; functions there: {names}")
    return code
