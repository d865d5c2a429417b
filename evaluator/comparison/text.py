"""Comparison strategies for standard output, from the strictest to the loosest.

Each strategy accepts whatever the one before it accepts. The ``granted_*`` strategies apply only if the problem has
such a checker.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial

from evaluator.checker import AnyCase, AnyOrder, Tolerance
from evaluator.comparison.numbers import (
    INTEGER,
    has_signed_exponent,
    normalize_decimal,
    parse_fraction,
    parse_number,
)
from evaluator.comparison.rules import ComparisonRules
from evaluator.comparison.splitting import (
    BLANK_LINES,
    BLANKS,
    split_first_tokens,
    split_token_lines,
    split_tokens,
)
from evaluator.comparison.tolerance import find_nearest_close, is_number_close, is_same_number
from evaluator.json_text import BYTE_ORDER_MARK

# Maximum length of a JSON answer relative to the expected text (0.30000000000000004 for 0.3, \u00e9 for é).
_MAX_LENGTH_FACTOR = 32
_MAX_EXTRA_LENGTH = 4096


def exact(expected: str, actual: str) -> bool:
    """Accept an identical text.

    >>> exact("3\\n", "3\\n"), exact("3\\n", "3")
    (True, False)
    """
    return expected == actual


def trailing_whitespace(expected: str, actual: str) -> bool:
    """Accept identical lines, ignoring blanks at line ends and blank lines at the end.

    >>> trailing_whitespace("1 2\\n", "1 2  \\r\\n\\n"), trailing_whitespace("1\\n2\\n", "1\\n\\n2\\n")
    (True, False)
    """
    expected, actual = expected.rstrip(BLANKS), actual.rstrip(BLANKS)
    # Compare the line counts first: splitting at 64 million newlines would take half a gigabyte.
    return expected == actual or (
        expected.count("\n") == actual.count("\n")
        and [line.rstrip(BLANKS) for line in expected.split("\n")]
        == [line.rstrip(BLANKS) for line in actual.split("\n")]
    )


def blank_lines(expected: str, actual: str) -> bool:
    """Accept identical lines, ignoring blank lines and blanks around lines.

    >>> blank_lines("1\\n2\\n", "\\n 1\\n\\n2"), blank_lines("1\\n2\\n", "1 2\\n")
    (True, False)
    """
    expected, actual = (BLANK_LINES.sub("\n", text.strip(BLANKS)) for text in (expected, actual))
    return expected.count("\n") == actual.count("\n") and (
        [line.strip(BLANKS) for line in expected.split("\n")] == [line.strip(BLANKS) for line in actual.split("\n")]
    )


def tokens(expected: str, actual: str) -> bool:
    """Accept identical tokens between white space in the same order, as contest judges do.

    Tokens are compared as bytes: 007 is not 7, +3 is not 3, -0 is not 0; a NUL, a colour code or a byte order mark is
    part of a token.

    >>> tokens("1 2\\n3\\n", "1\\t2 3"), tokens("007", "7"), tokens("Yes", "YES"), tokens("3", "\\x1b[1m3\\x1b[0m")
    (True, False, False, False)
    """
    expected_tokens = split_tokens(expected)
    return expected_tokens == split_first_tokens(actual, len(expected_tokens))


def numeric(expected: str, actual: str) -> bool:
    """Accept identical tokens, except for the form of a number that no statement asks for.

    These are the sign of a zero with a point, and any form of a number that is expected with a signed exponent, as
    programs print very large and small ones. 12.300 is not 12.3: without a granted tolerance the statement may ask for
    one of them.

    >>> numeric("0.000", "-0.000"), numeric("1e+20", "100000000000000000000"), numeric("1e-07", "0.0000001")
    (True, True, True)
    >>> numeric("0", "-0"), numeric("12.3", "12.300"), numeric("1000", "1e+03"), numeric("0e1", "0e5")
    (False, False, False, False)
    """
    expected_tokens = split_tokens(expected)
    return match_tokens(expected_tokens, split_first_tokens(actual, len(expected_tokens)), is_same_number)


def granted_tolerance(expected: str, actual: str, rules: ComparisonRules) -> bool:
    """Accept identical tokens, where a number matches within the granted tolerance.

    Two integers must be equal. An integer and a fraction match within the tolerance, except at a place at which every
    test expects an integer, while tests expect fractions at other places.

    >>> from evaluator.comparison.rules import ComparisonRules
    >>> rules = ComparisonRules(tolerance=Tolerance(1e-3, 0), outputs=("2", "3"))
    >>> [granted_tolerance("2", answer, rules) for answer in ("2.0001", "2.01", "3")]
    [True, False, False]
    >>> granted_tolerance("2 0.5", "2.0 0.5", ComparisonRules(tolerance=Tolerance(1e-3, 0), outputs=("2 0.5", "3 0.1")))
    False
    """
    expected_tokens = split_tokens(expected)
    return _match_granted(expected_tokens, split_first_tokens(actual, len(expected_tokens)), rules)


def granted_case(expected: str, actual: str, rules: ComparisonRules) -> bool:
    """Accept identical tokens, ignoring the case of ASCII letters. Numbers match as without this checker.

    >>> from evaluator.comparison.rules import DEFAULT_RULES
    >>> granted_case("YES 0.5", "yEs 0.5", DEFAULT_RULES), granted_case("YES", "Y ES", DEFAULT_RULES)
    (True, False)
    """
    expected_tokens = split_tokens(expected)
    actual_tokens = split_first_tokens(actual, len(expected_tokens))
    return _match_granted([t.lower() for t in expected_tokens], [t.lower() for t in actual_tokens], rules)


def granted_order(expected: str, actual: str, granted: AnyOrder, tolerance: Tolerance | None = None) -> bool:
    """Accept the same multiset of lines in any order. With ``deep``, the tokens of a line may be in any order too.

    If the expected output is one line, or has one token per line, it is compared as a list of tokens, and the line
    structure of the answer is ignored. Numbers match within ``tolerance``, or as in ``numeric``.

    >>> granted_order("1 2\\n3 4\\n", "3 4\\n1 2", AnyOrder(deep=False))
    True
    >>> [granted_order("1 2\\n3 4\\n", "4 3\\n1 2", AnyOrder(deep)) for deep in (False, True)]
    [False, True]
    >>> granted_order("1 2 3", "3\\n1\\n2", AnyOrder(False)), granted_order("1 1 2", "2 1", AnyOrder(True))
    (True, False)
    >>> granted_order("0.5 7", "7 0.4999999", AnyOrder(False), Tolerance(1e-6, 0))
    True
    """
    expected_tokens = split_tokens(expected)
    actual_tokens = split_first_tokens(actual, len(expected_tokens))
    if len(expected_tokens) != len(actual_tokens):
        return False
    lines = split_token_lines(expected)
    if len(lines) in (1, len(expected_tokens)):  # one token per line
        return _match_line_multisets(zip(expected_tokens), zip(actual_tokens), granted.deep, tolerance)
    return _match_line_multisets(lines, split_token_lines(actual), granted.deep, tolerance)


def find_strategy(expected: str, actual: str, rules: ComparisonRules) -> str | None:
    """Return the name of the strictest strategy that accepts the text ``actual``; None if none does.

    A byte order mark at the start of the expected text comes from its file, so answers need not print it.
    """
    if expected.startswith(BYTE_ORDER_MARK) and not actual.startswith(BYTE_ORDER_MARK):
        accepted_by = find_strategy(expected.removeprefix(BYTE_ORDER_MARK), actual, rules)
        if accepted_by is not None:
            return accepted_by
    if expected == actual:
        return exact.__name__
    if expected.rstrip(BLANKS) == actual.rstrip(BLANKS):
        return trailing_whitespace.__name__
    # Each strategy accepts whatever the stricter ones accept, so comparing the tokens once decides which ones to try.
    expected_tokens = split_tokens(expected)
    actual_tokens = split_first_tokens(actual, len(expected_tokens))
    if expected_tokens == actual_tokens:
        return next((s.__name__ for s in (trailing_whitespace, blank_lines) if s(expected, actual)), tokens.__name__)
    if rules.tolerance is None and match_tokens(expected_tokens, actual_tokens, is_same_number):
        return numeric.__name__
    if rules.tolerance is not None and _match_granted(expected_tokens, actual_tokens, rules):
        return granted_tolerance.__name__
    if isinstance(rules.checker, AnyCase) and granted_case(expected, actual, rules):
        return granted_case.__name__
    if isinstance(rules.checker, AnyOrder) and granted_order(expected, actual, rules.checker, rules.tolerance):
        return granted_order.__name__
    return None


def is_padded(expected: str, actual: str) -> bool:
    """Return True if ``actual`` is far longer than any representation of the expected value."""
    return len(actual) > _MAX_LENGTH_FACTOR * len(expected) + _MAX_EXTRA_LENGTH


def match_tokens(expected: list[bytes], actual: list[bytes], is_close: Callable[[bytes, bytes], bool]) -> bool:
    """Return True if the lists have the same length and each pair of tokens is equal or accepted by ``is_close``."""
    return len(expected) == len(actual) and all(
        left == right or is_close(left, right) for left, right in zip(expected, actual, strict=True)
    )


def _match_granted(expected: list[bytes], actual: list[bytes], rules: ComparisonRules) -> bool:
    """Return True if the tokens match by the problem's rules for numbers."""
    if rules.tolerance is None:
        return match_tokens(expected, actual, is_same_number)
    if not match_tokens(expected, actual, partial(is_number_close, tolerance=rules.tolerance)):
        return False
    differing = [
        left != right and _is_integer_only_in_first(left, right) for left, right in zip(expected, actual, strict=True)
    ]
    return not any(differing) or not any(rules.text_places.select(differing))


def _is_integer_only_in_first(expected: bytes, actual: bytes) -> bool:
    return INTEGER.fullmatch(expected) is not None and INTEGER.fullmatch(actual) is None


def _match_line_multisets(
    expected: Iterable[Collection[bytes]], actual: Iterable[Collection[bytes]], deep: bool, tolerance: Tolerance | None
) -> bool:
    """Return True if both multisets of lines are equal, where numbers match within ``tolerance`` or as in ``numeric``.

    Lines without an exact partner are compared again after each number of the answer is replaced by the expected
    number that it matches, the nearest one within the tolerance. Every accepted answer therefore has a valid pairing of
    lines. A valid pairing can be missed only if expected numbers are nearly as close to each other as the tolerance.
    """
    expected_counts, actual_counts = (
        Counter(tuple(sorted(line)) if deep else tuple(line) for line in lines) for lines in (expected, actual)
    )
    missing = expected_counts - actual_counts
    surplus = actual_counts - expected_counts
    if not missing:
        return True
    missing_tokens = {token for line in missing for token in line}
    canonicalize = (
        _make_same_number_map(missing_tokens) if tolerance is None else _make_snapper(missing_tokens, tolerance)
    )

    def canonicalize_lines(lines: Counter[tuple[bytes, ...]]) -> Counter[tuple[bytes, ...]]:
        counts: Counter[tuple[bytes, ...]] = Counter()
        for line, count in lines.items():
            new_line = list(map(canonicalize, line))
            counts[tuple(sorted(new_line) if deep else new_line)] += count
        return counts

    return canonicalize_lines(missing) == canonicalize_lines(surplus)


def _make_same_number_map(expected: set[bytes]) -> Callable[[bytes], bytes]:
    """Return a function that gives the same token for tokens that ``is_same_number`` accepts for each other."""
    exponents = {
        number: token for token in expected if has_signed_exponent(token) and (number := normalize_decimal(token))
    }

    def canonicalize(token: bytes) -> bytes:
        if token.startswith(b"-") and is_same_number(token[1:], token):
            return token[1:]
        number = normalize_decimal(token) if exponents else None
        return token if number is None else exponents.get(number, token)

    return canonicalize


def _make_snapper(expected: set[bytes], tolerance: Tolerance) -> Callable[[bytes], bytes]:
    """Return a function that maps a token to the expected number it matches within ``tolerance``, if any.

    Integers only match fractions.
    """
    values = {token: value for token in expected if (value := parse_number(token)) is not None and math.isfinite(value)}
    integers = {value: token for token, value in values.items() if INTEGER.fullmatch(token)}
    fractions = {
        value: repr(value + 0.0).encode() for token, value in values.items() if parse_fraction(token) is not None
    }
    numbers = integers | fractions
    sorted_fractions = sorted(fractions)
    sorted_numbers = sorted(numbers)

    def snap(token: bytes) -> bytes:
        if token in expected:
            value = None if INTEGER.fullmatch(token) else values.get(token)
        else:
            targets = sorted_fractions if INTEGER.fullmatch(token) else sorted_numbers
            value = find_nearest_close(targets, parse_number(token), tolerance)
        return token if value is None else numbers.get(value, token)

    return snap
