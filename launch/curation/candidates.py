"""Candidates for the training set, and the records of those that were dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluator.problem import Problem

StageName = Literal["collect", "process", "filter", "verify"]

STAGES: tuple[StageName, ...] = ("collect", "process", "filter", "verify")
"""Stages in the order in which they run (METHOD.md 6, after arXiv 2603.07779)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """Problem of a source with its provenance and the programs that the source labels.

    Attributes:
        problem: the problem; its ``question_id`` is "SOURCE/SOURCE_ID" and unique among all candidates.
        source: name of the source.
        source_id: id of the row in its source.
        licence: licence of the source, as an SPDX identifier or in the source's words.
        right_programs: programs that the source labels as right (reference solutions).
        wrong_programs: programs that the source labels as wrong.
    """

    problem: Problem
    source: str
    source_id: str
    licence: str
    right_programs: tuple[str, ...] = ()
    wrong_programs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """Row that a stage dropped.

    Attributes:
        question_id: id as in ``Candidate.problem``, or "SOURCE/FILE:ROW" if the row has no usable id.
        source: name of the source.
        stage: stage that dropped it.
        reason: short name of the reason, for counts: "bad_row", "duplicate", "flaky", ...
        detail: explanation with file and row, or with the problem that it duplicates.
    """

    question_id: str
    source: str
    stage: StageName
    reason: str
    detail: str
