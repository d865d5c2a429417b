"""Answers of the warm start: shares of styles, mistakes and endless answers."""

from collections import Counter

import pytest

from launch.problems.starter import TRAINED_FAMILIES, UNTRAINED_FAMILIES, draw_warm_start_problems
from launch.problems.starter.answers import (
    ENDLESS_PHRASES,
    ENDLESS_SHARE,
    FLAWED_FAMILIES,
    OTHER_TERSE_MISTAKES,
    TERSE_MISTAKES,
    WORKED_MISTAKES,
    WORKED_SHARE,
    draw_warm_start_answers,
)


@pytest.fixture(scope="module")
def answers():
    return draw_warm_start_answers(4000, 0)


def share(answers, predicate):
    return sum(map(predicate, answers)) / len(answers)


@pytest.mark.heavy
def test_shares_of_styles_mistakes_and_endless_answers(answers):
    terse = [answer for answer in answers if answer.style == "terse"]
    worked = [answer for answer in answers if answer.style == "worked"]
    ended = [answer for answer in worked if answer.complete]
    mostly_flawed = [answer for answer in terse if answer.problem.extra["family"] in FLAWED_FAMILIES]
    others = [answer for answer in terse if answer.problem.extra["family"] not in FLAWED_FAMILIES]
    assert len(worked) / len(answers) == pytest.approx(WORKED_SHARE, abs=0.03)
    assert 1 - len(ended) / len(worked) == pytest.approx(ENDLESS_SHARE, abs=0.03)
    assert share(mostly_flawed, lambda answer: answer.flawed) == pytest.approx(TERSE_MISTAKES, abs=0.05)
    assert share(others, lambda answer: answer.flawed) == pytest.approx(OTHER_TERSE_MISTAKES, abs=0.05)
    assert share(ended, lambda answer: answer.flawed) == pytest.approx(WORKED_MISTAKES, abs=0.05)


def test_most_families_are_flawed_in_both_parts():
    for families in (TRAINED_FAMILIES, UNTRAINED_FAMILIES):
        flawed = sum(family.name in FLAWED_FAMILIES for family in families)
        assert 0.6 <= flawed / len(families) <= 0.9


@pytest.mark.heavy
def test_answers_hold_the_reference_or_the_flawed_program(answers):
    programs = {starter.problem.question_id: starter for starter in draw_warm_start_problems(4000, 0)}
    for answer in answers:
        starter = programs[answer.problem.question_id]
        statement = " ".join(answer.problem.question_content.split())
        if not answer.complete:
            assert answer.text.startswith(statement)
            assert answer.text.endswith(tuple(phrase * 3 for phrase in ENDLESS_PHRASES))
            continue
        program = starter.flawed if answer.flawed else starter.reference
        prefix = f"{statement}\n\n" if answer.style == "worked" else ""
        assert answer.text == f"{prefix}```python\n{program.rstrip()}\n```"


@pytest.mark.heavy
def test_no_answer_is_flawed_without_mistakes():
    answers = draw_warm_start_answers(500, 0, mistakes=0.0)
    assert not any(answer.flawed for answer in answers)
    assert Counter(answer.style for answer in answers)["worked"] > 100


@pytest.mark.heavy
def test_answers_depend_only_on_count_seed_and_mistakes():
    assert draw_warm_start_answers(50, 3) == draw_warm_start_answers(50, 3)
    assert draw_warm_start_answers(50, 3) != draw_warm_start_answers(50, 4)
