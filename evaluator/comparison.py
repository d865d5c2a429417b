"""Whether an answer equals the expected one: named strategies, tried from the strictest to the loosest.

A strategy says yes or no; the name of the first that says yes goes into the verdict. Falling strategies are the idea of
arXiv 2603.07777 (MicroCoder-GRPO), evaluator section; its order-blind ones are left out, because they pass wrong
programs. None of these functions runs or trusts anything of the candidate's: they see text only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

STDIN_TOLERANCE = 1e-6  # absolute or relative, where the expected token is a number but not an integer
FUNCTIONAL_TOLERANCE = 1e-5  # LeetCode's; its expected values are themselves rounded to five digits

_INTEGER = re.compile(rb"[+-]?[0-9]+")
# ASCII digits only, no underscores, no nan or inf: float() alone would take them all.
_NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def exact(expected: str, actual: str) -> bool:
    """The same characters.

    >>> exact("3\\n", "3\\n"), exact("3\\n", "3")
    (True, False)
    """
    return expected == actual


def trailing_whitespace(expected: str, actual: str) -> bool:
    """The same lines, but for blanks at line ends and for blank lines at the end.

    >>> trailing_whitespace("1 2\\n", "1 2  \\r\\n\\n"), trailing_whitespace("1\\n2\\n", "1\\n\\n2\\n")
    (True, False)
    """
    return _stripped_lines(expected) == _stripped_lines(actual)


def blank_lines(expected: str, actual: str) -> bool:
    """The same lines once blank lines and surrounding blanks are dropped.

    >>> blank_lines("1\\n2\\n", "\\n 1\\n\\n2"), blank_lines("1\\n2\\n", "1 2\\n")
    (True, False)
    """
    wanted = [line.strip() for line in _stripped_lines(expected) if line.strip()]
    return wanted == [line.strip() for line in _stripped_lines(actual) if line.strip()]


def tokens(expected: str, actual: str) -> bool:
    """The same tokens between white space, in the same order: what contest judges compare.

    >>> tokens("1 2\\n3\\n", "1\\t2 3"), tokens("007", "7"), tokens("Yes", "YES")
    (True, False, False)
    """
    return _tokens(expected) == _tokens(actual)


def numeric(expected: str, actual: str) -> bool:
    """The same tokens, where an expected token that is a number but no integer is met within 1e-6.

    >>> numeric("0.3333333333", "0.33333333333"), numeric("0.5", ".5"), numeric("area 2.0", "area 2")
    (True, True, True)
    >>> numeric("1000000", "1000000.0"), numeric("1.5", "nan"), numeric("1.5", "1,5")
    (False, False, False)
    """
    wanted, given = _tokens(expected), _tokens(actual)
    return len(wanted) == len(given) and all(map(_same_number_or_token, wanted, given))


STDIN_STRATEGIES: tuple[Callable[[str, str], bool], ...] = (exact, trailing_whitespace, blank_lines, tokens, numeric)


def compare_stdin(expected: str, actual: str) -> str | None:
    """Name of the strictest strategy that accepts ``actual``, None if none does.

    >>> compare_stdin("3\\n", "3"), compare_stdin("3\\n", "4")
    ('trailing_whitespace', None)
    """
    return next((strategy.__name__ for strategy in STDIN_STRATEGIES if strategy(expected, actual)), None)


def json_equal(expected: object, actual: object) -> bool:
    """The same JSON value; true is not 1, "12" is not 12, and numbers are equal only exactly.

    >>> json_equal([1, "a", None], [1, "a", None]), json_equal(1, True), json_equal(12, "12"), json_equal(0.3, 0.1 * 3)
    (True, False, False, False)
    """
    return _same_value(expected, actual, 0.0)


def json_close(expected: object, actual: object) -> bool:
    """The same JSON value, where an expected number that is not an integer is met within 1e-5.

    >>> json_close([0.3], [0.1 * 3]), json_close(1.16667, 7 / 6), json_close(10**18 + 1, 1e18), json_close(2.0, 2)
    (True, True, False, True)
    """
    return _same_value(expected, actual, FUNCTIONAL_TOLERANCE)


FUNCTIONAL_STRATEGIES: tuple[Callable[[object, object], bool], ...] = (json_equal, json_close)


def compare_functional(expected: str, actual: str) -> str | None:
    """Like ``compare_stdin`` for two JSON texts. Raises ValueError when ``expected`` is not JSON.

    >>> compare_functional("[0.3]", "[0.30000000000000004]"), compare_functional("1", "true")
    ('json_close', None)
    """
    wanted = json.loads(expected)
    try:
        given = json.loads(actual)
        return next((strategy.__name__ for strategy in FUNCTIONAL_STRATEGIES if strategy(wanted, given)), None)
    except (ValueError, RecursionError):  # a result nested or long beyond what Python reads is not the expected one
        return None


def loosest(names: list[str]) -> str | None:
    """The loosest of some strategies' names (all of one kind of problem), None of none.

    >>> loosest(["exact", "tokens", "exact"])
    'tokens'
    """
    order = [strategy.__name__ for strategy in (*STDIN_STRATEGIES, *FUNCTIONAL_STRATEGIES)]
    return max(names, key=order.index, default=None)


def _stripped_lines(text: str) -> list[str]:
    # Not splitlines(): it also splits at form feeds and other characters that are no line ends to a judge.
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _tokens(text: str) -> list[bytes]:
    # Split as bytes: only ASCII white space separates tokens, whatever else str.split() would take for a blank.
    return text.encode("utf-8", "surrogateescape").split()


def _same_number_or_token(expected: bytes, actual: bytes) -> bool:
    if expected == actual:
        return True
    if _INTEGER.fullmatch(expected) or not _NUMBER.fullmatch(expected) or not _NUMBER.fullmatch(actual):
        return False
    return _close(float(expected), float(actual), STDIN_TOLERANCE)


def _close(expected: float, actual: float, tolerance: float) -> bool:
    # isclose() alone would be relative to the larger of the two, and so be met by an endless actual value.
    return math.isfinite(actual) and abs(expected - actual) <= tolerance * max(1.0, abs(expected))


def _same_value(expected: object, actual: object, tolerance: float) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool):
        return isinstance(expected, bool) and isinstance(actual, bool) and expected == actual
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return _same_json_number(expected, actual, tolerance)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(
            _same_value(left, right, tolerance) for left, right in zip(expected, actual, strict=True)
        )
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(
            _same_value(expected[key], actual[key], tolerance) for key in expected
        )
    return type(expected) is type(actual) and expected == actual


def _same_json_number(expected: float, actual: float, tolerance: float) -> bool:
    if expected == actual:  # exact also between int and float, however large
        return True
    if isinstance(expected, int) or tolerance == 0.0:
        return False
    try:
        return _close(expected, float(actual), tolerance)
    except OverflowError:  # an int beyond the range of float
        return False
