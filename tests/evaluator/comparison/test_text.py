"""Comparison strategies for standard output."""

import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evaluator.checker import AnyCase, Checker, Tolerance
from evaluator.comparison import (
    STDIN_STRATEGIES,
    compare_stdin,
)
from tests.evaluator.comparison.strategies import ANY_ORDER, ANY_ORDER_DEEP, TEXTS, TOKENS, WORDS


@pytest.mark.parametrize(
    ("expected", "actual", "accepted_by"),
    [
        ("3\n", "3\n", "exact"),
        ("3\n", "3", "trailing_whitespace"),
        ("1\n2\n", "1  \r\n2\t\n\n\n", "trailing_whitespace"),
        ("\n1\n\n2\n", "\n1 \n\n2\n", "trailing_whitespace"),
        ("1\n2\n", "\n1\n\n2\n", "blank_lines"),
        ("a b\nc\n", " \n\n  a b\n \t \n\r\n\nc", "blank_lines"),
        ("1 2\n", "1\t2\n", "tokens"),
        ("1\n2\n", "1 2\n", "tokens"),
        ("a\n\nb\n", "a \n b\n", "blank_lines"),
        ("0.5\n", "0.4999999\n", "numeric"),
        ("1e-7\n", "0.0000001\n", "numeric"),
        ("1e+06\n", "1000000\n", "numeric"),
        ("1000000.0\n", "1000001\n", "numeric"),
        ("0.0\n", "-0\n", "numeric"),
        ("0.5\n", "0.500001\n", "numeric"),  # exactly 1e-6 apart in decimals, but not in binary floats
        ("12345678901234567890.5\n", "12345678901234567890\n", "numeric"),
        ("", "", "exact"),
        ("\n", "", "trailing_whitespace"),
        ("\n", " \r\n\t", "trailing_whitespace"),
        ("", "x", None),
        ("x", "", None),
        ("1000\n", "1_000\n", None),
        ("1000\n", "1e3\n", None),
        ("1000\n", "1000.0\n", None),
        ("1e3\n", "1000\n", None),
        ("1000.0\n", "1_000.0\n", None),
        ("0e1\n", "0e5\n", None),
        ("7\n", "007\n", None),
        ("3\n", "+3\n", None),
        ("0\n", "-0\n", None),
        ("-0\n", "0\n", None),
        ("1000000000000000001\n", "1e18\n", None),
        ("3\n", "\uff13\n", None),
        ("3.0\n", "\uff13.0\n", None),
        ("3\n", "\x1b[31m3\x1b[0m\n", None),
        ("3\n", "3\x00\n", None),
        ("3\n", "\ufeff3\n", None),
        ("1 2\n", "1\xa02\n", None),
        ("1\n", "1\xa0\n", None),
        ("1\n2\n", "1\u20282\n", None),
        ("1 2\n", "1\x1c2\n", None),
        ("1.5\n", "nan\n", None),
        ("1.5\n", "inf\n", None),
        ("1.5\n", "1,5\n", None),
        ("1.5\n", "1.5.0\n", None),
        ("1.5\n", "1.5f\n", None),
        ("1.5\n", "0x1.8p0\n", None),
        ("1.5\n", "1.5001\n", None),
        ("1.0e999\n", "5\n", None),
        ("1.0e999\n", "1.0e998\n", None),
        ("true\n", "True\n", None),
        ("1\n2\n", "1\n2\n2\n", None),
        ("1\n2\n", "1\n", None),
        ("1.0\n", "9" * 5000, None),
        ("9" * 5000, "9" * 5000 + "\n", "trailing_whitespace"),
        ("9" * 5000, "9" * 4999 + "8", None),
        ("\ud800\n", "\ud800", "trailing_whitespace"),
        ("\ud800\n", "\ud801\n", None),
        ("\udcff\n", "\xff\n", None),
    ],
)
def test_compare_stdin_without_a_checker(expected: str, actual: str, accepted_by: str | None) -> None:
    assert compare_stdin(expected, actual) == accepted_by


@pytest.mark.parametrize(
    ("checker", "expected", "actual", "accepted"),
    [
        (Tolerance(1e-3, 0), "2", "2.0001", True),
        (Tolerance(1e-3, 0), "2.0", "2.01", False),
        (Tolerance(1e-9, 0), "2.0", "2.0000001", False),  # stricter than the default, which it replaces
        (Tolerance(0, 1e-3), "2000", "2001.5", True),
        (Tolerance(0, 1e-3), "2000", "2001", False),  # the relative tolerance does not apply to integers
        (Tolerance(0, 1e-3), "2000", "+02000", True),
        (Tolerance(0, 1e-3), "-7", "7", False),
        (Tolerance(0, 1e-3), "-0", "0", True),
        (Tolerance(0, 1e-3), "1" * 9999, "0" + "1" * 9999, True),
        (Tolerance(0, 1e-3), "1" * 9999, "1" * 9998 + "2", False),
        (Tolerance(0, 1e-3), "1000000000000000001", "1e18", True),
        (Tolerance(0, 1e-3), "1e3", "1000.1", True),
        (Tolerance(0, 1e-3), "1e999", "1e998", False),
        (Tolerance(0, 1e-3), "n 5", "m 5", False),
        (Tolerance(9, 9), "5", "nan", False),
        (Tolerance(0, 0), "0.30", "0.3", True),
        (Tolerance(0, 0), "0.3", "0.30000000000000004", False),
        (AnyCase(), "YES\nno\n", "yEs NO", True),
        (AnyCase(), "YES", "YES!", False),
        (AnyCase(), "yes 0.5", "YES 0.5000001", True),
        (AnyCase(), "\u212a", "k", False),  # the Kelvin sign, which str.lower() converts to k
        (AnyCase(), "3", "3.0", False),
        (ANY_ORDER, "3 1 2\n", "1\n2\n3\n", True),
        (ANY_ORDER, "3\n1\n2\n", "1 2 3\n", True),
        (ANY_ORDER, "1 2\n3 4\n", "3  4\n\n1 2", True),
        (ANY_ORDER, "1 2\n3 4\n", "2 1\n3 4\n", False),
        (ANY_ORDER, "1 2\n3 4\n", "3 4 1 2\n", False),
        (ANY_ORDER, "1 2\n1 2\n3\n", "1 2\n3\n1 2\n", True),
        (ANY_ORDER, "1 2\n1 2\n3\n", "1 2\n3\n3\n", False),
        (ANY_ORDER, "1 1 2", "1 2 2", False),
        (ANY_ORDER, "1 1 2", "1 2", False),
        (ANY_ORDER, "", "", True),
        (ANY_ORDER, "", "1", False),
        (ANY_ORDER, "0.5 1.5", "1.4999999 .5", True),
        (ANY_ORDER, "0.5 1.5", "1.4999999 .6", False),
        (ANY_ORDER, "a 0.5\nb 0.5\n", "b 0.5000001\na 0.4999999\n", True),
        (ANY_ORDER, "a 0.5\nb 0.7\n", "b 0.5000001\na 0.7\n", False),
        (ANY_ORDER, "1 1.0000001", "1.0000001 1", True),
        (ANY_ORDER, "1 2.0", "2.0 1.0", False),  # an integer matches only itself
        (ANY_ORDER, "0.0 1", "1 -0.0000001", True),
        (ANY_ORDER, "0.0 1", "1 -0.0", True),
        (ANY_ORDER, "-0.0 0.00 1", "1 0.000 .0", True),
        (ANY_ORDER, "1 0.5\n1.0000001 0.7\n", "1.0000001 0.7000001\n1 0.5000001\n", True),
        (ANY_ORDER, "1 0.5\n1.0000001 0.7\n", "1.0000001 0.5000001\n1 0.7000001\n", False),
        (ANY_ORDER_DEEP, "1 2\n3 4\n", "4 3\n2 1\n", True),
        (ANY_ORDER_DEEP, "1 2\n3 4\n", "1 3\n2 4\n", False),
        (ANY_ORDER_DEEP, "a 0.5\nb 0.7\n", "0.7000001 b\n0.5 a\n", True),
        (ANY_ORDER_DEEP, "a a b\n1\n", "1\na b b\n", False),
        (ANY_ORDER_DEEP, ".5 0.3\na b\n", "b a\n0.3000001 0.4999999\n", True),
    ],
)
def test_compare_stdin_with_a_checker(checker: Checker, expected: str, actual: str, accepted: bool) -> None:
    assert (compare_stdin(expected, actual, checker) is not None) == accepted


@given(TEXTS, TEXTS)
@example("1\n2", "1\n\n2").via("lines")
@example("\n1 .5", "1 0.5000001").via("fractions")
def test_strategies_are_nested_and_the_strictest_is_named(expected: str, actual: str) -> None:
    accepted = [strategy(expected, actual) for strategy in STDIN_STRATEGIES]
    assert accepted == sorted(accepted)
    strictest = next((s.__name__ for s, yes in zip(STDIN_STRATEGIES, accepted, strict=True) if yes), None)
    for policy in ("judge", "paper"):
        assert compare_stdin(expected, actual, None, policy) == strictest or (strictest is None and policy == "paper")
    for checker in (AnyCase(), ANY_ORDER, ANY_ORDER_DEEP):
        assert compare_stdin(expected, actual, checker) == strictest or strictest is None


@given(WORDS, st.randoms(use_true_random=False))
def test_token_comparison_ignores_white_space(words, rng):
    spaced = "".join(word + rng.choice([" ", "\n", "\t", "\r\n", "  \n\n"]) for word in words)
    assert compare_stdin(" ".join(words), spaced) is not None


@given(WORDS, WORDS)
def test_text_without_fractions_needs_equal_tokens(expected, actual):
    expected = [word.replace(".", "") or "0" for word in expected]
    assert (compare_stdin("\n".join(expected), " ".join(actual)) is not None) == (expected == actual)


@given(st.lists(st.lists(TOKENS, min_size=1, max_size=3), max_size=4), st.randoms(use_true_random=False))
def test_lines_and_tokens_in_any_order_are_accepted(lines: list[list[str]], rng: random.Random) -> None:
    reordered = rng.sample(lines, len(lines))
    shuffled = [rng.sample(line, len(line)) for line in reordered]
    expected, any_line_order, any_order = ("\n".join(map(" ".join, each)) for each in (lines, reordered, shuffled))
    assert compare_stdin(expected, any_line_order, ANY_ORDER) is not None
    assert compare_stdin(expected, any_order, ANY_ORDER_DEEP) is not None
    if lines:  # multiplicity counts
        assert compare_stdin(expected, f"{any_line_order}\n{any_line_order.split()[0]}", ANY_ORDER_DEEP) is None


@pytest.mark.parametrize(
    ("expected", "actual", "checker"),
    [
        ("1 2\n" * 100_000, "1 2 \n" * 100_000, None),
        ("1 2\n" * 100_000, "1  2\n\n" * 100_000, None),
        ("1 2\n" * 100_000, "1 3\n" * 100_000, None),
        ("0.5\n" * 100_000, "0.5000001\n" * 100_000, None),
        ("1.5", "9" * 500_000 + "x", None),
        ("1.5", "9" * 500_000, None),
        ("9" * 500_000, "+" + "9" * 500_000, Tolerance(1e-6, 0)),
        ("a\nb", "a" + " " * 500_000 + "b", None),
        ("a\nb\nc d", "a" + "\n " * 250_000 + "b\nc\td", None),
        ("\n".join(map(str, range(50_000))), "\n".join(map(str, range(49_999, -1, -1))), ANY_ORDER),
        (
            "\n".join(f"{n}.5 x" for n in range(20_000)),
            "\n".join(f"x {n}.4999999" for n in range(20_000)),
            ANY_ORDER_DEEP,
        ),
    ],
)
def test_comparison_time_is_not_quadratic(expected: str, actual: str, checker: Checker | None) -> None:
    began = time.process_time()
    compare_stdin(expected, actual, checker)
    assert time.process_time() - began < 2  # at most 0.3 s when this was written; quadratic time would be minutes
