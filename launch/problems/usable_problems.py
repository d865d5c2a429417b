"""Selection of the problems of a file that a run can use: their names can be written, and their checkers work."""

from __future__ import annotations

import os
from collections.abc import Sequence

from evaluator.checker import CustomChecker, parse_checker
from evaluator.evaluator import Evaluator
from evaluator.problem import Problem
from evaluator.sandbox import SandboxError

NAMES = ("question_id", "platform", "difficulty", "contest_date")
"""Texts of a problem that are written to Parquet files and logs, which hold UTF-8 only."""


def find_unusable_problems(problems: Sequence[Problem]) -> tuple[dict[str, str], str]:
    """Find the problems that a run cannot use.

    Returns:
        The reasons by question id, and a message, often empty, about checkers that could not be tried on this machine.
    """
    unusable = {}
    for problem in problems:
        bad = [name for name in NAMES if not is_unicode(getattr(problem, name) or "")]
        if bad:
            unusable[problem.question_id] = f"{bad[0]}: not Unicode, since it has a lone surrogate"
    checked = [problem for problem in problems if isinstance(parse_checker(problem.checker), CustomChecker)]
    if not checked:
        return unusable, ""
    with Evaluator(workers=len(os.sched_getaffinity(0))) as evaluator:
        try:
            _ = evaluator.missing  # fail here if no sandbox starts, not for each problem
        except SandboxError as error:
            return unusable, f"{len(checked)} custom checkers were not tried: the sandbox does not start here: {error}"
        return evaluator.find_broken_checkers(checked) | unusable, ""


def is_unicode(text: str) -> bool:
    """Return True if the text has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
