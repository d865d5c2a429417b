"""The looser conversions of the evaluator of arXiv 2603.07777 (MicroCoder-GRPO), on texts of either kind.

They pass wrong programs, so only policy ``paper`` tries them, after all others.
"""

from __future__ import annotations

from collections.abc import Callable

from evaluator.comparison.numbers import rounded
from evaluator.comparison.text import bare_tokens, is_padded, same_tokens, split_lines, split_tokens
from evaluator.comparison.tolerance import is_allclose


def paper_allclose(expected: str, actual: str) -> bool:
    """The same tokens, where numbers, integers too, are met within 1e-8 + 1e-5 relative (the defaults of np.allclose).

    >>> paper_allclose("1000000", "1000001"), paper_allclose("YES 2", "YES 2.0"), paper_allclose("nan", "2")
    (True, True, False)
    """
    return same_tokens(split_tokens(expected), split_tokens(actual), is_allclose)


def paper_containers(expected: str, actual: str) -> bool:
    """As ``paper_allclose``, once brackets, commas and quotes are taken as blanks: list, tuple, set and str are alike.

    >>> paper_containers("1 2", "(1, 2)"), paper_containers("[[1], [2]]", "[1, 2]"), paper_containers("12", '"12"')
    (True, True, True)
    """
    return same_tokens(bare_tokens(expected), bare_tokens(actual), is_allclose)


def paper_rounding(expected: str, actual: str) -> bool:
    """The same tokens without brackets, commas and quotes, numbers rounded to three digits after the point.

    >>> paper_rounding("0.3333", "0.333"), paper_rounding("0.5", "0.501")
    (True, False)
    """
    return same_tokens(bare_tokens(expected), bare_tokens(actual), lambda left, right: rounded(left) == rounded(right))


def paper_line_sets(expected: str, actual: str) -> bool:
    """The same set of lines, each taken as the set of its rounded tokens: order and multiplicity are lost.

    >>> paper_line_sets("1 2\\n3 3\\n", "3\\n2 1"), paper_line_sets("1 2\\n3\\n", "1 3\\n2")
    (True, False)
    """
    wanted, given = (
        {frozenset(map(rounded, bare_tokens(line))) for line in split_lines(t)} for t in (expected, actual)
    )
    return wanted == given


def paper_token_set(expected: str, actual: str) -> bool:
    """The same set of rounded tokens: order, multiplicity and lines are lost.

    >>> paper_token_set("1 2\\n3 3\\n", "3 2 1"), paper_token_set("1 2", "1 2 3")
    (True, False)
    """
    wanted, given = (set(map(rounded, set(bare_tokens(text)))) for text in (expected, actual))
    return wanted == given


PAPER_STRATEGIES: tuple[Callable[[str, str], bool], ...] = (
    paper_allclose,
    paper_containers,
    paper_rounding,
    paper_line_sets,
    paper_token_set,
)


def find_strategy(expected: str, actual: str) -> str | None:
    """Name of the first of ``PAPER_STRATEGIES`` that accepts ``actual``, None if none does."""
    if is_padded(expected, actual):  # splitting it up could take many times its size
        return None
    accepted = next((strategy.__name__ for strategy in PAPER_STRATEGIES[:3] if strategy(expected, actual)), None)
    if accepted is None and paper_token_set(expected, actual):  # the loosest first: it is cheap, and mostly says no
        return next(strategy.__name__ for strategy in PAPER_STRATEGIES[3:] if strategy(expected, actual))
    return accepted
