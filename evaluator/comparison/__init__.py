"""Whether an answer equals the expected one: named strategies, tried from the strictest to the loosest.

A strategy says yes or no; the name of the first that says yes goes into the verdict. Falling strategies are the idea of
arXiv 2603.07777 (MicroCoder-GRPO), evaluator section. Its looser ones pass wrong programs, so policy ``judge`` leaves
them out, and policy ``paper`` tries them last, each under a name of its own that begins with ``paper_``. None of these
functions runs or trusts anything of the candidate's: they see text only, take time linear in it (times its logarithm
where order is let go), and hold no more of an answer in memory than the expected one explains.

    stdin       exact > trailing_whitespace > blank_lines > tokens > numeric
    functional  json_equal > json_close
    both        > granted_tolerance | granted_case | granted_order    if the problem has such a checker
                > paper_allclose > paper_containers > paper_rounding > paper_line_sets > paper_token_set
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from evaluator.checker import AnyCase, AnyOrder, Checker, Custom, Tolerance

Policy = Literal["judge", "paper"]

STDIN_TOLERANCE = Tolerance(1e-6, 1e-6)  # where the expected token is a fraction
FUNCTIONAL_TOLERANCE = Tolerance(1e-5, 1e-5)  # LeetCode's; its expected values are themselves rounded to five digits

# White space of ASCII only: that of str.split() includes characters which to a judge are part of a token.
_BLANKS = " \t\n\r\v\f"
_BLANK_LINES = re.compile(r"\n[ \t\n\r\v\f]*\n")
_NUMERALS = b"0123456789+-.eE"
# [+-]digits only, so not what float() and int() take besides: underscores, nan, inf, digits of other scripts.
_INTEGER = re.compile(rb"[+-]?[0-9]+")
# A JSON answer is at most so many times as long as the expected text (0.30000000000000004 for 0.3, \u00e9 for é).
_LONGER, _LONGER_BY = 32, 4096


# Standard output: texts. Each strategy accepts whatever the one before it accepts.


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
    wanted = _tokens(expected)
    return wanted == _first_tokens(actual, len(wanted))


def numeric(expected: str, actual: str) -> bool:
    """The same tokens, where an expected fraction is met within 1e-6, absolute or relative.

    A fraction is a decimal number with a point, or with an exponent that has a sign, as programs print it: 2.0, .5,
    1e-07. Integers of any length and words such as 1e5 are no fractions. Of an answer any decimal number will do.

    >>> numeric("0.3333333333", "0.33333333333"), numeric("0.5", ".5"), numeric("area 2.0", "area 2")
    (True, True, True)
    >>> numeric("1000000", "1000000.0"), numeric("1.5", "nan"), numeric("1.5", "1,5"), numeric("0e1", "0e5")
    (False, False, False, False)
    """
    wanted = _tokens(expected)
    return _same_tokens(wanted, _first_tokens(actual, len(wanted)), _fraction_close)


def granted_tolerance(expected: str, actual: str, granted: Tolerance) -> bool:
    """The same tokens, where a number is met within the checker's tolerance, which replaces that of ``numeric``.

    Here an expected integer may also be met by a fraction; by an integer only if they are the same number.

    >>> granted_tolerance("2", "2.0001", Tolerance(1e-3, 0)), granted_tolerance("2", "2.01", Tolerance(1e-3, 0))
    (True, False)
    >>> granted_tolerance("1000000", "1000001", Tolerance(0, 1e-3)), granted_tolerance("3", "+3", Tolerance(0, 0))
    (False, True)
    """
    wanted = _tokens(expected)
    return _same_tokens(
        wanted, _first_tokens(actual, len(wanted)), lambda left, right: _number_close(left, right, granted)
    )


def granted_case(expected: str, actual: str) -> bool:
    """The same tokens but for the case of ASCII letters; fractions as in ``numeric``.

    >>> granted_case("YES 0.5", "yEs .5"), granted_case("YES", "Y ES")
    (True, False)
    """
    wanted = _tokens(expected)
    return _same_tokens(
        wanted,
        _first_tokens(actual, len(wanted)),
        lambda left, right: left.lower() == right.lower() or _fraction_close(left, right),
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
    wanted = _tokens(expected)
    given = _first_tokens(actual, len(wanted))
    if len(wanted) != len(given):
        return False
    lines = _token_lines(expected)
    if len(lines) in (1, len(wanted)):
        return _same_line_multiset(zip(wanted), zip(given), granted.deep)  # one token, one line
    return _same_line_multiset(lines, _token_lines(actual), granted.deep)


# Functional problems: decoded JSON values.


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
    return _same_value(expected, actual, _Rules(FUNCTIONAL_TOLERANCE))


def json_granted_tolerance(expected: object, actual: object, granted: Tolerance) -> bool:
    """The same JSON value, where numbers are met as in ``granted_tolerance``, under whose name it goes.

    >>> [json_granted_tolerance([2000], [answer], Tolerance(0, 1e-3)) for answer in (2000.5, 2001, 2000.0)]
    [True, False, True]
    """
    return _same_value(expected, actual, _Rules(granted, integers=True))


def json_granted_case(expected: object, actual: object) -> bool:
    """The same JSON value but for the case of ASCII letters in strings that are values; goes as ``granted_case``.

    >>> json_granted_case(["Yes"], ["YES"]), json_granted_case({"a": 1}, {"A": 1})
    (True, False)
    """
    return _same_value(expected, actual, _Rules(FUNCTIONAL_TOLERANCE, any_case=True))


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


# The looser conversions of arXiv 2603.07777's evaluator, on texts of either kind, tried in this order.


def paper_allclose(expected: str, actual: str) -> bool:
    """The same tokens, where numbers, integers too, are met within 1e-8 + 1e-5 relative (the defaults of np.allclose).

    >>> paper_allclose("1000000", "1000001"), paper_allclose("YES 2", "YES 2.0"), paper_allclose("nan", "2")
    (True, True, False)
    """
    return _same_tokens(_tokens(expected), _tokens(actual), _allclose)


def paper_containers(expected: str, actual: str) -> bool:
    """As ``paper_allclose``, once brackets, commas and quotes are taken as blanks: list, tuple, set and str are alike.

    >>> paper_containers("1 2", "(1, 2)"), paper_containers("[[1], [2]]", "[1, 2]"), paper_containers("12", '"12"')
    (True, True, True)
    """
    return _same_tokens(_bare_tokens(expected), _bare_tokens(actual), _allclose)


def paper_rounding(expected: str, actual: str) -> bool:
    """The same tokens without brackets, commas and quotes, numbers rounded to three digits after the point.

    >>> paper_rounding("0.3333", "0.333"), paper_rounding("0.5", "0.501")
    (True, False)
    """
    return _same_tokens(
        _bare_tokens(expected), _bare_tokens(actual), lambda left, right: _rounded(left) == _rounded(right)
    )


def paper_line_sets(expected: str, actual: str) -> bool:
    """The same set of lines, each taken as the set of its rounded tokens: order and multiplicity are lost.

    >>> paper_line_sets("1 2\\n3 3\\n", "3\\n2 1"), paper_line_sets("1 2\\n3\\n", "1 3\\n2")
    (True, False)
    """
    wanted, given = ({frozenset(map(_rounded, _bare_tokens(line))) for line in _lines(t)} for t in (expected, actual))
    return wanted == given


def paper_token_set(expected: str, actual: str) -> bool:
    """The same set of rounded tokens: order, multiplicity and lines are lost.

    >>> paper_token_set("1 2\\n3 3\\n", "3 2 1"), paper_token_set("1 2", "1 2 3")
    (True, False)
    """
    wanted, given = (set(map(_rounded, set(_bare_tokens(text)))) for text in (expected, actual))
    return wanted == given


STDIN_STRATEGIES: tuple[Callable[[str, str], bool], ...] = (exact, trailing_whitespace, blank_lines, tokens, numeric)
FUNCTIONAL_STRATEGIES: tuple[Callable[[object, object], bool], ...] = (json_equal, json_close)
PAPER_STRATEGIES: tuple[Callable[[str, str], bool], ...] = (
    paper_allclose,
    paper_containers,
    paper_rounding,
    paper_line_sets,
    paper_token_set,
)
STRATEGY_NAMES: tuple[str, ...] = (
    *(strategy.__name__ for strategy in (*STDIN_STRATEGIES, *FUNCTIONAL_STRATEGIES)),
    *("granted_tolerance", "granted_case", "granted_order", "custom"),
    *(strategy.__name__ for strategy in PAPER_STRATEGIES),
)


def compare_stdin(expected: str, actual: str, checker: Checker | None = None, policy: Policy = "judge") -> str | None:
    """Name of the strictest strategy that accepts ``actual`` as printed for ``expected``, None if none does.

    Both are decoded so that no two byte strings become one text (say by surrogateescape). A Tolerance checker replaces
    ``numeric``; the other checkers add to it. Raises TypeError for a Custom checker: that one runs in a sandbox.

    >>> compare_stdin("3\\n", "3"), compare_stdin("3\\n", "4"), compare_stdin("3\\n", "3.000001", policy="paper")
    ('trailing_whitespace', None, 'paper_allclose')
    >>> compare_stdin("YES", "yes", AnyCase()), compare_stdin("1 2", "2 1", AnyOrder(deep=False))
    ('granted_case', 'granted_order')
    """
    _refuse_custom(checker)
    if expected == actual:
        return exact.__name__
    if expected.rstrip(_BLANKS) == actual.rstrip(_BLANKS):
        return trailing_whitespace.__name__
    # Each strategy accepts what the stricter one does, so the tokens, taken once, decide which ones need a look at all.
    wanted = _tokens(expected)
    given = _first_tokens(actual, len(wanted))
    if wanted == given:
        return next((s.__name__ for s in (trailing_whitespace, blank_lines) if s(expected, actual)), tokens.__name__)
    if not isinstance(checker, Tolerance) and _same_tokens(wanted, given, _fraction_close):
        return numeric.__name__
    if isinstance(checker, Tolerance) and granted_tolerance(expected, actual, checker):
        return granted_tolerance.__name__
    if isinstance(checker, AnyCase) and granted_case(expected, actual):
        return granted_case.__name__
    if isinstance(checker, AnyOrder) and granted_order(expected, actual, checker):
        return granted_order.__name__
    return _paper(expected, actual) if policy == "paper" else None


def compare_functional(
    expected: str, actual: str, checker: Checker | None = None, policy: Policy = "judge"
) -> str | None:
    """Like ``compare_stdin`` for two JSON texts, as returned by a function.

    A Tolerance checker replaces ``json_close``. Raises ValueError when ``expected`` is not JSON (unless both are the
    same text), and TypeError for a Custom checker. An ``actual`` that is not JSON, or padded far beyond what the same
    value can take, is not accepted.

    >>> compare_functional("[0.3]", "[0.30000000000000004]"), compare_functional("1", "true")
    ('json_close', None)
    >>> compare_functional("[1, 2]", "[2, 1]", AnyOrder(deep=False)), compare_functional("12", '"12"', policy="paper")
    ('granted_order', 'paper_containers')
    """
    _refuse_custom(checker)
    if expected == actual:
        return json_equal.__name__
    wanted = _decoded(expected)
    if len(actual) > _LONGER * len(expected) + _LONGER_BY:
        return None
    try:
        given = _decoded(actual)
    except ValueError:
        return None
    if json_equal(wanted, given):
        return json_equal.__name__
    if not isinstance(checker, Tolerance) and json_close(wanted, given):
        return json_close.__name__
    if isinstance(checker, Tolerance) and json_granted_tolerance(wanted, given, checker):
        return granted_tolerance.__name__
    if isinstance(checker, AnyCase) and json_granted_case(wanted, given):
        return granted_case.__name__
    if isinstance(checker, AnyOrder) and json_granted_order(wanted, given, checker):
        return granted_order.__name__
    return _paper(expected, actual) if policy == "paper" else None


def compare_python(expected: str, actual: str, checker: Checker | None = None, policy: Policy = "judge") -> str | None:
    """Like ``compare_functional`` for two values of Python in tagged JSON (``evaluator.inside.values``), as == has it.

    There True is 1 and 1.0; an expected fraction is met within 1e-6, absolute or relative. Of checkers, Tolerance
    applies; case and order are let go as far as JSON's own strings and lists go.

    >>> compare_python("1", "true"), compare_python('{"tuple": [0.3]}', '{"tuple": [0.30000000000000004]}')
    ('json_equal', 'json_close')
    >>> compare_python('{"tuple": [1]}', "[1]"), compare_python("2", "2.0000001")
    (None, None)
    """
    _refuse_custom(checker)
    if expected == actual:
        return json_equal.__name__
    if len(actual) <= _LONGER * len(expected) + _LONGER_BY:
        wanted = _decoded(expected)
        try:
            given = _decoded(actual)
        except ValueError:
            return None
        if _same_value(wanted, given, _Rules(booleans=True)):
            return json_equal.__name__
        if checker is None and _same_value(wanted, given, _Rules(STDIN_TOLERANCE, booleans=True)):
            return json_close.__name__
    return None if checker is None and policy == "judge" else compare_functional(expected, actual, checker, policy)


def loosest(names: Iterable[str]) -> str | None:
    """The loosest of some strategies' names (all of one kind of problem), None of none.

    >>> loosest(["exact", "tokens", "exact"])
    'tokens'
    """
    return max(names, key=STRATEGY_NAMES.index, default=None)


def _refuse_custom(checker: Checker | None) -> None:
    if isinstance(checker, Custom):
        raise TypeError("a custom checker is a program: run it in a sandbox")


def _paper(expected: str, actual: str) -> str | None:
    if len(actual) > _LONGER * len(expected) + _LONGER_BY:  # splitting it up could take many times its size
        return None
    accepted = next((strategy.__name__ for strategy in PAPER_STRATEGIES[:3] if strategy(expected, actual)), None)
    if accepted is None and paper_token_set(expected, actual):  # the loosest first: it is cheap, and mostly says no
        return next(strategy.__name__ for strategy in PAPER_STRATEGIES[3:] if strategy(expected, actual))
    return accepted


# Tokens and lines


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # takes any text, and no two texts become the same bytes


def _tokens(text: str) -> list[bytes]:
    return _bytes(text).split()


def _first_tokens(text: str, limit: int) -> list[bytes]:
    """The tokens of ``text`` if there are at most ``limit``, else one more than that (the last one is the whole rest):
    a flood of short tokens would take some twenty times its size in memory."""
    return _bytes(text).split(None, limit)


def _bare_tokens(text: str) -> list[bytes]:
    return _bytes(text).translate(bytes.maketrans(b"[](){},'\"", b" " * 9)).split()


def _lines(text: str) -> list[str]:
    return _BLANK_LINES.sub("\n", text.strip(_BLANKS)).split("\n")


def _token_lines(text: str) -> list[list[bytes]]:
    return [line for line in map(_tokens, _lines(text)) if line]


def _same_tokens(wanted: list[bytes], given: list[bytes], close: Callable[[bytes, bytes], bool]) -> bool:
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
    missing, surplus = left - right, right - left
    known = {token for line in missing for token in line}
    fractions = sorted({value for value in map(_fraction, known) if value is not None})

    def canonical(token: bytes) -> bytes:
        fraction = _fraction(token) if token in known else _nearest(fractions, _number(token), STDIN_TOLERANCE)
        return token if fraction is None else repr(fraction + 0.0).encode()  # + 0.0 takes the sign off -0.0

    def relabelled(lines: Counter[tuple[bytes, ...]]) -> Counter[tuple[bytes, ...]]:
        found: Counter[tuple[bytes, ...]] = Counter()
        for line, times in lines.items():
            new = list(map(canonical, line))
            found[tuple(sorted(new) if deep else new)] += times
        return found

    return not missing or (bool(fractions) and relabelled(missing) == relabelled(surplus))


# Numbers


def _number(token: bytes) -> float | None:
    """The value of a decimal number. float() also takes underscores, nan and inf, but not without other characters."""
    if token.translate(None, _NUMERALS):
        return None
    try:
        return float(token)
    except ValueError:
        return None


def _fraction(token: bytes) -> float | None:
    """The value of a decimal number that is written as a fraction (see ``numeric``)."""
    if b"." in token or b"e-" in token or b"e+" in token or b"E-" in token or b"E+" in token:
        return _number(token)
    return None


def _fraction_close(expected: bytes, actual: bytes) -> bool:
    wanted = _fraction(expected)
    if wanted is None:
        return False
    given = _number(actual)
    return given is not None and _close(wanted, given, STDIN_TOLERANCE)


def _number_close(expected: bytes, actual: bytes, tolerance: Tolerance) -> bool:
    if _INTEGER.fullmatch(expected) and _INTEGER.fullmatch(actual):
        return _plain_integer(expected) == _plain_integer(actual)
    wanted, given = _number(expected), _number(actual)
    return wanted is not None and given is not None and _close(wanted, given, tolerance)


def _plain_integer(token: bytes) -> tuple[bool, bytes]:
    # Not int(): it refuses more than 4,300 digits, and takes quadratic time.
    digits = token.lstrip(b"+-").lstrip(b"0")
    return bool(digits) and token.startswith(b"-"), digits


def _close(expected: float, actual: float, tolerance: Tolerance) -> bool:
    difference = abs(expected - actual)
    if difference <= tolerance.abs:
        return True
    # isclose() would be relative to the larger of the two, and so be met by an endless actual value; and an expected
    # number beyond the range of float, read as endless, would be met by every other.
    if not (math.isfinite(expected) and math.isfinite(actual)):
        return False
    allowed = max(tolerance.abs, tolerance.rel * abs(expected))
    # 0.5 and 0.500001 differ by more than 1e-6 once both are rounded to binary fractions, so that much is allowed for.
    return difference <= allowed + min(allowed, 2 * math.ulp(expected))


def _nearest(values: list[float], target: float | None, tolerance: Tolerance) -> float | None:
    """The one of the sorted ``values`` nearest to ``target``, if that meets it."""
    if target is None or not values:
        return None
    place = bisect_left(values, target)
    above, below = values[min(place, len(values) - 1)], values[max(place - 1, 0)]
    nearest = above if abs(above - target) < abs(below - target) else below
    return nearest if _close(nearest, target, tolerance) else None


def _allclose(expected: bytes, actual: bytes) -> bool:
    wanted, given = _number(expected), _number(actual)
    return wanted is not None and given is not None and _close(wanted, given, Tolerance(1e-8 + 1e-5 * abs(wanted), 0.0))


def _rounded(token: bytes) -> bytes | float:
    number = _number(token)
    return token if number is None else round(number, 3) + 0.0


# JSON values


@dataclass(frozen=True)
class _LongInteger:
    """An integer of more digits than int() reads; equal only to itself."""

    text: str


@dataclass(frozen=True)
class _Rules:
    """How leaves are compared: fractions within ``tolerance`` (None: exactly), with ``integers`` also an expected
    integer by a fraction; with ``any_case`` strings but for the case of ASCII letters; with ``booleans`` a boolean is
    the number that it is in Python."""

    tolerance: Tolerance | None = None
    integers: bool = False
    any_case: bool = False
    booleans: bool = False


def _decoded(text: str) -> Any:
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
        return _bytes(expected).lower() == _bytes(actual).lower()
    return type(expected) is type(actual) and expected == actual


def _same_number(expected: float, actual: float, rules: _Rules) -> bool:
    both_nan = expected != expected and actual != actual
    if expected == actual or both_nan:  # exact also between int and float
        return True
    if rules.tolerance is None or (isinstance(expected, int) and (not rules.integers or isinstance(actual, int))):
        return False
    try:
        return _close(float(expected), float(actual), rules.tolerance)
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
            nearest = _nearest(fractions, float(number), tolerance)
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
