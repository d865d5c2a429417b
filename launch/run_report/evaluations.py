"""A run's evaluations: pass@1 and pass@k over the steps with intervals, and what training changed.

Intervals are those of ``launch.records.gains``: bootstrap over problems, by family if problems are made from families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from evaluator.pass_at_k import Estimate, estimate
from launch.records.gains import (
    JudgedAnswer,
    Learning,
    count_attempts,
    list_parts,
    measure_learning,
    read_answers,
    select_part,
)
from launch.run_report.run_files import RunFiles, StepFile


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPoint:
    """Scores of one part of the problems in one evaluation.

    Attributes:
        step: number of training steps before the evaluation.
        part: part of the problems: a platform, or "all".
        problems: number of problems with attempts.
        k: smallest number of attempts at a problem.
    """

    step: int
    temperature: float
    part: str
    problems: int
    k: int
    pass_at_1: Estimate
    pass_at_k: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningSoFar(Learning):
    """Changes between the first evaluation and the last one.

    Attributes:
        first_step: steps before the first evaluation.
        last_step: steps before the last evaluation that took place at every temperature of the first.
    """

    first_step: int
    last_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationHistory:
    """All evaluations of a run.

    Attributes:
        points: scores in step order, for every part and temperature.
        parts: parts of the problems, the one that the verdict is about first; empty without evaluations.
        answers: answers by temperature, the evaluation's own first, then by step.
        learning: None without two evaluations at the evaluation's own temperature.
        notes: files that could not be read.
    """

    points: tuple[EvaluationPoint, ...]
    parts: tuple[str, ...]
    answers: Mapping[float, Mapping[int, Sequence[JudgedAnswer]]]
    learning: LearningSoFar | None
    notes: tuple[str, ...]

    def select(self, part: str, temperature: float) -> list[EvaluationPoint]:
        """Return the scores of a part at a temperature, in step order."""
        return [point for point in self.points if (point.part, point.temperature) == (part, temperature)]


def read_evaluations(run: RunFiles) -> EvaluationHistory:
    """Read all evaluations of a run; files that cannot be read are noted."""
    notes: list[str] = []
    answers = {
        temperature: {file.step: rows for file in files if (rows := _read(file, notes))}
        for temperature, files in run.evaluations.items()
    }
    answers = {temperature: by_step for temperature, by_step in answers.items() if by_step}
    first = next(iter(answers.values()), None)
    parts = list_parts(next(iter(first.values()))) if first else []
    points = [
        point
        for temperature, by_step in answers.items()
        for step, rows in by_step.items()
        for part in parts
        if (point := _score(rows, part, step, temperature)) is not None
    ]
    return EvaluationHistory(
        points=tuple(sorted(points, key=lambda point: (point.step, -point.temperature))),
        parts=tuple(parts),
        answers=answers,
        learning=_measure_learning(answers),
        notes=tuple(notes),
    )


def _read(file: StepFile, notes: list[str]) -> list[JudgedAnswer]:
    try:
        answers = read_answers(file.path)
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:
        notes.append(f"evaluation/{file.path.name} cannot be read: {error}")
        return []
    valid = [answer for answer in answers if _is_valid(answer)]
    if len(valid) < len(answers):
        notes.append(f"evaluation/{file.path.name}: {len(answers) - len(valid)} answers without values are left out")
    return valid


def _is_valid(answer: JudgedAnswer) -> bool:
    """Return False for an answer with a missing value or one of another type."""
    texts: tuple[object, ...] = (answer.question_id, answer.platform, answer.cluster)
    passed: object = answer.passed
    return isinstance(passed, bool) and all(isinstance(text, str) for text in texts)


def _score(rows: Sequence[JudgedAnswer], part: str, step: int, temperature: float) -> EvaluationPoint | None:
    chosen = select_part(rows, part)
    if not chosen:
        return None
    clusters = {answer.question_id: answer.cluster for answer in chosen}
    attempts = count_attempts(chosen, set(clusters))
    k = min(each.tried for each in attempts.values())
    return EvaluationPoint(
        step=step,
        temperature=temperature,
        part=part,
        problems=len(attempts),
        k=k,
        pass_at_1=estimate(attempts, 1, clusters=clusters),
        pass_at_k=estimate(attempts, k, clusters=clusters),
    )


def _measure_learning(answers: Mapping[float, Mapping[int, Sequence[JudgedAnswer]]]) -> LearningSoFar | None:
    """Compare the first evaluation with the last; temperatures that lack one of the two are left out."""
    if not answers:
        return None
    own = next(iter(answers))
    first_step = min(answers[own])
    common = [step for step in answers[own] if all(step in by_step for by_step in answers.values())]
    last_step = max(common or answers[own])
    before = {temperature: by_step[first_step] for temperature, by_step in answers.items() if first_step in by_step}
    after = {temperature: by_step[last_step] for temperature, by_step in answers.items() if last_step in by_step}
    if last_step == first_step:
        return None
    learning = measure_learning(before, after)
    if learning is None:
        return None
    return LearningSoFar(
        verdict=learning.verdict,
        gains=learning.gains,
        best=learning.best,
        first_step=first_step,
        last_step=last_step,
    )
