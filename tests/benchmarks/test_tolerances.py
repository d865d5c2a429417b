"""Reading of real problems for the table of tolerances, on invented rows in the same formats."""

import json

import pytest

from benchmarks.tolerances import (
    Source,
    build_function_set,
    build_stdin_set,
    find_source,
    has_fraction,
    list_programs,
    read_asserted_calls,
)

GRANT = "Your answer is accepted if its absolute or relative error is at most 1e-6."


@pytest.mark.parametrize(
    "row",
    [
        {"problem": GRANT, "tests": json.dumps([{"input": "1", "output": "0.5"}])},
        {"problem": GRANT, "tests": json.dumps({"inputs": ["1"], "outputs": ["0.5"]})},
        {"problem": GRANT, "test": json.dumps([{"input": {"stdin": "1"}, "output": {"stdout": "0.5"}}])},
    ],
)
def test_every_layout_of_tests_for_standard_input_is_read(row):
    (problem,) = build_stdin_set("set", [row], "problem").problems
    assert [(test.input, test.output) for test in problem.tests] == [("1", "0.5")]
    assert has_fraction(problem)
    assert find_source(problem) is Source.EITHER


def test_asserted_calls_are_read():
    source = """
def check(candidate):
    assert candidate(nums = [1, 2], k = 2) == [0.5]
    assert abs(candidate(3.5) - 0.5) < 1e-6
    assert candidate({1, 2}) == 1
    assert candidate(1) == 2 + x
    assert candidate(1)
"""
    assert [(test.input, test.output) for test in read_asserted_calls(source)] == [
        ("[1, 2]\n2", "[0.5]"),
        ("3.5", "0.5"),
    ]


@pytest.mark.parametrize(
    ("statement", "source"),
    [
        ("Return the mean.", Source.FUNCTION),
        ("Answers within 10^-5 of the actual answer will be accepted.", Source.ABSOLUTE),
        ("The relative error of the answer must be at most 1e-6.", Source.RELATIVE),
    ],
)
def test_function_problems_have_programs_where_the_row_has_a_reference(statement, source):
    tests = "def check(candidate):\n    assert candidate(a = 1) == {}\n\ncheck(Solution().mean)"
    rows = [
        {"problem": statement, "tests": {"functional": tests.format(value)}, "solutions": "class Solution: ..."}
        for value in ("0.5", "[2]")
    ]
    problem_set = build_function_set("set", rows, "problem")
    fractional, whole = problem_set.problems
    assert fractional.func_name == "mean"
    assert has_fraction(fractional) and not has_fraction(whole)
    assert find_source(fractional) is source
    assert list_programs(problem_set) == [(fractional, "class Solution: ...")]
