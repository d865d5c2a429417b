"""Checkers for problems whose right programs differ only in how they write or round real numbers.

The tolerance is as small as the answers allow: the default one, or one unit of the last decimal to which a number is
rounded. Larger differences of numbers are different answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evaluator.checker import DEFAULT_TOLERANCE, parse_checker
from evaluator.comparison import compare_functional, compare_python, compare_stdin
from evaluator.comparison.grants import find_granted_tolerance
from evaluator.comparison.rules import choose_rules
from evaluator.problem import Problem

MAX_TOLERANCE = 1e-2
"""Largest tolerance that is written. Answers rounded to fewer than two decimals are too coarse for a comparison."""
_NUMBER = re.compile(r"(?<![\w.])[-+]?(\d+)(?:\.(\d*))?(?:[eE]([-+]?\d{1,3}))?(?![\w.])")


def find_float_checker(problem: Problem, rejected: Sequence[tuple[int, str]]) -> dict[str, Any] | None:
    """Return ``metadata.checker`` with the tolerance that accepts all rejected answers; None if there is none.

    A problem that has a checker, or whose statement grants a tolerance, gets none.

    Args:
        problem: the problem.
        rejected: index of a test and the answer of a right program that was rejected, at least one.
    """
    if problem.checker is not None or find_granted_tolerance(problem.question_content) is not None:
        return None
    pairs = [(problem.tests[index].output, answer) for index, answer in rejected]
    tolerance = max(_find_tolerance(expected, answer) for expected, answer in pairs)
    if tolerance > MAX_TOLERANCE:
        return None
    checker = {"type": "float", "abs": tolerance, "rel": DEFAULT_TOLERANCE}
    return checker if all(is_accepted(problem, checker, *pair) for pair in pairs) else None


def is_accepted(problem: Problem, checker: Mapping[str, Any], expected: str, answer: str) -> bool:
    """Return True if an answer is accepted with a checker that is not a program."""
    with_checker = replace(problem, checker=checker)
    values = None if problem.func_name is None else problem.values
    compare = {None: compare_stdin, "json": compare_functional, "python": compare_python}[values]
    try:
        return compare(expected, answer, choose_rules(with_checker, parse_checker(checker))) is not None
    except (ValueError, RecursionError):  # an answer that cannot be compared, as in evaluator.judging
        return False


def _find_tolerance(expected: str, answer: str) -> float:
    """Return the absolute tolerance that the difference of two outputs needs, infinite for other differences."""
    tolerance = DEFAULT_TOLERANCE
    first = list(_NUMBER.finditer(expected))
    second = list(_NUMBER.finditer(answer))
    if len(first) != len(second):
        return float("inf")
    for difference, unit in _compare_numbers(first, second):
        if difference > unit:
            return float("inf")
        tolerance = max(tolerance, unit)
    return tolerance


def _compare_numbers(first: Sequence[re.Match[str]], second: Sequence[re.Match[str]]) -> Iterator[tuple[float, float]]:
    """Yield the difference of each pair of numbers beyond the default tolerance, and the unit of the last decimal.

    The decimals are those of the less precise number.
    """
    for expected, actual in zip(first, second, strict=True):
        number = float(expected[0])
        difference = abs(number - float(actual[0]))
        if difference > DEFAULT_TOLERANCE * max(1.0, abs(number)):
            decimals = min(len(match[2] or "") - int(match[3] or 0) for match in (expected, actual))
            yield difference, 10.0 ** min(-decimals, 300)
