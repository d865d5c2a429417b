"""Strategies for standard output, from the strictest to the loosest, and how a text is split into lines and tokens.

Each strategy accepts whatever the one before it accepts. The ``granted_*`` strategies apply only if the problem has
such a checker.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from evaluator.checker import AnyCase, AnyOrder, Checker, Tolerance
from evaluator.comparison.numbers import parse_fraction, parse_number
from evaluator.comparison.tolerance import STDIN_TOLERANCE, is_fraction_close, is_number_close, nearest_close

# White space of ASCII only: that of str.split() includes characters which to a judge are part of a token.
_BLANKS = " \t\n\r\v\f"
_BLANK_LINES = re.compile(r"\n[ \t\n\r\v\f]*\n")
# A JSON answer is at most so many times as long as the expected text (0.30000000000000004 for 0.3, \u00e9 for é).
_LONGER = 32
_LONGER_BY = 4096


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
    expected, actual = expected.rstrip(_BLANKS), actual.rstrip(_BLANKS)
    # Counting first: a split at 64 million newlines would take half a gigabyte.
    return expected == actual or (
        expected.count("\n") == actual.count("\n")
        and [line.rstrip(_BLANKS) for line in expected.split("\n")]
        == [line.rstrip(_BLANKS) for line in actual.split("\n")]
    )


def blank_lines(expected: str, actual: str) -> bool:
    """The same lines once blank lines and blanks around lines are dropped.

    >>> blank_lines("1\\n2\\n", "\\n 1\\n\\n2"), blank_lines("1\\n2\\n", "1 2\\n")
    (True, False)
    """
    wanted, given = (_BLANK_LINES.sub("\n", text.strip(_BLANKS)) for text in (expected, actual))
    return wanted.count("\n") == given.count("\n") and (
        [line.strip(_BLANKS) for line in wanted.split("\n")] == [line.strip(_BLANKS) for line in given.split("\n")]
    )


def tokens(expected: str, actual: str) -> bool:
    """The same tokens between white space, in the same order: what contest judges compare.

    Bytes decide: 007 is not 7, +3 is not 3, -0 is not 0; a NUL, a colour code or a byte order mark is part of a token.

    >>> tokens("1 2\\n3\\n", "1\\t2 3"), tokens("007", "7"), tokens("Yes", "YES"), tokens("3", "\\x1b[1m3\\x1b[0m")
    (True, False, False, False)
    """
    wanted = split_tokens(expected)
    return wanted == first_tokens(actual, len(wanted))


def numeric(expected: str, actual: str) -> bool:
    """The same tokens, where an expected fraction is met within 1e-6, absolute or relative.

    A fraction is a decimal number with a point, or with an exponent that has a sign, as programs print it: 2.0, .5,
    1e-07. Integers of any length and words such as 1e5 are no fractions. Of an answer any decimal number will do.

    >>> numeric("0.3333333333", "0.33333333333"), numeric("0.5", ".5"), numeric("area 2.0", "area 2")
    (True, True, True)
    >>> numeric("1000000", "1000000.0"), numeric("1.5", "nan"), numeric("1.5", "1,5"), numeric("0e1", "0e5")
    (False, False, False, False)
    """
    wanted = split_tokens(expected)
    return same_tokens(wanted, first_tokens(actual, len(wanted)), is_fraction_close)


def granted_tolerance(expected: str, actual: str, granted: Tolerance) -> bool:
    """The same tokens, where a number is met within the checker's tolerance, which replaces that of ``numeric``.

    Here an expected integer may also be met by a fraction; by an integer only if they are the same number.

    >>> granted_tolerance("2", "2.0001", Tolerance(1e-3, 0)), granted_tolerance("2", "2.01", Tolerance(1e-3, 0))
    (True, False)
    >>> granted_tolerance("1000000", "1000001", Tolerance(0, 1e-3)), granted_tolerance("3", "+3", Tolerance(0, 0))
    (False, True)
    """
    wanted = split_tokens(expected)
    return same_tokens(
        wanted, first_tokens(actual, len(wanted)), lambda left, right: is_number_close(left, right, granted)
    )


def granted_case(expected: str, actual: str) -> bool:
    """The same tokens but for the case of ASCII letters; fractions as in ``numeric``.

    >>> granted_case("YES 0.5", "yEs .5"), granted_case("YES", "Y ES")
    (True, False)
    """
    wanted = split_tokens(expected)
    return same_tokens(
        wanted,
        first_tokens(actual, len(wanted)),
        lambda left, right: left.lower() == right.lower() or is_fraction_close(left, right),
    )


def granted_order(expected: str, actual: str, granted: AnyOrder) -> bool:
    """The same lines as often in any order, each with its tokens in order; with ``deep`` those in any order too.

    Where the expected output is one line, or one token a line, it is a list of tokens, and the line structure of the
    answer does not matter. Fractions as in ``numeric``.

    >>> granted_order("1 2\\n3 4\\n", "3 4\\n1 2", AnyOrder(deep=False))
    True
    >>> [granted_order("1 2\\n3 4\\n", "4 3\\n1 2", AnyOrder(deep)) for deep in (False, True)]
    [False, True]
    >>> granted_order("1 2 3", "3\\n1\\n2", AnyOrder(False)), granted_order("1 1 2", "2 1", AnyOrder(True))
    (True, False)
    >>> granted_order("0.5 7", "7 0.4999999", AnyOrder(False))
    True
    """
    wanted = split_tokens(expected)
    given = first_tokens(actual, len(wanted))
    if len(wanted) != len(given):
        return False
    lines = _token_lines(expected)
    if len(lines) in (1, len(wanted)):
        return _same_line_multiset(zip(wanted), zip(given), granted.deep)  # one token, one line
    return _same_line_multiset(lines, _token_lines(actual), granted.deep)


def find_strategy(expected: str, actual: str, checker: Checker | None) -> str | None:
    """Name of the strictest strategy that accepts the text ``actual``, None if none does."""
    if expected == actual:
        return exact.__name__
    if expected.rstrip(_BLANKS) == actual.rstrip(_BLANKS):
        return trailing_whitespace.__name__
    # Each strategy accepts what the stricter one does, so the tokens, taken once, decide which ones need a look at all.
    wanted = split_tokens(expected)
    given = first_tokens(actual, len(wanted))
    if wanted == given:
        return next((s.__name__ for s in (trailing_whitespace, blank_lines) if s(expected, actual)), tokens.__name__)
    if not isinstance(checker, Tolerance) and same_tokens(wanted, given, is_fraction_close):
        return numeric.__name__
    if isinstance(checker, Tolerance) and granted_tolerance(expected, actual, checker):
        return granted_tolerance.__name__
    if isinstance(checker, AnyCase) and granted_case(expected, actual):
        return granted_case.__name__
    if isinstance(checker, AnyOrder) and granted_order(expected, actual, checker):
        return granted_order.__name__
    return None


def is_padded(expected: str, actual: str) -> bool:
    """Return True if ``actual`` is far longer than any way to write the expected value."""
    return len(actual) > _LONGER * len(expected) + _LONGER_BY


def encode(text: str) -> bytes:
    """Encode a text, lone surrogates included: no two texts become the same bytes."""
    return text.encode("utf-8", "surrogatepass")


def split_tokens(text: str) -> list[bytes]:
    """The parts of a text between ASCII white space, as bytes."""
    return encode(text).split()


def first_tokens(text: str, limit: int) -> list[bytes]:
    """The tokens of ``text`` if there are at most ``limit``, else one more than that (the last one is the whole rest):
    a flood of short tokens would take some twenty times its size in memory."""
    return encode(text).split(None, limit)


def bare_tokens(text: str) -> list[bytes]:
    """The tokens of a text in which brackets, commas and quotes count as white space."""
    return encode(text).translate(bytes.maketrans(b"[](){},'\"", b" " * 9)).split()


def split_lines(text: str) -> list[str]:
    """The lines of a text that are not blank."""
    return _BLANK_LINES.sub("\n", text.strip(_BLANKS)).split("\n")


def _token_lines(text: str) -> list[list[bytes]]:
    return [line for line in map(split_tokens, split_lines(text)) if line]


def same_tokens(wanted: list[bytes], given: list[bytes], close: Callable[[bytes, bytes], bool]) -> bool:
    """Return True if the lists have the same length and each pair of tokens is equal or accepted by ``close``."""
    return len(wanted) == len(given) and all(
        left == right or close(left, right) for left, right in zip(wanted, given, strict=True)
    )


def _same_line_multiset(wanted: Iterable[Collection[bytes]], given: Iterable[Collection[bytes]], deep: bool) -> bool:
    """Whether each line occurs as often here as there, fractions met within the tolerance of ``numeric``.

    Lines without an exact partner are compared once more with each number of the answer replaced by the nearest
    expected fraction within the tolerance. So nothing is accepted that no pairing explains; only where expected
    fractions are nearly as close to each other as the tolerance could a pairing be missed.
    """
    left, right = (Counter(tuple(sorted(line)) if deep else tuple(line) for line in lines) for lines in (wanted, given))
    missing = left - right
    surplus = right - left
    known = {token for line in missing for token in line}
    fractions = sorted({value for value in map(parse_fraction, known) if value is not None})

    def canonical(token: bytes) -> bytes:
        fraction = (
            parse_fraction(token) if token in known else nearest_close(fractions, parse_number(token), STDIN_TOLERANCE)
        )
        return token if fraction is None else repr(fraction + 0.0).encode()  # + 0.0 takes the sign off -0.0

    def relabelled(lines: Counter[tuple[bytes, ...]]) -> Counter[tuple[bytes, ...]]:
        found: Counter[tuple[bytes, ...]] = Counter()
        for line, times in lines.items():
            new = list(map(canonical, line))
            found[tuple(sorted(new) if deep else new)] += times
        return found

    return not missing or (bool(fractions) and relabelled(missing) == relabelled(surplus))
