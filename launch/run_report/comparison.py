"""Comparison of settings: scores of their evaluations, and how much they differ from the first setting.

Rules:

- Settings are compared after the same number of steps: the last after which all runs were evaluated at the temperature.
  Runs without any evaluation at the temperature do not count for this. The last evaluation of a setting is given too
  if it is a later one.
- Settings are compared on the same problems: those that all runs have attempts at.
- The score of a setting at a problem is the mean over its runs, and pass@k of a run is computed from its own attempts.
  If the attempts of several seeds were put together, k programs would come from several policies, and a setting with
  more seeds would have a higher pass@k.
- Intervals are 95 % bootstrap intervals over problems, resampled by family. They hold for these trained policies. What
  training with another seed would change is seen in the spread of the runs, and is part of the interval
  ``difference_over_seeds``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluator.pass_at_k import Attempts, Estimate, estimate_mean, pass_at_k
from launch.records.gains import JudgedAnswer, count_attempts, estimate_mean_over_seeds, list_parts, select_part
from launch.run_report.evaluations import EvaluationHistory
from launch.run_report.metric_bands import find_spread
from launch.run_report.reward_comparison import RewardComparison, compare_rewards
from launch.run_report.run_files import RunFiles
from launch.run_report.run_settings import Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """pass@k of a setting.

    Attributes:
        estimate: mean over problems and runs, with its interval over problems.
        by_run: score of each run.
        difference: difference from the first setting, paired by problem, with its interval over problems; None for the
            first setting.
        difference_over_seeds: difference over the seeds that both settings have, paired by seed and problem, with its
            interval over seeds and problems; None for the first setting, and with fewer than two such seeds.
    """

    estimate: Estimate
    by_run: tuple[float, ...]
    difference: Estimate | None
    difference_over_seeds: Estimate | None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Lowest and highest score of a run; None with one run."""
        return find_spread(self.by_run)


@dataclass(frozen=True)
class SettingScores:
    """Scores of a setting in the evaluations that are compared.

    Attributes:
        runs: names of the runs with such an evaluation, in the order of ``Score.by_run``.
    """

    runs: tuple[str, ...]
    pass_at_1: Score
    pass_at_k: Score


@dataclass(frozen=True, kw_only=True, slots=True)
class LastScores:
    """Scores of a setting in its own last evaluation, on all problems of its runs.

    Attributes:
        step: number of training steps before it.
        runs: names of the runs with an evaluation after this step.
        k: smallest number of attempts of a run at a problem.
    """

    step: int
    runs: tuple[str, ...]
    problems: int
    k: int
    pass_at_1: Estimate
    pass_at_k: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationComparison:
    """Comparison of all settings at one temperature, on one part of the problems.

    Attributes:
        part: part of the problems: a platform, or "all".
        step: number of training steps before the evaluations; None if there is none after which all runs were
            evaluated, or these have no common problem.
        problems: number of problems that are common to all runs.
        clusters: number of clusters that the intervals are over.
        k: smallest number of attempts of a run at a problem; 0 without a comparison.
        scores: scores by setting; None without an evaluation.
        last: own last evaluation by setting, if it is not that of the comparison; otherwise None.
        notes: which runs and problems are left out, and which settings have later evaluations.
    """

    temperature: float
    part: str
    step: int | None
    problems: int
    clusters: int
    k: int
    scores: tuple[SettingScores | None, ...]
    last: tuple[LastScores | None, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ComparisonTable:
    """Comparison of settings with the first of them.

    Attributes:
        labels: labels of the settings.
        evaluations: comparisons by temperature and part of the problems; empty if no run has an evaluation.
        rewards: comparison of the training rewards; None if no run has training steps.
    """

    labels: tuple[str, ...]
    evaluations: tuple[EvaluationComparison, ...]
    rewards: RewardComparison | None


@dataclass(frozen=True)
class _EvaluatedRun:
    """Answers of a run at one temperature to one part of the problems, by step."""

    run: RunFiles
    answers: Mapping[int, Sequence[JudgedAnswer]]

    def count(self, step: int) -> dict[str, Attempts]:
        answers = self.answers[step]
        return count_attempts(answers, {answer.question_id for answer in answers})


def compare_settings(settings: Sequence[Setting], histories: Mapping[Path, EvaluationHistory]) -> ComparisonTable:
    """Compare settings with the first of them.

    Args:
        settings: settings, the reference first.
        histories: evaluations by the path of the run (``RunFiles.path``).
    """
    runs = [run for setting in settings for run in setting.runs]
    temperatures = dict.fromkeys(temperature for run in runs for temperature in histories[run.path].answers)
    return ComparisonTable(
        labels=tuple(setting.label for setting in settings),
        evaluations=tuple(
            _compare_evaluations(settings, histories, temperature, part)
            for temperature in temperatures
            for part in _list_parts(histories.values(), temperature)
        ),
        rewards=compare_rewards(settings),
    )


def _list_parts(histories: Iterable[EvaluationHistory], temperature: float) -> list[str]:
    by_step = [history.answers.get(temperature, {}) for history in histories]
    return list_parts([answer for each in by_step if each for answer in next(iter(each.values()))])


def _compare_evaluations(
    settings: Sequence[Setting], histories: Mapping[Path, EvaluationHistory], temperature: float, part: str
) -> EvaluationComparison:
    groups = [
        [each for run in setting.runs if (each := _select(run, histories[run.path], temperature, part)).answers]
        for setting in settings
    ]
    step = _find_last_common_step([each for group in groups for each in group])
    attempts = [[] if step is None else [each.count(step) for each in group] for group in groups]
    names = _intersect([each for group in attempts for each in group])
    clusters = [] if step is None else _list_clusters([each for group in groups for each in group], step, names)
    k = min((each[name].tried for group in attempts for each in group for name in names), default=0)
    scores = _score_settings(groups, attempts, names, clusters, k) if names else (None,) * len(settings)
    last = tuple(_score_last(group, step if names else None) for group in groups)
    notes = [
        *([] if step is not None else ["there is no number of steps after which all runs were evaluated"]),
        *([] if names or step is None else [f"no problem is common to all evaluations after {step} steps"]),
        *_note_incomplete(settings, groups, last),
    ]
    most = max((len(each) for group in attempts for each in group), default=0)
    if names and most > len(names):
        notes.append(f"{len(names)} problems are common to all runs, of up to {most} in a run")
    return EvaluationComparison(
        temperature=temperature,
        part=part,
        step=step if names else None,
        problems=len(names),
        clusters=len(set(clusters)),
        k=k,
        scores=scores,
        last=last,
        notes=tuple(notes),
    )


def _note_incomplete(
    settings: Sequence[Setting], groups: Sequence[Sequence[_EvaluatedRun]], last: Sequence[LastScores | None]
) -> Iterator[str]:
    """Note settings of which not all runs were evaluated, and those with later evaluations."""
    for setting, group, scores in zip(settings, groups, last, strict=True):
        number = len(setting.runs)
        if len(group) < number:
            yield f"{setting.label}: {number - len(group)} of {number} runs without an evaluation"
        if scores is not None:
            yield f"{setting.label}: last evaluation after {scores.step} steps, in {len(scores.runs)} of {number} runs"


def _select(run: RunFiles, history: EvaluationHistory, temperature: float, part: str) -> _EvaluatedRun:
    by_step = history.answers.get(temperature, {})
    selected = {step: select_part(answers, part) for step, answers in by_step.items()}
    return _EvaluatedRun(run, {step: answers for step, answers in selected.items() if answers})


def _find_last_common_step(runs: Sequence[_EvaluatedRun]) -> int | None:
    common = set.intersection(*(set(each.answers) for each in runs)) if runs else set()
    return max(common, default=None)


def _intersect(attempts: Sequence[Mapping[str, Attempts]]) -> list[str]:
    """Return the problems that all runs have attempts at, in sorted order."""
    return sorted(set.intersection(*(set(each) for each in attempts))) if attempts else []


def _list_clusters(runs: Sequence[_EvaluatedRun], step: int, names: Sequence[str]) -> list[str]:
    """Return the cluster of each problem as the first run has it."""
    cluster_of = {answer.question_id: answer.cluster for answer in runs[0].answers[step]}
    return [cluster_of[name] for name in names]


def _score_problems(attempts: Sequence[Mapping[str, Attempts]], names: Sequence[str], k: int) -> np.ndarray:
    """Return pass@k of each run at each problem, float64 [runs, problems]."""
    return np.array([[pass_at_k(each[name].tried, each[name].passed, k) for name in names] for each in attempts])


def _score_settings(
    groups: Sequence[Sequence[_EvaluatedRun]],
    attempts: Sequence[Sequence[Mapping[str, Attempts]]],
    names: Sequence[str],
    clusters: Sequence[str],
    k: int,
) -> tuple[SettingScores | None, ...]:
    seeds = [[repr(each.run.config.get("run.seed")) for each in group] for group in groups]
    at_1 = [_score_problems(each, names, 1) for each in attempts]
    at_k = [_score_problems(each, names, k) for each in attempts]
    scores: list[SettingScores | None] = []
    for index, group in enumerate(groups):
        has_reference = index > 0 and len(groups[0]) > 0
        pairs = _pair_seeds(seeds[index], seeds[0])
        pass_at_1, pass_at_k = (
            _score(values[index], values[0] if has_reference else None, pairs, clusters) if group else None
            for values in (at_1, at_k)
        )
        if pass_at_1 is None or pass_at_k is None:
            scores.append(None)
        else:
            scores.append(SettingScores(tuple(each.run.name for each in group), pass_at_1, pass_at_k))
    return tuple(scores)


def _score(
    values: np.ndarray,
    reference: np.ndarray | None,
    pairs: Sequence[tuple[int, int]],
    clusters: Sequence[str],
) -> Score:
    """Score a setting.

    Args:
        values: values of the setting, float [runs, problems].
        reference: values of the first setting, float [runs, problems]; None without a comparison.
        pairs: positions of the runs with the same seed in both.
        clusters: cluster of each problem.
    """
    difference = difference_over_seeds = None
    if reference is not None:
        difference = estimate_mean(values.mean(axis=0) - reference.mean(axis=0), clusters)
        if len(pairs) > 1:
            differences = np.array([values[own] - reference[other] for own, other in pairs])
            difference_over_seeds = estimate_mean_over_seeds(differences, clusters)
    return Score(
        estimate=estimate_mean(values.mean(axis=0), clusters),
        by_run=tuple(values.mean(axis=1).tolist()),
        difference=difference,
        difference_over_seeds=difference_over_seeds,
    )


def _pair_seeds(seeds: Sequence[str], others: Sequence[str]) -> list[tuple[int, int]]:
    """Return the positions of the seeds that both settings have exactly once."""
    return [
        (index, others.index(seed))
        for index, seed in enumerate(seeds)
        if seeds.count(seed) == 1 and others.count(seed) == 1
    ]


def _score_last(group: Sequence[_EvaluatedRun], compared: int | None) -> LastScores | None:
    """Score the last evaluation of a setting, over those of its runs that have it; None if it is the compared one."""
    step = max((max(each.answers) for each in group), default=compared)
    if step is None or step == compared:
        return None
    runs = [each for each in group if step in each.answers]
    attempts = [each.count(step) for each in runs]
    names = _intersect(attempts)
    if not names:
        return None
    clusters = _list_clusters(runs, step, names)
    k = min(each[name].tried for each in attempts for name in names)
    return LastScores(
        step=step,
        runs=tuple(each.run.name for each in runs),
        problems=len(names),
        k=k,
        pass_at_1=estimate_mean(_score_problems(attempts, names, 1).mean(axis=0), clusters),
        pass_at_k=estimate_mean(_score_problems(attempts, names, k).mean(axis=0), clusters),
    )
