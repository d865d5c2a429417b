"""Examples in statements, and their comparison with tests."""

import pytest

from evaluator.problem import ProblemTest
from launch.curation.processing.examples import Example, compare_examples, extract_examples
from tests.factories import make_problem

CODEFORCES = """Add.

Input

Two integers.

Output

Their sum.

Examples

Input

1 2

Output

3

Input

5
6

Output

11
12

Note

No overflow."""
ATCODER = """Add.

Input

The input is given from Standard Input in the following format:
A B

Output

Print the sum.

Sample Input 1

1 2

Sample Output 1

3

1 + 2 = 3, therefore the answer is 3.

Sample Input 2

5 6

Sample Output 2

11"""
LEETCODE = """Add.

Example 1:

Input: nums = [3,1], text = "a, k = 2", flag = True
Output: 4
Explanation:
Input is fine.

Example 2:

**Input:** nums = [], text = "[", flag = false
**Output:** -1.5

Constraints:

1 <= nums.length"""


def make_statement(text, **changes):
    return make_problem(question_content=text, **changes)


@pytest.mark.parametrize(
    ("statement", "examples"),
    [
        (CODEFORCES, [("1 2", "3"), ("5\n6", "11\n12")]),
        (ATCODER, [("1 2", "3\n\n1 + 2 = 3, therefore the answer is 3."), ("5 6", "11")]),
        ("Add.\n\n-----Examples-----\nInput\n1 2\n\nOutput\n3\n\n", [("1 2", "3")]),
        ("Add.\n\n### Example Input:\n\n1 2\n\n### Example Output:\n\n3\n\nExplanation:\nEasy.", [("1 2", "3")]),
        ("Add.\n\nExample\n\nInput:\n1 2\n\nOutput:\n3", [("1 2", "3")]),
        ("Add.\n\nInput\n\nTwo integers.\n\nOutput\n\nTheir sum.", []),
        ("Add.\n\nSample Input\n\n1\n\nConstraints\n\nSample Output\n\n3", []),
        ("", []),
    ],
)
def test_printed_examples(statement, examples):
    extracted = extract_examples(make_statement(statement))
    assert [(example.input.strip(), example.output.strip()) for example in extracted] == examples


def test_examples_of_functions():
    examples = extract_examples(make_statement(LEETCODE, func_name="f"))
    assert examples == (Example('[3, 1]\n"a, k = 2"\ntrue', "4"), Example('[]\n"["\nfalse', "-1.5"))


def test_examples_among_the_tests_are_found_whatever_their_white_space():
    tests = (ProblemTest("5 6\n", "11 \n"), ProblemTest("7 7\n", "14\n"), ProblemTest("1 2\n", "3\n"))
    comparison = compare_examples(make_statement(ATCODER, public_tests=tests))
    assert (comparison.shown, comparison.contradictions) == (frozenset({0, 2}), ())


def test_examples_with_another_output_contradict_the_test():
    tests = (ProblemTest("1 2\n", "3\n"), ProblemTest("5\n6\n", "12\n11\n"))
    comparison = compare_examples(make_statement(CODEFORCES, public_tests=tests))
    assert comparison.shown == frozenset({0})
    assert [example.input.strip() for example in comparison.contradictions] == ["5\n6"]
    for checker in ({"type": "unordered"}, {"type": "custom", "code": "def check(inp, out, exp): return True"}):
        with_checker = compare_examples(make_statement(CODEFORCES, public_tests=tests, checker=checker))
        assert (with_checker.shown, with_checker.contradictions) == (frozenset({0, 1}), ())


def test_an_explanation_after_an_empty_output_contradicts_nothing():
    statement = "Print.\n\nSample Input 1\n\n5\n\nSample Output 1\n\nThere may be no output."
    comparison = compare_examples(make_statement(statement, public_tests=(ProblemTest("5", "\n"),)))
    assert (comparison.shown, comparison.contradictions) == (frozenset({0}), ())


def test_examples_agree_within_the_tolerance_that_the_statement_grants():
    statement = "Within an absolute or relative error of 10^-6.\n\nExample\n\nInput\n\n2\n\nOutput\n\n1.41421356"
    problem = make_statement(statement, public_tests=(ProblemTest("2", "1.414213562"),))
    assert compare_examples(problem).shown == frozenset({0})


def test_results_of_functions_are_compared_as_values():
    tests = (
        ProblemTest('[3,1]\n"a, k = 2"\ntrue', "4.0", "functional"),
        ProblemTest('[]\n"["\nfalse', "2", "functional"),
    )
    comparison = compare_examples(make_statement(LEETCODE, func_name="f", public_tests=tests))
    assert comparison.shown == frozenset({0})
    assert len(comparison.contradictions) == 1
