"""Problems of a file as a run can use them: their texts and names can be written, and their checkers work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from evaluator.checker import CustomChecker, parse_checker
from evaluator.evaluator import Evaluator
from evaluator.problem import Problem
from evaluator.sandbox import SandboxError
from evaluator.surrogates import is_unicode, replace_surrogates

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


def make_prompt_texts_unicode(problem: Problem) -> Problem:
    """Return the problem without lone surrogates in the texts that its prompt consists of."""
    return replace(
        problem,
        question_content=replace_surrogates(problem.question_content),
        starter_code=replace_surrogates(problem.starter_code),
    )
