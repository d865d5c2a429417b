"""Rules for statements that are too short or not in English."""

from __future__ import annotations

import re

from launch.curation.candidates import Candidate, Dropped
from launch.curation.processing.process import remove_format_line

MIN_WORDS = 8
"""Words of statement and starter code together. The shortest real statements, of MBPP, have 7 besides the signature."""
MIN_LATIN_SHARE = 0.6
"""Share of Latin letters among the letters of a statement, below which it is not English."""

_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[A-Za-z]")
_LETTER = re.compile(r"[^\W\d_]")


def find_text_defect(candidate: Candidate) -> Dropped | None:
    """Return the record of a candidate whose statement is too short or not in English; None if it is neither."""
    problem = candidate.problem
    statement = remove_format_line(problem)
    words = len(_WORD.findall(f"{statement}\n{problem.starter_code}"))
    if words < MIN_WORDS:
        return _drop(candidate, "short_statement", f"{words} words")
    letters = len(_LETTER.findall(statement))
    latin = len(_LATIN.findall(statement))
    if letters and latin < MIN_LATIN_SHARE * letters:
        return _drop(candidate, "not_english", f"{latin} of {letters} letters are Latin")
    return None


def _drop(candidate: Candidate, reason: str, detail: str) -> Dropped:
    return Dropped(
        question_id=candidate.problem.question_id,
        source=candidate.source,
        stage="filter",
        reason=reason,
        detail=detail,
    )
