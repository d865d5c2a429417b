"""Comparison strategies for function results, given as decoded JSON values, from the strictest to the loosest.

The ``json_granted_*`` strategies apply only if the problem has such a checker. Verdicts name them ``granted_*``, like
the strategies for texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evaluator.checker import AnyCase, AnyOrder, Tolerance
from evaluator.comparison.rules import ComparisonRules, list_rows
from evaluator.comparison.splitting import encode
from evaluator.comparison.text import granted_case, granted_order, granted_tolerance, is_padded
from evaluator.comparison.tolerance import FUNCTIONAL_TOLERANCE, find_nearest_close, is_close
from evaluator.json_text import decode_json

_MAX_EXTRA_PARTS = 1000  # for punctuation in strings, which the expected text may write as \u002c


def json_equal(expected: object, actual: object) -> bool:
    """Accept an equal JSON value. true is not 1, "12" is not 12, and numbers must be exactly equal.

    >>> json_equal([1, "a", None], [1, "a", None]), json_equal(1, True), json_equal(12, "12"), json_equal(0.3, 0.1 * 3)
    (True, False, False, False)
    >>> json_equal(2, 2.0), json_equal(10**18 + 1, 1e18)
    (True, False)
    """
    return _match_values(expected, actual, _MatchRules())


def json_close(expected: object, actual: object, returns_floats: bool = False) -> bool:
    """Accept an equal JSON value, where an expected number that is not an integer matches within 1e-5.

    With ``returns_floats``, an expected integer is a real number too. Two integers must always be equal. Large numbers
    may also differ by 1e-12 of the expected one.

    >>> json_close([0.3], [0.1 * 3]), json_close(1.16667, 7 / 6), json_close(10**18 + 1, 1e18), json_close(2.0, 2)
    (True, True, False, True)
    >>> json_close(41111.11111, 41111.0), json_close(2, 2.000001), json_close(2, 2.000001, returns_floats=True)
    (False, False, True)
    """
    return _match_values(expected, actual, _MatchRules(tolerance=FUNCTIONAL_TOLERANCE, match_integers=returns_floats))


def json_granted_tolerance(expected: object, actual: object, rules: ComparisonRules) -> bool:
    """Accept an equal JSON value, where numbers match as in ``granted_tolerance``, the name that verdicts use.

    >>> rules = ComparisonRules(tolerance=Tolerance(0, 1e-3), outputs=("[2000]",))
    >>> [json_granted_tolerance([2000], [answer], rules) for answer in (2000.5, 2001, 2000.0)]
    [True, False, True]
    """
    return _match_values(
        expected, actual, _MatchRules(tolerance=rules.tolerance, match_integers=True)
    ) and _keeps_integers(expected, actual, rules)


def json_granted_case(expected: object, actual: object, rules: ComparisonRules) -> bool:
    """Accept an equal JSON value, ignoring the case of ASCII letters in string values.

    Numbers match as without this checker. Named ``granted_case`` in verdicts.

    >>> rules = ComparisonRules()
    >>> json_granted_case(["Yes"], ["YES"], rules), json_granted_case({"a": 1}, {"A": 1}, rules)
    (True, False)
    """
    match_rules = _MatchRules(
        tolerance=rules.tolerance or FUNCTIONAL_TOLERANCE,
        match_integers=rules.returns_floats or rules.tolerance is not None,
        ignore_case=True,
    )
    return _match_values(expected, actual, match_rules) and _keeps_integers(expected, actual, rules)


def json_granted_order(
    expected: object, actual: object, granted: AnyOrder, tolerance: Tolerance = FUNCTIONAL_TOLERANCE
) -> bool:
    """Accept an equal JSON value, ignoring the order of the outermost list or, with ``deep``, of every list.

    Expected numbers that are not integers match within ``tolerance``. Named ``granted_order`` in verdicts.

    >>> json_granted_order([[1, 2], [3]], [[3], [1, 2]], AnyOrder(deep=False))
    True
    >>> [json_granted_order([[1, 2], [3]], [[3], [2, 1]], AnyOrder(deep)) for deep in (False, True)]
    [False, True]
    >>> json_granted_order([1, 1], [1], AnyOrder(deep=True))
    False
    """
    snap = _make_snapper(_collect_numbers(expected), tolerance)
    try:
        expected_text = _canonicalize(expected, True, granted.deep, _format_number)
        return expected_text == _canonicalize(actual, True, granted.deep, snap)
    except RecursionError:  # nested hundreds of levels deep: such values are only compared in order
        return False


def decode_pair(expected: str, actual: str) -> tuple[Any, Any] | None:
    """Decode both texts. Returns None if ``actual`` is not JSON, is padded, or has far more parts than ``expected``.

    Raises ValueError if ``expected`` is not JSON.
    """
    expected_value = decode_json(expected)
    # Decoding holds the interpreter lock, and 30 MB of empty lists take seconds.
    if is_padded(expected, actual) or _count_parts(actual) > 2 * _count_parts(expected) + _MAX_EXTRA_PARTS:
        return None
    try:
        return expected_value, decode_json(actual)
    except ValueError:
        return None


def _count_parts(text: str) -> int:
    """Return an upper bound of the number of values in a JSON text: of the characters that precede them."""
    return sum(map(text.count, ",:[{"))


def find_strategy(expected: object, actual: object, rules: ComparisonRules) -> str | None:
    """Return the name of the strictest strategy that accepts the value ``actual``; None if none does."""
    if json_equal(expected, actual):
        return json_equal.__name__
    if rules.tolerance is None and json_close(expected, actual, rules.returns_floats):
        return json_close.__name__
    if rules.tolerance is not None and json_granted_tolerance(expected, actual, rules):
        return granted_tolerance.__name__
    if isinstance(rules.checker, AnyCase) and json_granted_case(expected, actual, rules):
        return granted_case.__name__
    if isinstance(rules.checker, AnyOrder) and json_granted_order(
        expected, actual, rules.checker, rules.tolerance or FUNCTIONAL_TOLERANCE
    ):
        return granted_order.__name__
    return None


def find_python_strategy(expected: object, actual: object, rules: ComparisonRules) -> str | None:
    """Apply ``find_strategy`` to two Python values in tagged JSON, without what the problem grants."""
    if _match_values(expected, actual, _MatchRules(booleans_are_numbers=True)):
        return json_equal.__name__
    close_rules = _MatchRules(
        tolerance=FUNCTIONAL_TOLERANCE, match_integers=rules.returns_floats, booleans_are_numbers=True
    )
    if not rules.grants_anything and _match_values(expected, actual, close_rules):
        return json_close.__name__
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _MatchRules:
    """Rules for comparing values that are not containers.

    Attributes:
        tolerance: tolerance of expected fractions; None for exact comparison.
        match_integers: a fraction may also match an expected integer within the tolerance.
        ignore_case: ignore the case of ASCII letters in strings.
        booleans_are_numbers: compare booleans as the numbers 0 and 1, as Python does.
    """

    tolerance: Tolerance | None = None
    match_integers: bool = False
    ignore_case: bool = False
    booleans_are_numbers: bool = False


def _keeps_integers(expected: object, actual: object, rules: ComparisonRules) -> bool:
    """Return True if values that match within a tolerance are equal at the integer places of the problem."""
    rows = list_rows(expected)
    if rules.tolerance is None or rows is None:
        return True
    actual_rows = list_rows(actual) or []
    differing = [
        isinstance(left, int) and left != right
        for row, actual_row in zip(rows, actual_rows, strict=True)
        for left, right in zip(row, actual_row, strict=True)
    ]
    return not any(differing) or not any(rules.json_places.select(differing))


def _match_values(expected: object, actual: object, rules: _MatchRules) -> bool:
    # An explicit stack, not recursion: JSON may be nested nearly as deep as Python's stack, part of which is in use.
    pairs = [(expected, actual)]
    while pairs:
        expected_item, actual_item = pairs.pop()
        if isinstance(expected_item, list):
            if not isinstance(actual_item, list) or len(expected_item) != len(actual_item):
                return False
            pairs.extend(zip(expected_item, actual_item, strict=True))
        elif isinstance(expected_item, dict):
            if not isinstance(actual_item, dict) or expected_item.keys() != actual_item.keys():
                return False
            pairs.extend((expected_item[key], actual_item[key]) for key in expected_item)
        elif not _match_leaves(expected_item, actual_item, rules):
            return False
    return True


def _match_leaves(expected: object, actual: object, rules: _MatchRules) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual or (rules.booleans_are_numbers and expected == actual)
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return _match_numbers(expected, actual, rules)
    if rules.ignore_case and isinstance(expected, str) and isinstance(actual, str):
        return encode(expected).lower() == encode(actual).lower()
    return type(expected) is type(actual) and expected == actual


def _match_numbers(expected: float, actual: float, rules: _MatchRules) -> bool:
    both_nan = expected != expected and actual != actual
    if expected == actual or both_nan:  # also exact when comparing an int with a float
        return True
    if rules.tolerance is None or (isinstance(expected, int) and (not rules.match_integers or isinstance(actual, int))):
        return False
    try:
        return is_close(float(expected), float(actual), rules.tolerance)
    except OverflowError:  # an int beyond the range of float
        return False


def _collect_numbers(value: object) -> list[int | float]:
    """Return all numbers in a JSON value."""
    numbers: list[int | float] = []
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, int | float) and not isinstance(item, bool):
            numbers.append(item)
    return numbers


def _format_number(number: int | float) -> str:
    """Return a text that is equal for equal numbers, whether int or float."""
    return repr(int(number)) if isinstance(number, float) and number.is_integer() else repr(number)


def _make_snapper(numbers: list[int | float], tolerance: Tolerance) -> Callable[[int | float], str]:
    """Return a function like ``_format_number`` that first snaps a number to the expected fraction it matches.

    A number that is not one of ``numbers`` is replaced by the nearest fraction among them within the tolerance. See
    ``_match_line_multisets`` in ``text.py`` for the matches this can miss.
    """
    known = set(map(_format_number, numbers))
    fractions = sorted(number for number in numbers if isinstance(number, float) and math.isfinite(number))

    def snap(number: int | float) -> str:
        formatted = _format_number(number)
        if formatted in known:
            return formatted
        try:
            nearest = find_nearest_close(fractions, float(number), tolerance)
        except OverflowError:  # an int beyond the range of float
            return formatted
        return formatted if nearest is None else _format_number(nearest)

    return snap


def _canonicalize(value: object, ignore_order: bool, deep: bool, format_number: Callable[[int | float], str]) -> str:
    """Return a text that is equal for values that differ only in the order of lists.

    Raises RecursionError for a value nested nearly as deep as Python's stack.

    Args:
        value: decoded JSON value.
        ignore_order: ignore the order of ``value`` itself, if it is a list.
        deep: ignore the order of the lists inside ``value``.
        format_number: function that formats numbers.
    """
    if isinstance(value, list):
        parts = [_canonicalize(item, deep, deep, format_number) for item in value]
        return f"[{','.join(sorted(parts) if ignore_order else parts)}]"
    if isinstance(value, dict):
        entries = (f"{key!r}:{_canonicalize(item, deep, deep, format_number)}" for key, item in value.items())
        return f"{{{','.join(sorted(entries))}}}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_number(value)
    return repr(value)  # quoted text, True, False, None or LongInteger: unambiguous between these types
