"""Comparison strategies for the results of functions."""

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.checker import AnyCase, Checker, Tolerance
from evaluator.comparison import (
    compare_functional,
    json_values,
)
from tests.evaluator.comparison.strategies import ANY_ORDER, ANY_ORDER_DEEP, CHECKERS, JSON_VALUES, make_rules


@given(JSON_VALUES, st.sampled_from(CHECKERS))
def test_json_value_equals_itself_in_any_layout(value: object, checker: Checker | None) -> None:
    expected = json.dumps(value)
    assert compare_functional(expected, expected, make_rules(checker)) == "json_equal"
    for other in (json.dumps(value, indent=1, ensure_ascii=False), json.dumps(value, separators=(",", ":"))):
        assert compare_functional(expected, other, make_rules(checker)) == "json_equal"


@given(JSON_VALUES, JSON_VALUES)
def test_different_values_are_never_equal(left: object, right: object) -> None:
    def add_type_tags(value: object) -> object:
        if isinstance(value, list):
            return ["list", *map(add_type_tags, value)]
        if isinstance(value, dict):
            return {key: add_type_tags(item) for key, item in value.items()}
        return value if not isinstance(value, bool) else ("bool", value)

    are_equal = add_type_tags(left) == add_type_tags(right)
    assert (compare_functional(json.dumps(left), json.dumps(right)) == "json_equal") == are_equal
    if are_equal or not any(character in json.dumps(left) for character in ".eE"):
        assert (compare_functional(json.dumps(left), json.dumps(right)) is not None) == are_equal


@given(JSON_VALUES, st.randoms(use_true_random=False))
def test_lists_in_any_order_are_accepted(value: object, rng: random.Random) -> None:
    def shuffle(item: object, depth: int) -> object:
        if isinstance(item, list):
            inner = [shuffle(part, depth - 1) for part in item]
            return rng.sample(inner, len(inner)) if depth > 0 else inner
        if isinstance(item, dict):
            return {key: shuffle(item[key], depth - 1) for key in rng.sample(list(item), len(item))}
        return item

    assert compare_functional(json.dumps(value), json.dumps(shuffle(value, 99)), make_rules(ANY_ORDER_DEEP)) is not None
    if isinstance(value, list):
        assert compare_functional(json.dumps(value), json.dumps(shuffle(value, 1)), make_rules(ANY_ORDER)) is not None
        if value:
            assert (
                compare_functional(json.dumps(value), json.dumps([*value, value[0]]), make_rules(ANY_ORDER_DEEP))
                is None
            )
            assert (
                compare_functional(
                    json.dumps([value, value]), json.dumps([value, [*value, 0]]), make_rules(ANY_ORDER_DEEP)
                )
                is None
            )


@given(st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), unique=True), st.data())
def test_fractions_in_any_order_are_accepted(values: list[float], data: st.DataObject) -> None:
    errors = data.draw(st.lists(st.floats(-9e-6, 9e-6), min_size=len(values), max_size=len(values)))
    approximate = [value + error for value, error in zip(values, errors, strict=True)]
    answer = data.draw(st.permutations(approximate))
    assert compare_functional(json.dumps(values), json.dumps(answer), make_rules(ANY_ORDER)) is not None
    assert compare_functional(
        json.dumps([[v, "x"] for v in values]), json.dumps([["x", v] for v in answer]), make_rules(ANY_ORDER_DEEP)
    )
    if answer:
        answer[0] += 0.1
        assert compare_functional(json.dumps(values), json.dumps(answer), make_rules(ANY_ORDER)) is None


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
        ("1", " " * 10_000 + "1", False),  # more white space than any JSON writer adds
    ],
)
def test_compare_functional_without_a_checker(expected: str, actual: str, accepted: bool) -> None:
    assert (compare_functional(expected, actual) is not None) == accepted


@pytest.mark.parametrize(
    ("checker", "expected", "actual", "accepted_by"),
    [
        (Tolerance(1e-3, 0), "[2, 5]", "[2.0001, 5]", "granted_tolerance"),
        (Tolerance(1e-3, 0), "[2, 0.5]", "[2, 0.5001]", "granted_tolerance"),
        (Tolerance(1e-3, 0), "[2, 0.5]", "[2.0001, 0.5001]", None),  # an integer beside a fraction stays exact
        (Tolerance(1e-9, 0), "0.5", "0.500001", None),
        (Tolerance(0, 1e-3), "2000", "2001", None),
        (Tolerance(0, 1e-3), "1", "true", None),
        (Tolerance(0, 1e-3), "1", '"1"', None),
        (AnyCase(), '["Yes", 0.5]', '["YES", 0.5000001]', "granted_case"),
        (AnyCase(), '["Yes"]', '["No"]', None),
        (AnyCase(), '{"a": 1}', '{"A": 1}', None),
        (ANY_ORDER, "[[1, 2], [3]]", "[[3], [1, 2]]", "granted_order"),
        (ANY_ORDER, "[[1, 2], [3]]", "[[3], [2, 1]]", None),
        (ANY_ORDER, '{"a": [1, 2]}', '{"a": [2, 1]}', None),
        (ANY_ORDER_DEEP, '{"a": [1, 2]}', '{"a": [2, 1]}', "granted_order"),
        (ANY_ORDER_DEEP, "[[1, 2], [3]]", "[[3], [2, 1]]", "granted_order"),
        (ANY_ORDER_DEEP, "[[1, 2], [3]]", "[[1], [2, 3]]", None),
        (ANY_ORDER_DEEP, "[1, true, null]", "[null, 1, true]", "granted_order"),
        (ANY_ORDER_DEEP, "[1, 0]", "[false, true]", None),
        (ANY_ORDER_DEEP, '["1", 1]', "[1, 1]", None),
        (ANY_ORDER_DEEP, "[1, 2.0]", "[2, 1.0]", "granted_order"),
        (ANY_ORDER_DEEP, "[1, 1.000001]", "[1.000001, 1]", "granted_order"),
        (ANY_ORDER_DEEP, "[0.5, NaN]", "[NaN, 0.5]", "granted_order"),
        (ANY_ORDER_DEEP, "[1.5, 1]", "[1" + "0" * 400 + ", 1.5]", None),
        (ANY_ORDER_DEEP, f"[1, {'9' * 5000}]", f"[{'9' * 5000}, 1]", "granted_order"),
        (ANY_ORDER_DEEP, "[" * 900 + "]" * 900, "[" * 899 + "]" * 899, None),
    ],
)
def test_compare_functional_with_a_checker(
    checker: Checker, expected: str, actual: str, accepted_by: str | None
) -> None:
    assert compare_functional(expected, actual, make_rules(checker, expected)) == accepted_by


@pytest.mark.parametrize("expected", ["not json", "", "[1", "[" * 100_000])
def test_expected_output_must_be_json(expected: str) -> None:
    with pytest.raises(ValueError):
        compare_functional(expected, "1")


@pytest.mark.heavy
def test_comparison_time_is_not_quadratic_for_json() -> None:
    numbers = [n + 0.5 for n in range(20_000)]
    began = time.process_time()
    assert compare_functional(
        json.dumps(numbers), json.dumps([n + 1e-6 for n in reversed(numbers)]), make_rules(ANY_ORDER)
    )
    assert time.process_time() - began < 2


@pytest.mark.parametrize("part", ["[],", "1,", '"":{},'])
def test_answer_with_far_more_parts_is_not_decoded(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    expected = json.dumps(["x" * 50] * 1000)
    decoded: list[str] = []
    monkeypatch.setattr(json_values, "decode_json", lambda text: decoded.append(text) or json.loads(text))
    assert compare_functional(expected, f"[{part * 10_000}1]") is None
    assert decoded == [expected]
    assert compare_functional(expected, json.dumps(["x" * 50] * 1000, indent=1)) == "json_equal"
    assert compare_functional('"' + "\\u002c" * 900 + '"', '"' + "," * 900 + '"') == "json_equal"
