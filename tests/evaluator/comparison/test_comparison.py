"""What holds for texts and JSON values alike."""

import doctest
import json
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import comparison
from evaluator.checker import AnyCase, Custom
from evaluator.comparison import (
    PAPER_STRATEGIES,
    STDIN_STRATEGIES,
    STRATEGY_NAMES,
    compare_functional,
    compare_stdin,
    json_values,
    loosest,
    paper,
    text,
)
from tests.evaluator.comparison.samples import ANY_TEXT, CHECKERS, LINES, TEXTS, TOKENS


@pytest.mark.parametrize("module", [comparison, text, json_values, paper])
def test_docstring_examples(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


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


@given(st.lists(TOKENS, min_size=1, max_size=6), st.data())
def test_a_changed_token_is_rejected(words: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(words) - 1))
    other = data.draw(st.integers().map(str) | st.sampled_from(["x", "Yes?", "\x00", "nan", "1e9"]))
    changed = [*words[:place], other, *words[place + 1 :]]
    if other == words[place] or ("." in words[place] or "+" in words[place]):  # for which see test_tolerance
        return
    for checker in (None, AnyCase()):
        assert compare_stdin(" ".join(words), " ".join(changed), checker) is None
    as_json = json.dumps(words)
    changed_json = json.dumps(changed)
    for either in CHECKERS:
        assert compare_functional(as_json, changed_json, either) is None


@given(st.lists(st.integers(), min_size=2, unique=True), st.integers(0, 2**32))
def test_order_matters_unless_granted(numbers, seed):
    shuffled = random.Random(seed).sample(numbers, len(numbers))
    for checker in (None, LINES):
        accepted = checker is not None or shuffled == numbers
        assert (
            compare_stdin(" ".join(map(str, numbers)), " ".join(map(str, shuffled)), checker) is not None
        ) == accepted
        assert (compare_functional(json.dumps(numbers), json.dumps(shuffled), checker) is not None) == accepted


@pytest.mark.parametrize("compare", [compare_stdin, compare_functional])
def test_a_custom_checker_is_not_for_here(compare: Any) -> None:
    with pytest.raises(TypeError, match="sandbox"):
        compare("1", "1", Custom("def check(inp, out, exp): return True"))


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
