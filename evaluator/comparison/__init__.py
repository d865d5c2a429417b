"""Compare answers with expected outputs by named strategies, tried from the strictest to the loosest.

A strategy accepts or rejects an answer; the name of the first that accepts it becomes part of the verdict. The idea is
from arXiv 2603.07777 (MicroCoder-GRPO), evaluator section. The paper's looser strategies accept wrong programs.
Therefore policy ``judge`` does not use them, and policy ``paper`` tries them last, under names that begin with
``paper_``. The functions here only see text: they never run or trust anything of the candidate's. They take time linear
in the text (times its logarithm if order is ignored), and keep no more of an answer in memory than the size of the
expected output justifies.

    standard output     exact > trailing_whitespace > blank_lines > tokens > numeric
    function results    json_equal > json_close
    both                > granted_tolerance | granted_case | granted_order    if the problem has such a checker
                        > paper_allclose > paper_containers > paper_rounding > paper_line_sets > paper_token_set
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from evaluator.checker import CustomChecker
from evaluator.comparison import json_values, paper, text
from evaluator.comparison.json_values import json_close, json_equal
from evaluator.comparison.paper import PAPER_STRATEGIES
from evaluator.comparison.rules import DEFAULT_RULES, ComparisonRules
from evaluator.comparison.text import blank_lines, exact, numeric, tokens, trailing_whitespace

Policy = Literal["judge", "paper"]

STDIN_STRATEGIES: tuple[Callable[[str, str], bool], ...] = (exact, trailing_whitespace, blank_lines, tokens, numeric)
FUNCTIONAL_STRATEGIES: tuple[Callable[[object, object], bool], ...] = (json_equal, json_close)
STRATEGY_NAMES: tuple[str, ...] = (
    *(strategy.__name__ for strategy in (*STDIN_STRATEGIES, *FUNCTIONAL_STRATEGIES)),
    *("granted_tolerance", "granted_case", "granted_order", "custom"),
    *(strategy.__name__ for strategy in PAPER_STRATEGIES),
)


def compare_stdin(
    expected: str, actual: str, rules: ComparisonRules = DEFAULT_RULES, policy: Policy = "judge"
) -> str | None:
    """Return the name of the strictest strategy that accepts the printed text ``actual``; None if none does.

    Both texts must be decoded so that different bytes give different texts (such as by surrogateescape). A granted
    tolerance replaces ``numeric``; checkers are tried in addition. Raises TypeError for a CustomChecker, which must run
    in a sandbox.

    >>> compare_stdin("3\\n", "3"), compare_stdin("3\\n", "4"), compare_stdin("3\\n", "3.000001", policy="paper")
    ('trailing_whitespace', None, 'paper_allclose')
    >>> from evaluator.checker import AnyCase, AnyOrder
    >>> compare_stdin("YES", "yes", ComparisonRules(checker=AnyCase()))
    'granted_case'
    >>> compare_stdin("1 2", "2 1", ComparisonRules(checker=AnyOrder(deep=False)))
    'granted_order'
    """
    _reject_custom_checker(rules)
    accepted_by = text.find_strategy(expected, actual, rules)
    if accepted_by is None and policy == "paper":
        return paper.find_strategy(expected, actual)
    return accepted_by


def compare_functional(
    expected: str, actual: str, rules: ComparisonRules = DEFAULT_RULES, policy: Policy = "judge"
) -> str | None:
    """Compare two JSON texts, results of a function, as ``compare_stdin`` does for printed texts.

    A granted tolerance replaces ``json_close``. Rejects an ``actual`` that is not JSON, or that is padded far beyond
    the length of its value. Raises ValueError if ``expected`` is not JSON (unless both texts are equal), and TypeError
    for a CustomChecker.

    >>> compare_functional("[0.3]", "[0.30000000000000004]"), compare_functional("1", "true")
    ('json_close', None)
    >>> from evaluator.checker import AnyOrder
    >>> compare_functional("[1, 2]", "[2, 1]", ComparisonRules(checker=AnyOrder(deep=False)))
    'granted_order'
    >>> compare_functional("12", '"12"', policy="paper")
    'paper_containers'
    """
    _reject_custom_checker(rules)
    if expected == actual:
        return json_equal.__name__
    pair = json_values.decode_pair(expected, actual)
    if pair is None:
        return None
    accepted_by = json_values.find_strategy(*pair, rules)
    if accepted_by is None and policy == "paper":
        return paper.find_strategy(expected, actual)
    return accepted_by


def compare_python(
    expected: str, actual: str, rules: ComparisonRules = DEFAULT_RULES, policy: Policy = "judge"
) -> str | None:
    """Compare two Python values in tagged JSON (``evaluator.inside.values``), with the equality of Python's ``==``.

    True equals 1 and 1.0, and an expected fraction matches as in ``json_close``. A granted tolerance applies to all
    values; checkers that ignore case or order apply only to JSON's own strings and lists.

    >>> compare_python("1", "true"), compare_python('{"tuple": [0.3]}', '{"tuple": [0.30000000000000004]}')
    ('json_equal', 'json_close')
    >>> compare_python('{"tuple": [1]}', "[1]"), compare_python("2", "2.0000001")
    (None, None)
    """
    _reject_custom_checker(rules)
    if expected == actual:
        return json_equal.__name__
    if not text.is_padded(expected, actual):
        pair = json_values.decode_pair(expected, actual)
        if pair is None:
            return None
        accepted_by = json_values.find_python_strategy(*pair, rules)
        if accepted_by is not None:
            return accepted_by
    if not rules.grants_anything and policy == "judge":
        return None
    return compare_functional(expected, actual, rules, policy)


def find_loosest_strategy(names: Iterable[str]) -> str | None:
    """Return the loosest of the named strategies, which must be for one kind of problem; None if there are no names.

    >>> find_loosest_strategy(["exact", "tokens", "exact"])
    'tokens'
    """
    return max(names, key=STRATEGY_NAMES.index, default=None)


def _reject_custom_checker(rules: ComparisonRules) -> None:
    if isinstance(rules.checker, CustomChecker):
        raise TypeError(
            "custom checkers cannot be compared here, because they are programs: judge with evaluator.judging"
        )
