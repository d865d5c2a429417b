"""Strategies for results of functions, which are decoded JSON values, from the strictest to the loosest.

The ``json_granted_*`` strategies apply only if the problem has such a checker; verdicts name them ``granted_*``, as the
ones for texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evaluator.checker import AnyCase, AnyOrder, Checker, Tolerance
from evaluator.comparison.text import encode, granted_case, granted_order, granted_tolerance, is_padded
from evaluator.comparison.tolerance import FUNCTIONAL_TOLERANCE, STDIN_TOLERANCE, is_close, nearest_close


def json_equal(expected: object, actual: object) -> bool:
    """The same JSON value; true is not 1, "12" is not 12, and numbers are equal only exactly.

    >>> json_equal([1, "a", None], [1, "a", None]), json_equal(1, True), json_equal(12, "12"), json_equal(0.3, 0.1 * 3)
    (True, False, False, False)
    >>> json_equal(2, 2.0), json_equal(10**18 + 1, 1e18)
    (True, False)
    """
    return _same_value(expected, actual, _Rules())


def json_close(expected: object, actual: object) -> bool:
    """The same JSON value, where an expected number that is not an integer is met within 1e-5.

    >>> json_close([0.3], [0.1 * 3]), json_close(1.16667, 7 / 6), json_close(10**18 + 1, 1e18), json_close(2.0, 2)
    (True, True, False, True)
    """
    return _same_value(expected, actual, _Rules(tolerance=FUNCTIONAL_TOLERANCE))


def json_granted_tolerance(expected: object, actual: object, granted: Tolerance) -> bool:
    """The same JSON value, where numbers are met as in ``granted_tolerance``, under whose name it goes.

    >>> [json_granted_tolerance([2000], [answer], Tolerance(0, 1e-3)) for answer in (2000.5, 2001, 2000.0)]
    [True, False, True]
    """
    return _same_value(expected, actual, _Rules(tolerance=granted, integers=True))


def json_granted_case(expected: object, actual: object) -> bool:
    """The same JSON value but for the case of ASCII letters in strings that are values; goes as ``granted_case``.

    >>> json_granted_case(["Yes"], ["YES"]), json_granted_case({"a": 1}, {"A": 1})
    (True, False)
    """
    return _same_value(expected, actual, _Rules(tolerance=FUNCTIONAL_TOLERANCE, any_case=True))


def json_granted_order(expected: object, actual: object, granted: AnyOrder) -> bool:
    """The same JSON value but for the order of the outermost list, or with ``deep`` of every list.

    Numbers are met as in ``json_close``; it goes as ``granted_order``.

    >>> json_granted_order([[1, 2], [3]], [[3], [1, 2]], AnyOrder(deep=False))
    True
    >>> [json_granted_order([[1, 2], [3]], [[3], [2, 1]], AnyOrder(deep)) for deep in (False, True)]
    [False, True]
    >>> json_granted_order([1, 1], [1], AnyOrder(deep=True))
    False
    """
    snap = _snapper(_numbers(expected), FUNCTIONAL_TOLERANCE)
    try:
        return _canonical(expected, True, granted.deep, _plain) == _canonical(actual, True, granted.deep, snap)
    except RecursionError:  # nested hundreds deep: compared in order only
        return False


def decode_pair(expected: str, actual: str) -> tuple[Any, Any] | None:
    """Decode both texts; None if ``actual`` is not JSON or is padded. Raises ValueError if ``expected`` is not JSON."""
    wanted = decode(expected)
    if is_padded(expected, actual):
        return None
    try:
        return wanted, decode(actual)
    except ValueError:
        return None


def find_strategy(expected: object, actual: object, checker: Checker | None) -> str | None:
    """Name of the strictest strategy that accepts the value ``actual``, None if none does."""
    if json_equal(expected, actual):
        return json_equal.__name__
    if not isinstance(checker, Tolerance) and json_close(expected, actual):
        return json_close.__name__
    if isinstance(checker, Tolerance) and json_granted_tolerance(expected, actual, checker):
        return granted_tolerance.__name__
    if isinstance(checker, AnyCase) and json_granted_case(expected, actual):
        return granted_case.__name__
    if isinstance(checker, AnyOrder) and json_granted_order(expected, actual, checker):
        return granted_order.__name__
    return None


def find_python_strategy(expected: object, actual: object, checker: Checker | None) -> str | None:
    """Like ``find_strategy`` for two Python values in tagged JSON, without the strategies of checkers."""
    if _same_value(expected, actual, _Rules(booleans=True)):
        return json_equal.__name__
    if checker is None and _same_value(expected, actual, _Rules(tolerance=STDIN_TOLERANCE, booleans=True)):
        return json_close.__name__
    return None


@dataclass(frozen=True)
class _LongInteger:
    """An integer of more digits than int() reads; equal only to itself."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rules:
    """How leaves are compared: fractions within ``tolerance`` (None: exactly), with ``integers`` also an expected
    integer by a fraction; with ``any_case`` strings but for the case of ASCII letters; with ``booleans`` a boolean is
    the number that it is in Python."""

    tolerance: Tolerance | None = None
    integers: bool = False
    any_case: bool = False
    booleans: bool = False


def decode(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, also when it is nested deeper than Python reads."""
    try:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer that is too long for int()
            return json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(text: str) -> int | _LongInteger:
    try:
        return int(text)
    except ValueError:
        return _LongInteger(text)


def _same_value(expected: object, actual: object, rules: _Rules) -> bool:
    # A stack, not recursion: JSON may be nested nearly as deep as Python's own stack, on which the caller stands.
    pairs = [(expected, actual)]
    while pairs:
        wanted, given = pairs.pop()
        if isinstance(wanted, list):
            if not isinstance(given, list) or len(wanted) != len(given):
                return False
            pairs.extend(zip(wanted, given, strict=True))
        elif isinstance(wanted, dict):
            if not isinstance(given, dict) or wanted.keys() != given.keys():
                return False
            pairs.extend((wanted[key], given[key]) for key in wanted)
        elif not _same_leaf(wanted, given, rules):
            return False
    return True


def _same_leaf(expected: object, actual: object, rules: _Rules) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual or (rules.booleans and expected == actual)
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return _same_number(expected, actual, rules)
    if rules.any_case and isinstance(expected, str) and isinstance(actual, str):
        return encode(expected).lower() == encode(actual).lower()
    return type(expected) is type(actual) and expected == actual


def _same_number(expected: float, actual: float, rules: _Rules) -> bool:
    both_nan = expected != expected and actual != actual
    if expected == actual or both_nan:  # exact also between int and float
        return True
    if rules.tolerance is None or (isinstance(expected, int) and (not rules.integers or isinstance(actual, int))):
        return False
    try:
        return is_close(float(expected), float(actual), rules.tolerance)
    except OverflowError:  # an int beyond the range of float
        return False


def _numbers(value: object) -> list[int | float]:
    """All numbers in a JSON value."""
    found: list[int | float] = []
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, int | float) and not isinstance(item, bool):
            found.append(item)
    return found


def _plain(number: int | float) -> str:
    """A text that is the same for equal numbers, whether int or float."""
    return repr(int(number)) if isinstance(number, float) and number.is_integer() else repr(number)


def _snapper(numbers: list[int | float], tolerance: Tolerance) -> Callable[[int | float], str]:
    """``_plain``, but with a number that is none of ``numbers`` replaced by the nearest fraction among them that it
    meets (see ``_same_line_multiset`` for what that can miss)."""
    known = set(map(_plain, numbers))
    fractions = sorted(number for number in numbers if isinstance(number, float) and math.isfinite(number))

    def snap(number: int | float) -> str:
        plain = _plain(number)
        if plain in known:
            return plain
        try:
            nearest = nearest_close(fractions, float(number), tolerance)
        except OverflowError:  # an int beyond the range of float
            return plain
        return plain if nearest is None else _plain(nearest)

    return snap


def _canonical(value: object, outer: bool, deep: bool, number: Callable[[int | float], str]) -> str:
    """A text that is the same for values that differ only in the order of this list (``outer``) or of those in it
    (``deep``). Raises RecursionError for a value that is nested nearly as deep as Python's stack.
    """
    if isinstance(value, list):
        parts = [_canonical(item, deep, deep, number) for item in value]
        return f"[{','.join(sorted(parts) if outer else parts)}]"
    if isinstance(value, dict):
        return (
            f"{{{','.join(sorted(f'{key!r}:{_canonical(item, deep, deep, number)}' for key, item in value.items()))}}}"
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return repr(value)  # quoted, True, False, None or _LongInteger: none of them looks like another kind
