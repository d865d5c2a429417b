"""Comparison strategies for standard output."""

import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evaluator.checker import AnyCase, Checker, Tolerance
from evaluator.comparison import STDIN_STRATEGIES, compare_stdin
from evaluator.comparison.rules import DEFAULT_RULES, ComparisonRules
from tests.evaluator.comparison.strategies import ANY_ORDER, ANY_ORDER_DEEP, TEXTS, TOKENS, WORDS, make_rules

GRANTED = ComparisonRules(tolerance=Tolerance(1e-6, 1e-6), outputs=("0.5\n1\n" * 50_000,))


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
        ("1e-7\n", "0.0000001\n", "numeric"),
        ("1e-07\n", "1.00e-7\n", "numeric"),
        ("1e+06\n", "1000000\n", "numeric"),
        ("1e+06\n", "1000000.0\n", "numeric"),
        ("-2.50E+03\n", "-2500\n", "numeric"),
        ("0.000\n", "-0.000\n", "numeric"),
        ("-0.0 x\n", "0.0 x\n", "numeric"),
        ("0e+5\n", "0\n", "numeric"),
        ("1e-07\n", "0.00000010000001\n", None),
        ("1e+20\n", "100000000000000000001\n", None),
        ("0.5\n", "0.4999999\n", None),
        ("0.5\n", ".5\n", None),
        ("12.3\n", "12.300\n", None),
        ("12.30\n", "12.3\n", None),
        ("2.0\n", "2\n", None),
        ("0.0\n", "-0\n", None),
        ("0.0\n", "-0.00\n", None),
        ("0.0\n", "--0.0\n", None),
        ("1e+06\n", "1_000_000\n", None),
        ("1e+06\n", "1e+06x\n", None),
        ("1000000\n", "1e+06\n", None),
        ("1e+" + "9" * 30 + "\n", "1e+" + "9" * 29 + "8\n", None),
        ("12345678901234567890.5\n", "12345678901234567890\n", None),
        ("\ufeff5\n", "5\n", "exact"),
        ("\ufeff5\n", "\ufeff5\n", "exact"),
        ("\ufeff5\n", "6\n", None),
        ("inf\n", "Infinity\n", None),
        ("nan\n", "NaN\n", None),
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
        (AnyCase(), "yes 0.5", "YES 0.5", True),
        (AnyCase(), "yes 0.5", "YES 0.5000001", False),
        (AnyCase(), "yes 0.00", "YES -0.00", True),
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
        (ANY_ORDER, "0.5 1.5", "1.5 0.4999999", False),
        (ANY_ORDER, "0.0 1", "1 -0.0", True),
        (ANY_ORDER, "1e+20 -0.0 7", "7 0.0 100000000000000000000", True),
        (ANY_ORDER, "1e+20 -0.0 7", "7 0.0 100000000000000000001", False),
        (ANY_ORDER_DEEP, "1 2\n3 4\n", "4 3\n2 1\n", True),
        (ANY_ORDER_DEEP, "1 2\n3 4\n", "1 3\n2 4\n", False),
        (ANY_ORDER_DEEP, "a a b\n1\n", "1\na b b\n", False),
    ],
)
def test_compare_stdin_with_a_checker(checker: Checker, expected: str, actual: str, accepted: bool) -> None:
    assert (compare_stdin(expected, actual, make_rules(checker, expected)) is not None) == accepted


@pytest.mark.parametrize(
    ("order", "expected", "actual", "accepted"),
    [
        (ANY_ORDER, "0.5 1.5", "1.4999999 .5", True),
        (ANY_ORDER, "0.5 1.5", "1.4999999 .6", False),
        (ANY_ORDER, "a 0.5\nb 0.5\n", "b 0.5000001\na 0.4999999\n", True),
        (ANY_ORDER, "a 0.5\nb 0.7\n", "b 0.5000001\na 0.7\n", False),
        (ANY_ORDER, "1 1.0000001", "1.0000001 1", True),
        (ANY_ORDER, "1 2.0", "2.0 1.0", True),
        (ANY_ORDER, "1 2.0", "2.0 3", False),
        (ANY_ORDER, "0.0 1", "1 -0.0000001", True),
        (ANY_ORDER, "-0.0 0.00 1", "1 0.000 .0", True),
        (ANY_ORDER, "1 0.5\n1.0000001 0.7\n", "1.0000001 0.7000001\n1 0.5000001\n", True),
        (ANY_ORDER, "1 0.5\n1.5 0.7\n", "1.5000001 0.5000001\n1 0.7000001\n", False),
        (
            ANY_ORDER,
            "100000000000000000 a\n100000000000000001 b\n",
            "100000000000000001 a\n100000000000000000 b",
            False,
        ),
        (ANY_ORDER, "1.0e999 1", "1 1.0e998", False),
        (ANY_ORDER_DEEP, "a 0.5\nb 0.7\n", "0.7000001 b\n0.5 a\n", True),
        (ANY_ORDER_DEEP, ".5 0.3\na b\n", "b a\n0.3000001 0.4999999\n", True),
        (AnyCase(), "yes 0.5", "YES 0.5000001", True),
        (AnyCase(), "yes 0.5", "YES 0.51", False),
    ],
)
def test_checkers_for_order_and_case_use_the_tolerance_of_the_statement(
    order: Checker, expected: str, actual: str, accepted: bool
) -> None:
    rules = ComparisonRules(checker=order, tolerance=Tolerance(1e-6, 1e-6), outputs=(expected,))
    assert (compare_stdin(expected, actual, rules) is not None) == accepted


@given(TEXTS, TEXTS)
@example("1\n2", "1\n\n2").via("lines")
@example("\n1 -0.5e-3", "1 -0.0005").via("exponents")
def test_strategies_are_nested_and_the_strictest_is_named(expected: str, actual: str) -> None:
    accepted = [strategy(expected, actual) for strategy in STDIN_STRATEGIES]
    assert accepted == sorted(accepted)
    strictest = next((s.__name__ for s, yes in zip(STDIN_STRATEGIES, accepted, strict=True) if yes), None)
    for policy in ("judge", "paper"):
        assert compare_stdin(expected, actual, policy=policy) == strictest or (strictest is None and policy == "paper")
    for checker in (AnyCase(), ANY_ORDER, ANY_ORDER_DEEP):
        assert compare_stdin(expected, actual, make_rules(checker)) == strictest or strictest is None


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
    assert compare_stdin(expected, any_line_order, make_rules(ANY_ORDER)) is not None
    assert compare_stdin(expected, any_order, make_rules(ANY_ORDER_DEEP)) is not None
    if lines:  # multiplicity counts
        longer = f"{any_line_order}\n{any_line_order.split()[0]}"
        assert compare_stdin(expected, longer, make_rules(ANY_ORDER_DEEP)) is None


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("expected", "actual", "rules"),
    [
        ("1 2\n" * 100_000, "1 2 \n" * 100_000, DEFAULT_RULES),
        ("1 2\n" * 100_000, "1  2\n\n" * 100_000, DEFAULT_RULES),
        ("1 2\n" * 100_000, "1 3\n" * 100_000, DEFAULT_RULES),
        ("0.5\n" * 100_000, "0.5000001\n" * 100_000, GRANTED),
        ("0.5\n1\n" * 50_000, "0.5000001\n1.0\n" * 50_000, GRANTED),
        ("1e+20\n" * 100_000, "100000000000000000000\n" * 100_000, DEFAULT_RULES),
        ("1e+20", "1" + "0" * 500_000, DEFAULT_RULES),
        ("1e+20", "0." + "0" * 500_000 + "1", DEFAULT_RULES),
        ("1e+20", "1e+" + "9" * 500_000, DEFAULT_RULES),
        ("0.0", "-0." + "0" * 500_000, DEFAULT_RULES),
        ("1.5", "9" * 500_000 + "x", DEFAULT_RULES),
        ("1.5", "9" * 500_000, DEFAULT_RULES),
        ("9" * 500_000, "+" + "9" * 500_000, GRANTED),
        ("a\nb", "a" + " " * 500_000 + "b", DEFAULT_RULES),
        ("a\nb\nc d", "a" + "\n " * 250_000 + "b\nc\td", DEFAULT_RULES),
        ("\n".join(map(str, range(50_000))), "\n".join(map(str, range(49_999, -1, -1))), make_rules(ANY_ORDER)),
        (
            "\n".join(f"{n}.5 x" for n in range(20_000)),
            "\n".join(f"x {n}.4999999" for n in range(20_000)),
            ComparisonRules(checker=ANY_ORDER_DEEP, tolerance=Tolerance(1e-6, 0)),
        ),
    ],
)
def test_comparison_time_is_not_quadratic(expected: str, actual: str, rules: ComparisonRules) -> None:
    began = time.process_time()
    compare_stdin(expected, actual, rules)
    assert time.process_time() - began < 2  # at most 0.3 s when this was written; quadratic time would be minutes
