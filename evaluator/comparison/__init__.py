"""Whether an answer equals the expected one: named strategies, tried from the strictest to the loosest.

A strategy says yes or no; the name of the first that says yes goes into the verdict. Falling strategies are the idea of
arXiv 2603.07777 (MicroCoder-GRPO), evaluator section. Its looser ones pass wrong programs, so policy ``judge`` leaves
them out, and policy ``paper`` tries them last, each under a name of its own that begins with ``paper_``. None of these
functions runs or trusts anything of the candidate's: they see text only, take time linear in it (times its logarithm
where order is let go), and hold no more of an answer in memory than the expected one explains.

    stdin       exact > trailing_whitespace > blank_lines > tokens > numeric
    functional  json_equal > json_close
    both        > granted_tolerance | granted_case | granted_order    if the problem has such a checker
                > paper_allclose > paper_containers > paper_rounding > paper_line_sets > paper_token_set
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from evaluator.checker import Checker, Custom
from evaluator.comparison import json_values, paper, text
from evaluator.comparison.json_values import json_close, json_equal
from evaluator.comparison.paper import PAPER_STRATEGIES
from evaluator.comparison.text import blank_lines, exact, numeric, tokens, trailing_whitespace

Policy = Literal["judge", "paper"]

STDIN_STRATEGIES: tuple[Callable[[str, str], bool], ...] = (exact, trailing_whitespace, blank_lines, tokens, numeric)
FUNCTIONAL_STRATEGIES: tuple[Callable[[object, object], bool], ...] = (json_equal, json_close)
STRATEGY_NAMES: tuple[str, ...] = (
    *(strategy.__name__ for strategy in (*STDIN_STRATEGIES, *FUNCTIONAL_STRATEGIES)),
    *("granted_tolerance", "granted_case", "granted_order", "custom"),
    *(strategy.__name__ for strategy in PAPER_STRATEGIES),
)


def compare_stdin(expected: str, actual: str, checker: Checker | None = None, policy: Policy = "judge") -> str | None:
    """Name of the strictest strategy that accepts ``actual`` as printed for ``expected``, None if none does.

    Both are decoded so that no two byte strings become one text (say by surrogateescape). A Tolerance checker replaces
    ``numeric``; the other checkers add to it. Raises TypeError for a Custom checker: that one runs in a sandbox.

    >>> compare_stdin("3\\n", "3"), compare_stdin("3\\n", "4"), compare_stdin("3\\n", "3.000001", policy="paper")
    ('trailing_whitespace', None, 'paper_allclose')
    >>> from evaluator.checker import AnyCase, AnyOrder
    >>> compare_stdin("YES", "yes", AnyCase()), compare_stdin("1 2", "2 1", AnyOrder(deep=False))
    ('granted_case', 'granted_order')
    """
    _refuse_custom(checker)
    accepted_by = text.find_strategy(expected, actual, checker)
    if accepted_by is None and policy == "paper":
        return paper.find_strategy(expected, actual)
    return accepted_by


def compare_functional(
    expected: str, actual: str, checker: Checker | None = None, policy: Policy = "judge"
) -> str | None:
    """Like ``compare_stdin`` for two JSON texts, as returned by a function.

    A Tolerance checker replaces ``json_close``. Raises ValueError when ``expected`` is not JSON (unless both are the
    same text), and TypeError for a Custom checker. An ``actual`` that is not JSON, or padded far beyond what the same
    value can take, is not accepted.

    >>> compare_functional("[0.3]", "[0.30000000000000004]"), compare_functional("1", "true")
    ('json_close', None)
    >>> from evaluator.checker import AnyOrder
    >>> compare_functional("[1, 2]", "[2, 1]", AnyOrder(deep=False)), compare_functional("12", '"12"', policy="paper")
    ('granted_order', 'paper_containers')
    """
    _refuse_custom(checker)
    if expected == actual:
        return json_equal.__name__
    pair = json_values.decode_pair(expected, actual)
    if pair is None:
        return None
    accepted_by = json_values.find_strategy(*pair, checker)
    if accepted_by is None and policy == "paper":
        return paper.find_strategy(expected, actual)
    return accepted_by


def compare_python(expected: str, actual: str, checker: Checker | None = None, policy: Policy = "judge") -> str | None:
    """Like ``compare_functional`` for two values of Python in tagged JSON (``evaluator.inside.values``), as == has it.

    There True is 1 and 1.0; an expected fraction is met within 1e-6, absolute or relative. Of checkers, Tolerance
    applies; case and order are let go as far as JSON's own strings and lists go.

    >>> compare_python("1", "true"), compare_python('{"tuple": [0.3]}', '{"tuple": [0.30000000000000004]}')
    ('json_equal', 'json_close')
    >>> compare_python('{"tuple": [1]}', "[1]"), compare_python("2", "2.0000001")
    (None, None)
    """
    _refuse_custom(checker)
    if expected == actual:
        return json_equal.__name__
    if not text.is_padded(expected, actual):
        pair = json_values.decode_pair(expected, actual)
        if pair is None:
            return None
        accepted_by = json_values.find_python_strategy(*pair, checker)
        if accepted_by is not None:
            return accepted_by
    return None if checker is None and policy == "judge" else compare_functional(expected, actual, checker, policy)


def loosest(names: Iterable[str]) -> str | None:
    """The loosest of some strategies' names (all of one kind of problem), None of none.

    >>> loosest(["exact", "tokens", "exact"])
    'tokens'
    """
    return max(names, key=STRATEGY_NAMES.index, default=None)


def _refuse_custom(checker: Checker | None) -> None:
    if isinstance(checker, Custom):
        raise TypeError("a custom checker is a program: run it in a sandbox")
