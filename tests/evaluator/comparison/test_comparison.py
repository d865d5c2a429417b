"""Comparison of answers: properties shared by texts and JSON values."""

import doctest
import json
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import comparison, json_text
from evaluator.checker import AnyCase, CustomChecker
from evaluator.comparison import (
    PAPER_STRATEGIES,
    STDIN_STRATEGIES,
    STRATEGY_NAMES,
    compare_functional,
    compare_stdin,
    find_loosest_strategy,
    grants,
    json_values,
    paper,
    places,
    text,
)
from tests.evaluator.comparison.strategies import ANY_ORDER, ANY_TEXT, CHECKERS, RULES, TEXTS, TOKENS, make_rules


@pytest.mark.parametrize(
    "module", [comparison, text, json_values, json_text, paper, grants, places, comparison.numbers]
)
def test_docstring_examples_pass(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@given(TEXTS, TEXTS, st.sampled_from([*STDIN_STRATEGIES[:4], *PAPER_STRATEGIES[2:]]))
def test_exact_strategies_are_symmetric(left: str, right: str, strategy: Any) -> None:
    assert strategy(left, left)
    assert strategy(left, right) == strategy(right, left)


@given(ANY_TEXT, ANY_TEXT, st.sampled_from(RULES), st.sampled_from(["judge", "paper"]))
def test_any_text_can_be_compared_and_equals_itself(expected: str, actual: str, rules: Any, policy: Any) -> None:
    assert compare_stdin(expected, expected, rules, policy) == "exact"
    assert compare_stdin(expected, expected + "\n", rules, policy) in ("exact", "trailing_whitespace")
    assert compare_stdin(expected, actual, rules, policy) in (*STRATEGY_NAMES, None)
    assert compare_functional(json.dumps(expected), actual, rules, policy) in (*STRATEGY_NAMES, None)


@given(st.lists(TOKENS, min_size=1, max_size=6), st.data())
def test_changed_token_is_rejected(words: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(words) - 1))
    other = data.draw(st.integers().map(str) | st.sampled_from(["x", "Yes?", "\x00", "nan", "1e9"]))
    changed = [*words[:place], other, *words[place + 1 :]]
    # Tolerances of fractions are tested in test_tolerance.py.
    if other == words[place] or ("." in words[place] or "+" in words[place]):
        return
    for text_checker in (None, AnyCase()):
        assert compare_stdin(" ".join(words), " ".join(changed), make_rules(text_checker)) is None
    as_json = json.dumps(words)
    changed_json = json.dumps(changed)
    for checker in CHECKERS:
        assert compare_functional(as_json, changed_json, make_rules(checker)) is None


@given(st.lists(st.integers(), min_size=2, unique=True), st.integers(0, 2**32))
def test_order_matters_unless_the_checker_permits_any_order(numbers, seed):
    shuffled = random.Random(seed).sample(numbers, len(numbers))
    for checker in (None, ANY_ORDER):
        accepted = checker is not None or shuffled == numbers
        assert (
            compare_stdin(" ".join(map(str, numbers)), " ".join(map(str, shuffled)), make_rules(checker)) is not None
        ) == accepted
        assert (
            compare_functional(json.dumps(numbers), json.dumps(shuffled), make_rules(checker)) is not None
        ) == accepted


@pytest.mark.parametrize("compare", [compare_stdin, compare_functional])
def test_custom_checker_raises_type_error(compare: Any) -> None:
    with pytest.raises(TypeError, match="they are programs"):
        compare("1", "1", make_rules(CustomChecker("def check(inp, out, exp): return True")))


@pytest.mark.parametrize("compare", [compare_stdin, compare_functional])
@pytest.mark.parametrize(("expected", "filler"), [("3 4", "12 "), ("3\n4", "\n"), ("[3]", "[],"), ("3 4", "1.5 ")])
def test_many_short_tokens_need_little_memory(compare: Any, expected: str, filler: str) -> None:
    actual = "3" + filler * (2_000_000 // len(filler)) + "4"
    tracemalloc.start()
    try:
        for rules in RULES:
            compare(json.dumps(expected) if compare is compare_functional else expected, actual, rules, "paper")
        assert tracemalloc.get_traced_memory()[1] < 4 * len(actual)
    finally:
        tracemalloc.stop()


def test_find_loosest_strategy_returns_the_loosest_name():
    assert find_loosest_strategy(["exact", "numeric", "tokens"]) == "numeric"
    assert find_loosest_strategy(["json_equal"]) == "json_equal"
    assert find_loosest_strategy(["granted_order", "json_close"]) == "granted_order"
    assert find_loosest_strategy(["paper_rounding", "granted_order", "exact"]) == "paper_rounding"
    assert find_loosest_strategy(["custom", "custom"]) == "custom"
    assert find_loosest_strategy([]) is None
