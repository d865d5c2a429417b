import doctest
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import comparison
from evaluator.comparison import compare_functional, compare_stdin, loosest

WORDS = st.lists(st.text("abcXYZ019#._-", min_size=1, max_size=6), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def test_docstring_examples():
    assert doctest.testmod(comparison).failed == 0


@pytest.mark.parametrize(
    ("expected", "actual", "accepted_by"),
    [
        ("3\n", "3\n", "exact"),
        ("3\n", "3", "trailing_whitespace"),
        ("1\n2\n", "1  \r\n2\t\n\n\n", "trailing_whitespace"),
        ("1\n2\n", "\n1\n\n2\n", "blank_lines"),
        ("1 2\n", "1\t2\n", "tokens"),
        ("0.5\n", "0.4999999\n", "numeric"),
        ("1e-7\n", "0.0000001\n", "numeric"),
        ("", "", "exact"),
        ("\n", "", "trailing_whitespace"),
        ("", "x", None),
        ("1000\n", "1_000\n", None),
        ("1000\n", "1e3\n", None),
        ("1000000000000000001\n", "1e18\n", None),
        ("3\n", "\uff13\n", None),
        ("3\n", "\x1b[31m3\x1b[0m\n", None),
        ("1 2\n", "1\xa02\n", None),
        ("1.5\n", "nan\n", None),
        ("1.5\n", "inf\n", None),
        ("1.5\n", "1.5001\n", None),
        ("true\n", "True\n", None),
        ("1\n2\n", "1\n2\n2\n", None),
        ("1\n2\n", "1\n", None),
        ("1.0\n", "9" * 5000, None),
        ("9" * 5000, "9" * 5000 + "\n", "trailing_whitespace"),
    ],
)
def test_stdin(expected, actual, accepted_by):
    assert compare_stdin(expected, actual) == accepted_by


@given(WORDS, st.randoms(use_true_random=False))
def test_white_space_never_matters_to_tokens(words, source):
    spaced = "".join(word + source.choice([" ", "\n", "\t", "\r\n", "  \n\n"]) for word in words)
    assert compare_stdin(" ".join(words), spaced) is not None


@given(WORDS, WORDS)
def test_text_without_fractions_is_accepted_only_with_the_same_tokens(expected, actual):
    expected = [word.replace(".", "") or "0" for word in expected]
    assert (compare_stdin("\n".join(expected), " ".join(actual)) is not None) == (expected == actual)


@given(st.lists(st.integers(), min_size=2, unique=True), st.integers(0, 2**32))
def test_order_always_matters(numbers, seed):
    shuffled = random.Random(seed).sample(numbers, len(numbers))
    accepted = compare_stdin(" ".join(map(str, numbers)), " ".join(map(str, shuffled))) is not None
    assert accepted == (shuffled == numbers)
    assert (compare_functional(json.dumps(numbers), json.dumps(shuffled)) is not None) == (shuffled == numbers)


@given(st.floats(-1e9, 1e9), st.floats(-0.9e-6, 0.9e-6))
def test_a_fraction_is_met_within_a_millionth(value, error):
    near = value + error * max(1.0, abs(value))
    assert compare_stdin(f"{value!r}\n", f"{near!r}\n") is not None
    far = value + 1.1e-6 * max(1.0, abs(value)) + 1e-12
    assert compare_stdin(f"{value!r}\n", f"{far!r}\n") is None


@given(JSON)
def test_a_json_value_equals_itself(value):
    assert compare_functional(json.dumps(value), json.dumps(value)) == "json_equal"


@given(JSON, JSON)
def test_different_kinds_are_never_equal(left, right):
    if json.dumps(left) == json.dumps(right) or isinstance(left, float) or isinstance(right, float):
        return
    if not isinstance(left, list | dict) and not isinstance(right, list | dict):
        assert compare_functional(json.dumps(left), json.dumps(right)) is None


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
        ('"12"', "12", False),
        ("null", "0", False),
        ("[]", "null", False),
        ("[1, 2]", "[2, 1]", False),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ("3", "NaN", False),
        ("1.5", "Infinity", False),
        ("1.5", "1" + "0" * 400, False),
        ("[[]]", "[" * 100_000 + "]" * 100_000, False),
        ("1", "", False),
    ],
)
def test_functional(expected, actual, accepted):
    assert (compare_functional(expected, actual) is not None) == accepted


def test_expected_output_must_be_json():
    with pytest.raises(ValueError):
        compare_functional("not json", "1")


def test_loosest():
    assert loosest(["exact", "numeric", "tokens"]) == "numeric"
    assert loosest(["json_equal"]) == "json_equal"
    assert loosest([]) is None
