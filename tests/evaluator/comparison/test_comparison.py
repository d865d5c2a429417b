import doctest
import json
import random
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evaluator import comparison
from evaluator.checker import AnyCase, AnyOrder, Checker, Custom, Tolerance
from evaluator.comparison import (
    PAPER_STRATEGIES,
    STDIN_STRATEGIES,
    STRATEGY_NAMES,
    compare_functional,
    compare_stdin,
    loosest,
)

LINES, DEEP = AnyOrder(deep=False), AnyOrder(deep=True)
CHECKERS: list[Checker | None] = [None, Tolerance(1e-6, 1e-6), AnyCase(), LINES, DEEP]
FRACTIONS = st.floats(-1e9, 1e9).map(lambda value: f"{value:.7f}")
TOKENS = st.one_of(
    st.integers().map(str),
    FRACTIONS,
    st.sampled_from(
        ["0", "-0", "007", "7", "+7", "7.0", "7.", "1e3", "1000", "1e+3", "0.1", ".1", "nan", "inf", "1_0"]
    ),
    st.sampled_from(
        ["Yes", "YES", "yes", "#.#", "[1,", "2]", '"7"', "(7)", "\x00", "\x1b[1m7", "\uff17", "é", "\ufeff7"]
    ),
)
BLANKS = st.sampled_from([" ", "\n", "\n", "  ", "\t", "\r\n", " \n", "\n\n", "\n \n", "\v", "\f", ""])
TEXTS = st.lists(st.tuples(BLANKS, TOKENS, BLANKS), max_size=5).map(lambda parts: "".join(map("".join, parts)))
WORDS = st.lists(st.text("abcXYZ019#._-", min_size=1, max_size=6), max_size=8)
ANY_TEXT = st.text(st.characters(), max_size=20) | st.text(
    st.characters(categories=["Cs", "Cc", "Zs", "Nd"]), max_size=9
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def test_docstring_examples():
    result = doctest.testmod(comparison)
    assert result.attempted and not result.failed


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
        ("0.5\n", "0.500001\n", "numeric"),  # exactly a millionth off, but not once both are binary fractions
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
def test_stdin(expected: str, actual: str, accepted_by: str | None) -> None:
    assert compare_stdin(expected, actual) == accepted_by


@pytest.mark.parametrize(
    ("checker", "expected", "actual", "accepted"),
    [
        (Tolerance(1e-3, 0), "2", "2.0001", True),
        (Tolerance(1e-3, 0), "2.0", "2.01", False),
        (Tolerance(1e-9, 0), "2.0", "2.0000001", False),  # stricter than the default, which it replaces
        (Tolerance(0, 1e-3), "2000", "2001.5", True),
        (Tolerance(0, 1e-3), "2000", "2001", False),  # never between integers
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
        (AnyCase(), "\u212a", "k", False),  # the Kelvin sign, which str.lower() makes a k
        (AnyCase(), "3", "3.0", False),
        (LINES, "3 1 2\n", "1\n2\n3\n", True),
        (LINES, "3\n1\n2\n", "1 2 3\n", True),
        (LINES, "1 2\n3 4\n", "3  4\n\n1 2", True),
        (LINES, "1 2\n3 4\n", "2 1\n3 4\n", False),
        (LINES, "1 2\n3 4\n", "3 4 1 2\n", False),
        (LINES, "1 2\n1 2\n3\n", "1 2\n3\n1 2\n", True),
        (LINES, "1 2\n1 2\n3\n", "1 2\n3\n3\n", False),
        (LINES, "1 1 2", "1 2 2", False),
        (LINES, "1 1 2", "1 2", False),
        (LINES, "", "", True),
        (LINES, "", "1", False),
        (LINES, "0.5 1.5", "1.4999999 .5", True),
        (LINES, "0.5 1.5", "1.4999999 .6", False),
        (LINES, "a 0.5\nb 0.5\n", "b 0.5000001\na 0.4999999\n", True),
        (LINES, "a 0.5\nb 0.7\n", "b 0.5000001\na 0.7\n", False),
        (LINES, "1 1.0000001", "1.0000001 1", True),
        (LINES, "1 2.0", "2.0 1.0", False),  # an integer is met by itself only
        (LINES, "0.0 1", "1 -0.0000001", True),
        (LINES, "0.0 1", "1 -0.0", True),
        (LINES, "-0.0 0.00 1", "1 0.000 .0", True),
        (LINES, "1 0.5\n1.0000001 0.7\n", "1.0000001 0.7000001\n1 0.5000001\n", True),
        (LINES, "1 0.5\n1.0000001 0.7\n", "1.0000001 0.5000001\n1 0.7000001\n", False),
        (DEEP, "1 2\n3 4\n", "4 3\n2 1\n", True),
        (DEEP, "1 2\n3 4\n", "1 3\n2 4\n", False),
        (DEEP, "a 0.5\nb 0.7\n", "0.7000001 b\n0.5 a\n", True),
        (DEEP, "a a b\n1\n", "1\na b b\n", False),
        (DEEP, ".5 0.3\na b\n", "b a\n0.3000001 0.4999999\n", True),
    ],
)
def test_stdin_with_a_checker(checker: Checker, expected: str, actual: str, accepted: bool) -> None:
    assert (compare_stdin(expected, actual, checker) is not None) == accepted


@given(TEXTS, TEXTS)
@example("1\n2", "1\n\n2").via("lines")
@example("\n1 .5", "1 0.5000001").via("fractions")
def test_each_strategy_accepts_what_a_stricter_one_does_and_the_first_is_named(expected: str, actual: str) -> None:
    accepted = [strategy(expected, actual) for strategy in STDIN_STRATEGIES]
    assert accepted == sorted(accepted)
    first = next((s.__name__ for s, yes in zip(STDIN_STRATEGIES, accepted, strict=True) if yes), None)
    for policy in ("judge", "paper"):
        assert compare_stdin(expected, actual, None, policy) == first or (first is None and policy == "paper")
    for checker in (AnyCase(), LINES, DEEP):
        assert compare_stdin(expected, actual, checker) == first or first is None


@given(TEXTS, TEXTS, st.sampled_from([*STDIN_STRATEGIES[:4], *PAPER_STRATEGIES[2:]]))
def test_what_is_exact_up_to_a_conversion_is_symmetric(left: str, right: str, strategy: Any) -> None:
    assert strategy(left, left)
    assert strategy(left, right) == strategy(right, left)


@given(ANY_TEXT, ANY_TEXT, st.sampled_from(CHECKERS), st.sampled_from(["judge", "paper"]))
def test_no_text_raises_and_every_text_equals_itself(expected: str, actual: str, checker: Any, policy: Any) -> None:
    assert compare_stdin(expected, expected, checker, policy) == "exact"
    assert compare_stdin(expected, expected + "\n", checker, policy) in ("exact", "trailing_whitespace")
    assert compare_stdin(expected, actual, checker, policy) in (*STRATEGY_NAMES, None)
    assert compare_functional(json.dumps(expected), actual, checker, policy) in (*STRATEGY_NAMES, None)


@given(WORDS, st.randoms(use_true_random=False))
def test_white_space_never_matters_to_tokens(words, source):
    spaced = "".join(word + source.choice([" ", "\n", "\t", "\r\n", "  \n\n"]) for word in words)
    assert compare_stdin(" ".join(words), spaced) is not None


@given(WORDS, WORDS)
def test_text_without_fractions_is_accepted_only_with_the_same_tokens(expected, actual):
    expected = [word.replace(".", "") or "0" for word in expected]
    assert (compare_stdin("\n".join(expected), " ".join(actual)) is not None) == (expected == actual)


@given(st.lists(TOKENS, min_size=1, max_size=6), st.data())
def test_a_changed_token_is_rejected(words: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(words) - 1))
    other = data.draw(st.integers().map(str) | st.sampled_from(["x", "Yes?", "\x00", "nan", "1e9"]))
    changed = [*words[:place], other, *words[place + 1 :]]
    if other == words[place] or ("." in words[place] or "+" in words[place]):  # the latter is the next test's
        return
    for checker in (None, AnyCase()):
        assert compare_stdin(" ".join(words), " ".join(changed), checker) is None
    as_json, changed_json = json.dumps(words), json.dumps(changed)
    for either in CHECKERS:
        assert compare_functional(as_json, changed_json, either) is None


@given(st.floats(-1e9, 1e9), st.floats(-0.9, 0.9), st.sampled_from([1e-6, 1e-9, 1e-3]))
def test_a_fraction_is_met_within_the_tolerance(value: float, error: float, tolerance: float) -> None:
    near = value + error * tolerance * max(1.0, abs(value))
    far = value + 1.1 * tolerance * max(1.0, abs(value)) + 1e-12
    granted = None if tolerance == 1e-6 else Tolerance(tolerance, tolerance)
    expected, others = f"{value:.17f}", ["7.5", "-2e+19"]
    for answer, accepted in ((near, True), (far, False)):
        assert (compare_stdin(f"{expected}\n", f"{answer:.17f}\n", granted) is not None) == accepted
        if granted is None:  # alone, among others
            given = " ".join([f"{answer:.17f}", *reversed(others)])
            assert (compare_stdin(" ".join([expected, *others]), given, LINES) is not None) == accepted


@given(st.integers(), st.integers(), st.sampled_from([None, Tolerance(1e-3, 1e-3), AnyCase(), LINES, DEEP]))
@example(10**18, 10**18 + 1, Tolerance(1e-3, 1e-3))
def test_integers_are_equal_only_exactly(left: int, right: int, checker: Checker | None) -> None:
    for compare in (compare_stdin, compare_functional):
        assert (compare(str(left), str(right), checker) is not None) == (left == right)
        assert (compare(str(left), f" {right}\n", checker) is not None) == (left == right)


@given(st.lists(st.integers(), min_size=2, unique=True), st.integers(0, 2**32))
def test_order_matters_unless_granted(numbers, seed):
    shuffled = random.Random(seed).sample(numbers, len(numbers))
    for checker in (None, LINES):
        accepted = checker is not None or shuffled == numbers
        assert (compare_stdin(*(" ".join(map(str, x)) for x in (numbers, shuffled)), checker) is not None) == accepted
        assert (compare_functional(json.dumps(numbers), json.dumps(shuffled), checker) is not None) == accepted


@given(st.lists(st.lists(TOKENS, min_size=1, max_size=3), max_size=4), st.randoms(use_true_random=False))
def test_lines_and_tokens_in_any_order(lines: list[list[str]], source: random.Random) -> None:
    moved = source.sample(lines, len(lines))
    stirred = [source.sample(line, len(line)) for line in moved]
    expected, first, second = ("\n".join(map(" ".join, each)) for each in (lines, moved, stirred))
    assert compare_stdin(expected, first, LINES) is not None
    assert compare_stdin(expected, second, DEEP) is not None
    if lines:  # multiplicity counts
        assert compare_stdin(expected, f"{first}\n{first.split()[0]}", DEEP) is None


@pytest.mark.parametrize("compare", [compare_stdin, compare_functional])
def test_a_custom_checker_is_not_for_here(compare: Any) -> None:
    with pytest.raises(TypeError, match="sandbox"):
        compare("1", "1", Custom("def check(inp, out, exp): return True"))


# JSON


@given(JSON, st.sampled_from(CHECKERS))
def test_a_json_value_equals_itself_however_it_is_written(value: object, checker: Checker | None) -> None:
    expected = json.dumps(value)
    assert compare_functional(expected, expected, checker) == "json_equal"
    for other in (json.dumps(value, indent=1, ensure_ascii=False), json.dumps(value, separators=(",", ":"))):
        assert compare_functional(expected, other, checker) == "json_equal"


@given(JSON, JSON)
def test_different_values_are_never_equal(left: object, right: object) -> None:
    def tagged(value: object) -> object:
        if isinstance(value, list):
            return ["list", *map(tagged, value)]
        if isinstance(value, dict):
            return {key: tagged(item) for key, item in value.items()}
        return value if not isinstance(value, bool) else ("bool", value)

    same = tagged(left) == tagged(right)
    assert (compare_functional(json.dumps(left), json.dumps(right)) == "json_equal") == same
    if same or not any(character in json.dumps(left) for character in ".eE"):
        assert (compare_functional(json.dumps(left), json.dumps(right)) is not None) == same


@given(JSON, st.randoms(use_true_random=False))
def test_lists_in_any_order(value: object, source: random.Random) -> None:
    def stirred(item: object, depth: int) -> object:
        if isinstance(item, list):
            inner = [stirred(part, depth - 1) for part in item]
            return source.sample(inner, len(inner)) if depth > 0 else inner
        if isinstance(item, dict):
            return {key: stirred(item[key], depth - 1) for key in source.sample(list(item), len(item))}
        return item

    assert compare_functional(json.dumps(value), json.dumps(stirred(value, 99)), DEEP) is not None
    if isinstance(value, list):
        assert compare_functional(json.dumps(value), json.dumps(stirred(value, 1)), LINES) is not None
        if value:
            assert compare_functional(json.dumps(value), json.dumps([*value, value[0]]), DEEP) is None
            assert compare_functional(json.dumps([value, value]), json.dumps([value, [*value, 0]]), DEEP) is None


@given(st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), unique=True), st.data())
def test_fractions_in_any_order(values: list[float], data: st.DataObject) -> None:
    errors = data.draw(st.lists(st.floats(-9e-6, 9e-6), min_size=len(values), max_size=len(values)))
    near = [value + error for value, error in zip(values, errors, strict=True)]
    answer = data.draw(st.permutations(near))
    assert compare_functional(json.dumps(values), json.dumps(answer), LINES) is not None
    assert compare_functional(json.dumps([[v, "x"] for v in values]), json.dumps([["x", v] for v in answer]), DEEP)
    if answer:
        answer[0] += 0.1
        assert compare_functional(json.dumps(values), json.dumps(answer), LINES) is None


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        ("[0.1, 0.2]", "[0.1, 0.20000000000000001]", True),
        ("1.16667", "1.1666666666", True),
        ("2.0", "2", True),
        ("2", "2.0", True),
        ("2", "2.0000001", False),
        ("1", "true", False),
        ("true", "1", False),
        ("[true]", "[1.0]", False),
        ('"12"', "12", False),
        ('"a"', '"A"', False),
        ('"a"', '" a"', False),
        ("null", "0", False),
        ("null", "false", False),
        ('""', "null", False),
        ("[]", "null", False),
        ("[]", "{}", False),
        ("[1, 2]", "[2, 1]", False),
        ("[1]", "1", False),
        ("[1]", "[[1]]", False),
        ("[1, 2]", "[1]", False),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ('{"a": 1}', '{"b": 1}', False),
        ('{"1": 1}', '{"1.0": 1}', False),
        ("3", "NaN", False),
        ("1.5", "NaN", False),
        ("1.5", "Infinity", False),
        ("Infinity", "1e308", False),
        ("[NaN, Infinity]", "[NaN,Infinity]", True),
        ("1.5", "1" + "0" * 400, False),
        ("1e300", "1" + "0" * 300, True),
        ("9" * 5000, "9" * 5000 + " ", True),
        ("[" + "9" * 5000 + "]", "[" + "9" * 4999 + "8]", False),
        ("9" * 5000, "9" * 5000 + ".0", False),
        ("1e999", "9" * 5000, False),
        ("[[]]", "[" * 100_000 + "]" * 100_000, False),
        ("[" * 900 + "1.5" + "]" * 900, "[" * 900 + "1.50" + "]" * 900, True),
        ("[1]", "[" + "9" * 5000 + "," + "[" * 4000, False),
        ("1", "", False),
        ("1", "1 2", False),
        ("1", " " * 10_000 + "1", False),  # more than any writer of this value could have meant
    ],
)
def test_functional(expected: str, actual: str, accepted: bool) -> None:
    assert (compare_functional(expected, actual) is not None) == accepted


@pytest.mark.parametrize(
    ("checker", "expected", "actual", "accepted_by"),
    [
        (Tolerance(1e-3, 0), "[2, 0.5]", "[2.0001, 0.5001]", "granted_tolerance"),
        (Tolerance(1e-9, 0), "0.5", "0.500001", None),
        (Tolerance(0, 1e-3), "2000", "2001", None),
        (Tolerance(0, 1e-3), "1", "true", None),
        (Tolerance(0, 1e-3), "1", '"1"', None),
        (AnyCase(), '["Yes", 0.5]', '["YES", 0.5000001]', "granted_case"),
        (AnyCase(), '["Yes"]', '["No"]', None),
        (AnyCase(), '{"a": 1}', '{"A": 1}', None),
        (LINES, "[[1, 2], [3]]", "[[3], [1, 2]]", "granted_order"),
        (LINES, "[[1, 2], [3]]", "[[3], [2, 1]]", None),
        (LINES, '{"a": [1, 2]}', '{"a": [2, 1]}', None),
        (DEEP, '{"a": [1, 2]}', '{"a": [2, 1]}', "granted_order"),
        (DEEP, "[[1, 2], [3]]", "[[3], [2, 1]]", "granted_order"),
        (DEEP, "[[1, 2], [3]]", "[[1], [2, 3]]", None),
        (DEEP, "[1, true, null]", "[null, 1, true]", "granted_order"),
        (DEEP, "[1, 0]", "[false, true]", None),
        (DEEP, '["1", 1]', "[1, 1]", None),
        (DEEP, "[1, 2.0]", "[2, 1.0]", "granted_order"),
        (DEEP, "[1, 1.000001]", "[1.000001, 1]", "granted_order"),
        (DEEP, "[0.5, NaN]", "[NaN, 0.5]", "granted_order"),
        (DEEP, "[1.5, 1]", "[1" + "0" * 400 + ", 1.5]", None),
        (DEEP, f"[1, {'9' * 5000}]", f"[{'9' * 5000}, 1]", "granted_order"),
        (DEEP, "[" * 900 + "]" * 900, "[" * 899 + "]" * 899, None),
    ],
)
def test_functional_with_a_checker(checker: Checker, expected: str, actual: str, accepted_by: str | None) -> None:
    assert compare_functional(expected, actual, checker) == accepted_by


@pytest.mark.parametrize("expected", ["not json", "", "[1", "[" * 100_000])
def test_expected_output_must_be_json(expected: str) -> None:
    with pytest.raises(ValueError):
        compare_functional(expected, "1")


# Policy "paper"


@pytest.mark.parametrize(
    ("expected", "actual", "accepted_by"),
    [
        ("3", "3\n", "trailing_whitespace"),
        ("1000000", "1000001", "paper_allclose"),
        ("3", "+3", "paper_allclose"),
        ("1 2", "[1, 2]", "paper_containers"),
        ("1 2", "(1, 2)", "paper_containers"),
        ("0.3333", "0.3337", None),
        ("0.33333", "0.33301", "paper_rounding"),
        ("1 2\n3 4\n", "4 3\n2 1\n", "paper_line_sets"),
        ("3 2 2", "2 3", "paper_line_sets"),
        ("1 2\n3 4\n", "1 3\n2 4\n", "paper_token_set"),
        ("1 2", "1 2 3", None),
        ("YES", "yes", None),
        ("1.5", "nan", None),
        ("1", "1 " * 100_000, None),
    ],
)
def test_paper(expected: str, actual: str, accepted_by: str | None) -> None:
    assert compare_stdin(expected, actual, policy="paper") == accepted_by
    if accepted_by is not None and accepted_by.startswith("paper_"):
        assert compare_stdin(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual", "accepted_by"),
    [
        ("12", '"12"', "paper_containers"),
        ("[[1], [2]]", "[1, 2]", "paper_containers"),
        ("[1000000]", "[1000001]", "paper_containers"),
        ("[2, 1]", "[1, 2]", "paper_line_sets"),
        ("true", "1", None),
    ],
)
def test_paper_functional(expected: str, actual: str, accepted_by: str | None) -> None:
    assert compare_functional(expected, actual, policy="paper") == accepted_by
    assert compare_functional(expected, actual) is None


@given(TEXTS, TEXTS)
def test_paper_tries_its_strategies_in_order(expected: str, actual: str) -> None:
    if compare_stdin(expected, actual) is None:
        first = next((s.__name__ for s in PAPER_STRATEGIES if s(expected, actual)), None)
        assert compare_stdin(expected, actual, policy="paper") == first


# Cost


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
        ("\n".join(map(str, range(50_000))), "\n".join(map(str, range(49_999, -1, -1))), LINES),
        ("\n".join(f"{n}.5 x" for n in range(20_000)), "\n".join(f"x {n}.4999999" for n in range(20_000)), DEEP),
    ],
)
def test_time_is_not_quadratic(expected: str, actual: str, checker: Checker | None) -> None:
    began = time.process_time()
    compare_stdin(expected, actual, checker)
    assert time.process_time() - began < 2  # 0.3 at most where this was written; what is quadratic takes minutes


def test_time_is_not_quadratic_for_json() -> None:
    numbers = [n + 0.5 for n in range(20_000)]
    began = time.process_time()
    assert compare_functional(json.dumps(numbers), json.dumps([n + 1e-6 for n in reversed(numbers)]), LINES)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("compare", [compare_stdin, compare_functional])
@pytest.mark.parametrize(("expected", "flood"), [("3 4", "12 "), ("3\n4", "\n"), ("[3]", "[],"), ("3 4", "1.5 ")])
def test_a_flood_of_short_tokens_takes_little_memory(compare: Any, expected: str, flood: str) -> None:
    actual = "3" + flood * (2_000_000 // len(flood)) + "4"
    tracemalloc.start()
    try:
        for checker in CHECKERS:
            compare(json.dumps(expected) if compare is compare_functional else expected, actual, checker, "paper")
        assert tracemalloc.get_traced_memory()[1] < 4 * len(actual)
    finally:
        tracemalloc.stop()


def test_loosest():
    assert loosest(["exact", "numeric", "tokens"]) == "numeric"
    assert loosest(["json_equal"]) == "json_equal"
    assert loosest(["granted_order", "json_close"]) == "granted_order"
    assert loosest(["paper_rounding", "granted_order", "exact"]) == "paper_rounding"
    assert loosest(["custom", "custom"]) == "custom"
    assert loosest([]) is None
