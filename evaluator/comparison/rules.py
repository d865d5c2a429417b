"""Choose how the answers to a problem may differ from its expected outputs.

The tolerance of a real number is that of ``metadata.checker``, or else the one that the statement grants. Without
either, functions that return floats have ``FUNCTIONAL_TOLERANCE``, and printed tokens are compared as they stand.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluator.checker import Checker, CustomChecker, Tolerance
from evaluator.comparison.grants import find_granted_tolerance
from evaluator.comparison.numbers import INTEGER, parse_fraction
from evaluator.comparison.places import IntegerPlaces, Kind, find_integer_places
from evaluator.comparison.splitting import split_token_lines
from evaluator.comparison.tolerance import FUNCTIONAL_TOLERANCE
from evaluator.json_text import decode_json

if TYPE_CHECKING:  # evaluator.problem imports this package
    from evaluator.problem import Problem

_FLOAT_TYPE = re.compile(r"\b(?:float|double|Decimal)\b")
_INTEGER_TYPE = re.compile(r"\bint\b")
_RETURN_TYPE = re.compile(r"\s*->\s*([^:]+):")
_DOCUMENTED_TYPE = re.compile(r":rtype:[ \t]*(\S.*)")


@dataclass(frozen=True, kw_only=True)
class ComparisonRules:
    """Rules for comparing answers to one problem: its checker, and the tolerance of its real numbers.

    Attributes:
        checker: the decoded ``metadata.checker``.
        tolerance: error of real numbers that the checker or the statement grants; None if neither does.
        returns_floats: the numbers of a function's results are real, even where one is written as an integer.
        outputs: expected outputs of all tests, from which ``text_places`` and ``json_places`` are found when needed.
    """

    checker: Checker | None = None
    tolerance: Tolerance | None = None
    returns_floats: bool = False
    outputs: tuple[str, ...] = ()

    @property
    def grants_anything(self) -> bool:
        """True if the problem has a checker or grants a tolerance."""
        return self.checker is not None or self.tolerance is not None

    @functools.cached_property
    def text_places(self) -> IntegerPlaces:
        """Integer places of printed outputs: columns of a table, or positions of tokens."""
        return find_integer_places(
            [[[_get_token_kind(token) for token in line] for line in split_token_lines(text)] for text in self.outputs]
        )

    @functools.cached_property
    def json_places(self) -> IntegerPlaces:
        """Integer places of results that are lists of numbers, or lists of such lists."""
        rows = [_decode_rows(text) for text in self.outputs]
        if self.returns_floats or None in rows:
            return IntegerPlaces()
        return find_integer_places([[list(map(_get_value_kind, row)) for row in output or ()] for output in rows])


DEFAULT_RULES = ComparisonRules()


def choose_rules(problem: Problem, checker: Checker | None) -> ComparisonRules:
    """Return the rules for answers to ``problem``, whose decoded ``metadata.checker`` is ``checker``."""
    is_function = problem.func_name is not None
    tolerance = checker if isinstance(checker, Tolerance) else None
    if not isinstance(checker, Tolerance | CustomChecker):
        tolerance = find_granted_tolerance(problem.question_content)
        if tolerance is not None and is_function:
            tolerance = Tolerance(tolerance.abs, max(tolerance.rel, FUNCTIONAL_TOLERANCE.rel))
    outputs = tuple(test.output for test in problem.tests)
    return ComparisonRules(
        checker=checker,
        tolerance=tolerance,
        returns_floats=is_function and _returns_floats(problem, outputs),
        outputs=outputs,
    )


def list_rows(value: Any) -> list[list[Any]] | None:
    """Return the rows of a decoded JSON value: a list is one row or, if it has only lists, its rows.

    None for a value in which no place is considered: anything else, and lists that are nested more deeply.
    """
    if not isinstance(value, list):
        return None
    rows = value if all(isinstance(item, list) for item in value) else [value]
    return None if any(isinstance(item, list | dict) for row in rows for item in row) else rows


def _decode_rows(output: str) -> list[list[Any]] | None:
    try:
        return list_rows(decode_json(output))
    except ValueError:  # an unusable expected output is reported by its own test
        return None


def _returns_floats(problem: Problem, outputs: tuple[str, ...]) -> bool:
    return_type = _find_return_type(problem.starter_code, problem.func_name or "")
    if return_type is None:  # a single number is real if it has a fraction in any test
        return any(parse_fraction(output.strip().encode("utf-8", "replace")) is not None for output in outputs)
    return _FLOAT_TYPE.search(return_type) is not None and _INTEGER_TYPE.search(return_type) is None


@functools.lru_cache(maxsize=256)
def _find_return_type(starter_code: str, func_name: str) -> str | None:
    """Return the annotation or documented type of the function's result; None if the starter code has neither."""
    start = re.search(rf"\bdef\s+{re.escape(func_name)}\s*\(", starter_code)
    if start is None:
        return None
    depth = 1
    end = start.end()
    while depth and end < len(starter_code):
        depth += {"(": 1, ")": -1}.get(starter_code[end], 0)
        end += 1
    found = _RETURN_TYPE.match(starter_code, end) or _DOCUMENTED_TYPE.search(starter_code, end)
    return None if found is None else found[1]


def _get_token_kind(token: bytes) -> Kind:
    if INTEGER.fullmatch(token):
        return Kind.INTEGER
    return Kind.OTHER if parse_fraction(token) is None else Kind.FRACTION


def _get_value_kind(value: object) -> Kind:
    if isinstance(value, float):
        return Kind.FRACTION
    return Kind.INTEGER if isinstance(value, int) and not isinstance(value, bool) else Kind.OTHER
