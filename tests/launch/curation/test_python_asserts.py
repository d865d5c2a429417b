"""Functional tests from published asserts."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.problem import ProblemError
from launch.curation.sources.python_asserts import parse_asserts

STARTER = "class Solution:\n    def f(self, a: int, b: List[int] = []) -> int:\n        "


def parse(*asserts, starter=STARTER):
    source = "def check(candidate):\n" + "".join(f"    {line}\n" for line in asserts) + "\n\ncheck(Solution().f)\n"
    return parse_asserts(source, starter, "f")


@pytest.mark.parametrize(
    ("line", "arguments", "result"),
    [
        ("assert candidate(a = 1, b = [2]) == 3", "1\n[2]", "3"),
        ("assert candidate(1, [2]) == 3", "1\n[2]", "3"),
        ("assert candidate(b = [2], a = -1) == -inf", "-1\n[2]", "-Infinity"),
        ('assert candidate(a = "8") == "8"', '"8"', '"8"'),
        ("assert candidate(a = 8) == 8.0", "8", "8.0"),
        ("assert candidate(a = (1, None)) == [True, inf]", "[1, null]", "[true, Infinity]"),
        ("assert candidate(a = tree_node([5, None, 6])) == 3", "[5, null, 6]", "3"),
        ("assert is_same_list(candidate(a = list_node([1])), list_node([2]))", "[1]", "[2]"),
        ("assert is_same_tree(candidate(a = tree_node([])), tree_node([]))", "[]", "[]"),
        ("assert candidate(a = float('inf')) == 0", "Infinity", "0"),
    ],
)
def test_asserts_become_tests(line, arguments, result):
    (test,) = parse(line).tests
    assert (test.input, test.output, test.testtype) == (arguments, result, "functional")


@pytest.mark.parametrize(
    "line",
    [
        "assert candidate(a = 1) != 2",
        "assert candidate(a = 1) in [2, 3]",
        "assert sorted(candidate(a = 1)) == [2]",
        "assert abs(candidate(a = 1) - 2) < 1e-5",
        "assert candidate(c = 1) == 2",
        "assert candidate(b = [1]) == 2",
        "assert candidate(1, [2], 3) == 2",
        "assert candidate(a = 1, **{}) == 2",
        "assert candidate(a = open('x')) == 2",
        "assert candidate(a = {1, 2}) == 2",
        "assert other(a = 1) == 2",
    ],
)
def test_other_asserts_are_dropped_and_listed(line):
    tests = parse("assert candidate(a = 1) == 2", line)
    assert len(tests.tests) == len(tests.dropped) == 1
    with pytest.raises(ProblemError, match="no assert can be a test, of 1, the first: "):
        parse(line)


@pytest.mark.parametrize(
    ("source", "starter"), [("def check(", STARTER), ("x = 1", STARTER), ("assert candidate(1) == 1", "def g(a):")]
)
def test_unusable_test_code_is_reported(source, starter):
    with pytest.raises(ProblemError):
        parse_asserts(source, starter, "f")


def test_arguments_of_a_plain_function():
    assert parse("assert candidate(y = 1, x = 2) == 3", starter="def f(x, y):\n").tests[0].input == "2\n1"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(), items, max_size=3),
    max_leaves=10,
)


@given(JSON_VALUES, JSON_VALUES)
def test_every_value_survives(argument, result):
    (test,) = parse(f"assert candidate(a = {argument!r}) == {result!r}").tests
    assert json.loads(test.input) == argument
    assert json.loads(test.output) == result


def test_nan_is_a_result():
    assert math.isnan(json.loads(parse("assert candidate(a = 1) == nan").tests[0].output))
