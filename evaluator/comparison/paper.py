"""Looser comparison strategies of the evaluator of arXiv 2603.07777 (MicroCoder-GRPO), for printed and JSON texts.

They accept wrong programs, so only policy ``paper`` uses them, after all other strategies.
"""

from __future__ import annotations

from collections.abc import Callable

from evaluator.comparison.numbers import round_token
from evaluator.comparison.splitting import split_bare_tokens, split_lines, split_tokens
from evaluator.comparison.text import is_padded, match_tokens
from evaluator.comparison.tolerance import is_allclose


def paper_allclose(expected: str, actual: str) -> bool:
    """Accept equal tokens, where numbers (including integers) match within np.allclose's default tolerances.

    These are 1e-8 absolute plus 1e-5 relative.

    >>> paper_allclose("1000000", "1000001"), paper_allclose("YES 2", "YES 2.0"), paper_allclose("nan", "2")
    (True, True, False)
    """
    return match_tokens(split_tokens(expected), split_tokens(actual), is_allclose)


def paper_containers(expected: str, actual: str) -> bool:
    """Apply ``paper_allclose`` with brackets, commas and quotes as blanks, so list, tuple, set and str are all alike.

    >>> paper_containers("1 2", "(1, 2)"), paper_containers("[[1], [2]]", "[1, 2]"), paper_containers("12", '"12"')
    (True, True, True)
    """
    return match_tokens(split_bare_tokens(expected), split_bare_tokens(actual), is_allclose)


def paper_rounding(expected: str, actual: str) -> bool:
    """Accept equal tokens, ignoring brackets, commas and quotes, with numbers rounded to three decimals.

    >>> paper_rounding("0.3333", "0.333"), paper_rounding("0.5", "0.501")
    (True, False)
    """
    return match_tokens(
        split_bare_tokens(expected),
        split_bare_tokens(actual),
        lambda left, right: round_token(left) == round_token(right),
    )


def paper_line_sets(expected: str, actual: str) -> bool:
    """Accept an equal set of lines, each taken as a set of rounded tokens, so order and multiplicity are ignored.

    >>> paper_line_sets("1 2\\n3 3\\n", "3\\n2 1"), paper_line_sets("1 2\\n3\\n", "1 3\\n2")
    (True, False)
    """
    expected_set, actual_set = (
        {frozenset(map(round_token, split_bare_tokens(line))) for line in split_lines(t)} for t in (expected, actual)
    )
    return expected_set == actual_set


def paper_token_set(expected: str, actual: str) -> bool:
    """Accept an equal set of rounded tokens, so order, multiplicity and lines are ignored.

    >>> paper_token_set("1 2\\n3 3\\n", "3 2 1"), paper_token_set("1 2", "1 2 3")
    (True, False)
    """
    expected_set, actual_set = (set(map(round_token, set(split_bare_tokens(text)))) for text in (expected, actual))
    return expected_set == actual_set


PAPER_STRATEGIES: tuple[Callable[[str, str], bool], ...] = (
    paper_allclose,
    paper_containers,
    paper_rounding,
    paper_line_sets,
    paper_token_set,
)


def find_strategy(expected: str, actual: str) -> str | None:
    """Return the name of the first of ``PAPER_STRATEGIES`` that accepts ``actual``; None if none does."""
    if is_padded(expected, actual):  # splitting it could take many times its size in memory
        return None
    accepted = next((strategy.__name__ for strategy in PAPER_STRATEGIES[:3] if strategy(expected, actual)), None)
    # The loosest strategy is tried first: it is cheap and rejects most answers.
    if accepted is None and paper_token_set(expected, actual):
        return next(strategy.__name__ for strategy in PAPER_STRATEGIES[3:] if strategy(expected, actual))
    return accepted
