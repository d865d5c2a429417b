"""Comparison strategies for standard output, from the strictest to the loosest, and splitting into lines and tokens.

Each strategy accepts whatever the one before it accepts. The ``granted_*`` strategies apply only if the problem has
such a checker.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from evaluator.checker import AnyCase, AnyOrder, Checker, Tolerance
from evaluator.comparison.numbers import parse_fraction, parse_number
from evaluator.comparison.tolerance import STDIN_TOLERANCE, find_nearest_close, is_fraction_close, is_number_close

# ASCII white space only: str.split() also splits at characters that contest judges treat as part of a token.
_BLANKS = " \t\n\r\v\f"
_BLANK_LINES = re.compile(r"\n[ \t\n\r\v\f]*\n")
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
    expected, actual = expected.rstrip(_BLANKS), actual.rstrip(_BLANKS)
    # Compare the line counts first: splitting at 64 million newlines would take half a gigabyte.
    return expected == actual or (
        expected.count("\n") == actual.count("\n")
        and [line.rstrip(_BLANKS) for line in expected.split("\n")]
        == [line.rstrip(_BLANKS) for line in actual.split("\n")]
    )


def blank_lines(expected: str, actual: str) -> bool:
    """Accept identical lines, ignoring blank lines and blanks around lines.

    >>> blank_lines("1\\n2\\n", "\\n 1\\n\\n2"), blank_lines("1\\n2\\n", "1 2\\n")
    (True, False)
    """
    expected, actual = (_BLANK_LINES.sub("\n", text.strip(_BLANKS)) for text in (expected, actual))
    return expected.count("\n") == actual.count("\n") and (
        [line.strip(_BLANKS) for line in expected.split("\n")] == [line.strip(_BLANKS) for line in actual.split("\n")]
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
    """Accept identical tokens, where an expected fraction matches within 1e-6, absolute or relative.

    A fraction is a decimal number with a point, or with an exponent that has a sign, as programs print it: 2.0, .5,
    1e-07. Integers of any length and words such as 1e5 are not fractions. Any decimal number of the answer may match a
    fraction.

    >>> numeric("0.3333333333", "0.33333333333"), numeric("0.5", ".5"), numeric("area 2.0", "area 2")
    (True, True, True)
    >>> numeric("1000000", "1000000.0"), numeric("1.5", "nan"), numeric("1.5", "1,5"), numeric("0e1", "0e5")
    (False, False, False, False)
    """
    expected_tokens = split_tokens(expected)
    return match_tokens(expected_tokens, split_first_tokens(actual, len(expected_tokens)), is_fraction_close)


def granted_tolerance(expected: str, actual: str, granted: Tolerance) -> bool:
    """Accept identical tokens, where a number matches within the checker's tolerance instead of that of ``numeric``.

    A fraction may also match an expected integer within the tolerance; an integer must be equal to it.

    >>> granted_tolerance("2", "2.0001", Tolerance(1e-3, 0)), granted_tolerance("2", "2.01", Tolerance(1e-3, 0))
    (True, False)
    >>> granted_tolerance("1000000", "1000001", Tolerance(0, 1e-3)), granted_tolerance("3", "+3", Tolerance(0, 0))
    (False, True)
    """
    expected_tokens = split_tokens(expected)
    actual_tokens = split_first_tokens(actual, len(expected_tokens))
    return match_tokens(expected_tokens, actual_tokens, lambda left, right: is_number_close(left, right, granted))


def granted_case(expected: str, actual: str) -> bool:
    """Accept identical tokens, ignoring the case of ASCII letters. Fractions match as in ``numeric``.

    >>> granted_case("YES 0.5", "yEs .5"), granted_case("YES", "Y ES")
    (True, False)
    """
    expected_tokens = split_tokens(expected)
    return match_tokens(
        expected_tokens,
        split_first_tokens(actual, len(expected_tokens)),
        lambda left, right: left.lower() == right.lower() or is_fraction_close(left, right),
    )


def granted_order(expected: str, actual: str, granted: AnyOrder) -> bool:
    """Accept the same multiset of lines in any order. With ``deep``, the tokens of a line may be in any order too.

    If the expected output is one line, or has one token per line, it is compared as a list of tokens, and the line
    structure of the answer is ignored. Fractions match as in ``numeric``.

    >>> granted_order("1 2\\n3 4\\n", "3 4\\n1 2", AnyOrder(deep=False))
    True
    >>> [granted_order("1 2\\n3 4\\n", "4 3\\n1 2", AnyOrder(deep)) for deep in (False, True)]
    [False, True]
    >>> granted_order("1 2 3", "3\\n1\\n2", AnyOrder(False)), granted_order("1 1 2", "2 1", AnyOrder(True))
    (True, False)
    >>> granted_order("0.5 7", "7 0.4999999", AnyOrder(False))
    True
    """
    expected_tokens = split_tokens(expected)
    actual_tokens = split_first_tokens(actual, len(expected_tokens))
    if len(expected_tokens) != len(actual_tokens):
        return False
    lines = _split_token_lines(expected)
    if len(lines) in (1, len(expected_tokens)):
        return _match_line_multisets(zip(expected_tokens), zip(actual_tokens), granted.deep)  # one token per line
    return _match_line_multisets(lines, _split_token_lines(actual), granted.deep)


def find_strategy(expected: str, actual: str, checker: Checker | None) -> str | None:
    """Return the name of the strictest strategy that accepts the text ``actual``; None if none does."""
    if expected == actual:
        return exact.__name__
    if expected.rstrip(_BLANKS) == actual.rstrip(_BLANKS):
        return trailing_whitespace.__name__
    # Each strategy accepts whatever the stricter ones accept, so comparing the tokens once decides which ones to try.
    expected_tokens = split_tokens(expected)
    actual_tokens = split_first_tokens(actual, len(expected_tokens))
    if expected_tokens == actual_tokens:
        return next((s.__name__ for s in (trailing_whitespace, blank_lines) if s(expected, actual)), tokens.__name__)
    if not isinstance(checker, Tolerance) and match_tokens(expected_tokens, actual_tokens, is_fraction_close):
        return numeric.__name__
    if isinstance(checker, Tolerance) and granted_tolerance(expected, actual, checker):
        return granted_tolerance.__name__
    if isinstance(checker, AnyCase) and granted_case(expected, actual):
        return granted_case.__name__
    if isinstance(checker, AnyOrder) and granted_order(expected, actual, checker):
        return granted_order.__name__
    return None


def is_padded(expected: str, actual: str) -> bool:
    """Return True if ``actual`` is far longer than any representation of the expected value."""
    return len(actual) > _MAX_LENGTH_FACTOR * len(expected) + _MAX_EXTRA_LENGTH


def encode(text: str) -> bytes:
    """Encode a text to bytes, including lone surrogates. Different texts give different bytes."""
    return text.encode("utf-8", "surrogatepass")


def split_tokens(text: str) -> list[bytes]:
    """Split a text at ASCII white space into tokens of bytes."""
    return encode(text).split()


def split_first_tokens(text: str, limit: int) -> list[bytes]:
    """Split off at most ``limit`` tokens; if there are more, the rest of the text is one last element.

    The limit bounds the memory: a flood of short tokens would take about twenty times its size.
    """
    return encode(text).split(None, limit)


def split_bare_tokens(text: str) -> list[bytes]:
    """Split a text into tokens, with brackets, commas and quotes treated as white space."""
    return encode(text).translate(bytes.maketrans(b"[](){},'\"", b" " * 9)).split()


def split_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank."""
    return _BLANK_LINES.sub("\n", text.strip(_BLANKS)).split("\n")


def _split_token_lines(text: str) -> list[list[bytes]]:
    return [line for line in map(split_tokens, split_lines(text)) if line]


def match_tokens(expected: list[bytes], actual: list[bytes], is_close: Callable[[bytes, bytes], bool]) -> bool:
    """Return True if the lists have the same length and each pair of tokens is equal or accepted by ``is_close``."""
    return len(expected) == len(actual) and all(
        left == right or is_close(left, right) for left, right in zip(expected, actual, strict=True)
    )


def _match_line_multisets(
    expected: Iterable[Collection[bytes]], actual: Iterable[Collection[bytes]], deep: bool
) -> bool:
    """Return True if both multisets of lines are equal, where fractions match within the tolerance of ``numeric``.

    Lines without an exact partner are compared again after each number of the answer is replaced by the nearest
    expected fraction within the tolerance. Every accepted answer therefore has a valid pairing of lines. A valid
    pairing can be missed only if expected fractions are nearly as close to each other as the tolerance.
    """
    expected_counts, actual_counts = (
        Counter(tuple(sorted(line)) if deep else tuple(line) for line in lines) for lines in (expected, actual)
    )
    missing = expected_counts - actual_counts
    surplus = actual_counts - expected_counts
    missing_tokens = {token for line in missing for token in line}
    fractions = sorted({value for value in map(parse_fraction, missing_tokens) if value is not None})

    def canonicalize(token: bytes) -> bytes:
        if token in missing_tokens:
            fraction = parse_fraction(token)
        else:
            fraction = find_nearest_close(fractions, parse_number(token), STDIN_TOLERANCE)
        return token if fraction is None else repr(fraction + 0.0).encode()  # + 0.0 turns -0.0 into 0.0

    def canonicalize_lines(lines: Counter[tuple[bytes, ...]]) -> Counter[tuple[bytes, ...]]:
        counts: Counter[tuple[bytes, ...]] = Counter()
        for line, count in lines.items():
            new_line = list(map(canonicalize, line))
            counts[tuple(sorted(new_line) if deep else new_line)] += count
        return counts

    return not missing or (bool(fractions) and canonicalize_lines(missing) == canonicalize_lines(surplus))
