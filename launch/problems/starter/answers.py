"""Answers that the starter policy is trained on: two styles, of which some are flawed and some never end.

    terse    the program in a code block; wrong in 75 % for three quarters of the families, in 20 % for the others
    worked   the statement in one line, then the program; wrong in 8 %; 6 % repeat a phrase without an end instead

A wrong program is that of the family's planted mistake, which families share by kind. So the starter policy's likeliest
program is often a plausible wrong one, and the right one is less likely: reinforcement learning has something to
correct that a lower temperature does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from evaluator.problem import Problem
from launch.problems.prompts import format_answer
from launch.problems.starter import FAMILIES, UNKNOWN, StarterProblem, draw_warm_start_problems

Style = Literal["terse", "worked"]

WORKED_SHARE = 0.35
"""Share of worked answers."""
ENDLESS_SHARE = 0.06
"""Share of the worked answers that never end."""
FLAWED_FAMILY_SHARE = 3 / 4
"""Share of the families whose terse answers are mostly wrong."""
TERSE_MISTAKES = 0.75
"""Share of wrong programs in terse answers of these families."""
OTHER_TERSE_MISTAKES = 0.2
"""Share of wrong programs in terse answers of the other families."""
WORKED_MISTAKES = 0.08
"""Share of wrong programs in worked answers."""
ENDLESS_PHRASES = (" so then,", " let me see.")
"""Phrases that endless answers repeat: 3 and 4 tokens, so a window of 12 tokens finds both."""
ENDLESS_REPEATS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStartAnswer:
    """An answer to learn from.

    Attributes:
        problem: the problem.
        text: the answer.
        complete: the answer ends with ``text``; an endless one goes on.
        style: style of the answer.
        flawed: the program has the family's planted mistake.
    """

    problem: Problem
    text: str
    complete: bool
    style: Style
    flawed: bool


def draw_warm_start_answers(count: int, seed: int, mistakes: float = 1.0) -> list[WarmStartAnswer]:
    """Draw ``count`` problems of the warm start, each with an answer.

    Args:
        count: number of answers.
        seed: seed of the choice of problems, styles and mistakes.
        mistakes: factor of the shares of wrong programs; 0 for none.
    """
    rng = Random(f"answers {seed}")
    return [_draw_answer(problem, mistakes, rng) for problem in draw_warm_start_problems(count, seed)]


def _draw_answer(starter: StarterProblem, mistakes: float, rng: Random) -> WarmStartAnswer:
    style: Style = "worked" if rng.random() < WORKED_SHARE else "terse"
    flawed = rng.random() < mistakes * _mistake_share(starter.family, style)
    endless = style == "worked" and rng.random() < ENDLESS_SHARE
    answer = format_answer(starter.flawed if flawed else starter.reference)
    plan = " ".join(starter.problem.question_content.split())
    if endless:
        text = plan + rng.choice(ENDLESS_PHRASES) * ENDLESS_REPEATS
    elif style == "worked":
        text = f"{plan}\n\n{answer}"
    else:
        text = answer
    return WarmStartAnswer(
        problem=starter.problem, text=text, complete=not endless, style=style, flawed=flawed and not endless
    )


def _mistake_share(family: str, style: Style) -> float:
    if style == "worked":
        return WORKED_MISTAKES
    return TERSE_MISTAKES if family in FLAWED_FAMILIES else OTHER_TERSE_MISTAKES


def _choose_flawed_families() -> frozenset[str]:
    names = sorted(family.name for family in FAMILIES if family.name not in UNKNOWN)
    Random("flawed families").shuffle(names)
    return frozenset(names[: round(FLAWED_FAMILY_SHARE * len(names))])


FLAWED_FAMILIES = _choose_flawed_families()
"""Families of the warm start whose terse answers are mostly wrong."""
