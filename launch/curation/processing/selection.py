"""Selection of tests: each input once, within limits of number and size, the longest inputs first."""

from __future__ import annotations

from collections.abc import Sequence

from evaluator.comparison import compare_functional, compare_stdin
from evaluator.comparison.rules import ComparisonRules
from evaluator.problem import ProblemTest

MAX_TEST_CHARS = 16 << 20
"""Characters of a test, input and output together: above nearly every published one."""
MAX_TESTS_CHARS = 32 << 20
"""Characters of a problem's tests together: each worker of an evaluator holds several copies."""


def remove_repeated(tests: Sequence[ProblemTest], rules: ComparisonRules) -> tuple[list[int], list[int]]:
    """Find the tests whose input is that of an earlier test, but for line ends after it.

    Returns:
        The indices of the tests to keep, and those of tests that contradict an earlier one: another output is expected
        for the same input.
    """
    first: dict[str, int] = {}
    contradicting = []
    for index, test in enumerate(tests):
        earlier = first.setdefault(test.input.rstrip("\r\n"), index)
        if earlier != index and not _expects_same(tests[earlier], test, rules):
            contradicting.append(index)
    return list(first.values()), contradicting


def describe_too_large(tests: Sequence[ProblemTest]) -> list[str]:
    """Return for each test beyond ``MAX_TEST_CHARS`` its index and its size."""
    sizes = [len(test.input) + len(test.output) for test in tests]
    return [
        f"test {index} of the source: {size} characters; the limit is {MAX_TEST_CHARS}"
        for index, size in enumerate(sizes)
        if size > MAX_TEST_CHARS
    ]


def select_longest(tests: Sequence[ProblemTest], indices: Sequence[int], max_tests: int) -> list[int]:
    """Return the indices of the tests with the longest inputs, in their order, within the limits of size.

    Of equally long inputs the earlier ones are selected.
    """
    selected: list[int] = []
    total = 0
    for index in sorted(indices, key=lambda index: (-len(tests[index].input), index)):
        size = len(tests[index].input) + len(tests[index].output)
        if len(selected) < max_tests and size <= MAX_TEST_CHARS and total + size <= MAX_TESTS_CHARS:
            selected.append(index)
            total += size
    return sorted(selected)


def _expects_same(first: ProblemTest, second: ProblemTest, rules: ComparisonRules) -> bool:
    if first.output == second.output:
        return True
    compare = compare_functional if first.testtype == "functional" else compare_stdin
    return compare(first.output, second.output, rules) is not None
