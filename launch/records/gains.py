"""What training changed on the problems of the evaluation, and a verdict: learned, sharper, no change or worse.

A policy whose mistakes are rare variants of what it knows gets better at temperature 1 by becoming sharper, without
learning anything. So the verdict "learned" rests on several figures (docs/method.md): pass@1 at the evaluation's
temperature and at lower ones, pass@k, and a comparison with the untrained policy at its best temperature. Intervals
are over problems, resampled by family if the problems are made from families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from evaluator.pass_at_k import Attempts, Estimate, estimate, paired_difference
from evaluator.verdict import Status

ALL = "all"
STARTER_PARTS = ("trained", "untrained", "unknown")
FENCE = "```"
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedAnswer:
    """An attempt at a problem of an evaluation.

    Attributes:
        platform: platform of the problem; for built-in problems the part of the set that it belongs to.
        cluster: family of the problem, or its question id.
        terse: the answer begins with a code block, without any text before it.
    """

    question_id: str
    platform: str
    cluster: str
    passed: bool
    terse: bool


AnswersByTemperature = Mapping[float, Sequence[JudgedAnswer]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """Scores of a part of the problems at one temperature before and after training.

    Attributes:
        part: platform, or ``ALL``.
        problems: number of problems with attempts before and after.
        clusters: number of clusters that the intervals are over.
        k: smallest number of attempts at a problem.
        from_style: part of the gain in pass@1 from other shares of terse answers, at the same accuracy of each style.
        from_accuracy: the rest of the gain, from higher accuracy within the styles.
    """

    part: str
    temperature: float
    problems: int
    clusters: int
    k: int
    pass_at_1: tuple[Estimate, Estimate, Estimate]
    """Before, after, and the paired difference."""
    pass_at_k: tuple[Estimate, Estimate, Estimate]
    from_style: float
    from_accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BestUntrained:
    """Comparison of the trained policy at the evaluation's temperature with the untrained one at its best.

    Attributes:
        temperature: the temperature at which the untrained policy has the highest pass@1.
        difference: trained minus untrained.
    """

    temperature: float
    difference: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """Changes between two evaluations of a run.

    Attributes:
        verdict: the verdict of ``judge_learning``.
        gains: gains of every part of the problems at every temperature that both evaluations have.
        best: comparison with the untrained policy at its best temperature.
    """

    verdict: str
    gains: tuple[Gain, ...]
    best: BestUntrained


def read_answers(path: Path) -> list[JudgedAnswer]:
    """Read the attempts from a Parquet file of judged answers; sandbox errors do not count."""
    columns = ["question_id", "passed", "status", "text", "platform", "family"]
    return [
        JudgedAnswer(
            question_id=row["question_id"],
            platform=row["platform"],
            cluster=row["family"] or row["question_id"],
            passed=row["passed"],
            terse=row["text"].lstrip().startswith(FENCE),
        )
        for row in pq.read_table(path, columns=columns).to_pylist()
        if row["status"] != Status.SANDBOX_ERROR
    ]


def select_part(answers: Sequence[JudgedAnswer], part: str) -> list[JudgedAnswer]:
    """Select the answers to the problems of a part."""
    return [answer for answer in answers if part in (ALL, answer.platform)]


def list_parts(answers: Sequence[JudgedAnswer]) -> list[str]:
    """List the parts to report: those of the built-in problems, the trained one first; of other problems ``ALL``."""
    platforms = {answer.platform for answer in answers}
    return [part for part in STARTER_PARTS if part in platforms] or [ALL]


def count_attempts(answers: Sequence[JudgedAnswer], question_ids: set[str]) -> dict[str, Attempts]:
    """Count the attempts at each of the problems, by question id in sorted order."""
    passed: dict[str, list[bool]] = {question_id: [] for question_id in sorted(question_ids)}
    for answer in answers:
        if answer.question_id in question_ids:
            passed[answer.question_id].append(answer.passed)
    return {question_id: Attempts(len(values), sum(values)) for question_id, values in passed.items()}


def measure_gain(
    before: Sequence[JudgedAnswer], after: Sequence[JudgedAnswer], part: str, temperature: float
) -> Gain | None:
    """Compare the answers before and after training; None if no problem of the part has attempts in both."""
    first = select_part(before, part)
    last = select_part(after, part)
    common = {answer.question_id for answer in first} & {answer.question_id for answer in last}
    if not common:
        return None
    clusters = {answer.question_id: answer.cluster for answer in first}
    attempts = count_attempts(first, common), count_attempts(last, common)
    k = min(each.tried for side in attempts for each in side.values())
    from_style, from_accuracy = split_gain(first, last)
    return Gain(
        part=part,
        temperature=temperature,
        problems=len(common),
        clusters=len({clusters[question_id] for question_id in common}),
        k=k,
        pass_at_1=_compare(*attempts, 1, clusters),
        pass_at_k=_compare(*attempts, k, clusters),
        from_style=from_style,
        from_accuracy=from_accuracy,
    )


def _compare(
    before: Mapping[str, Attempts], after: Mapping[str, Attempts], k: int, clusters: Mapping[str, str]
) -> tuple[Estimate, Estimate, Estimate]:
    return (
        estimate(before, k, clusters=clusters),
        estimate(after, k, clusters=clusters),
        paired_difference(before, after, k, clusters=clusters),
    )


def estimate_mean_over_seeds(values: np.ndarray, clusters: Sequence[str]) -> Estimate:
    """Estimate the mean of a quantity of problems that several seeds measured.

    The 95 % interval resamples seeds and clusters of problems, both with replacement. So it also covers how much
    training with another seed would have changed the mean, but with few seeds that part of it is rough.

    Args:
        values: values by seed and problem, float [seeds, problems].
        clusters: name of each problem's cluster.
    """
    seeds = len(values)
    names, cluster_of = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(cluster_of)
    totals = np.array([np.bincount(cluster_of, weights=row) for row in values])  # [seeds, clusters]
    generator = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        rows = generator.integers(seeds, size=seeds)
        columns = generator.integers(len(names), size=len(names))
        means.append(totals[np.ix_(rows, columns)].sum() / (seeds * sizes[columns].sum()))
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def split_gain(before: Sequence[JudgedAnswer], after: Sequence[JudgedAnswer]) -> tuple[float, float]:
    """Split the gain in the share of passed answers into a part from style and a part from accuracy within styles.

    With the share w and the accuracy a of each style, the parts are the sums over styles of (w1 - w0) (a0 + a1) / 2
    and (a1 - a0) (w0 + w1) / 2, which add up to the gain (the symmetric decomposition of Kitagawa, 1955).
    """
    from_style = from_accuracy = 0.0
    for terse in (True, False):
        share_before, accuracy_before = _share_and_accuracy(before, terse)
        share_after, accuracy_after = _share_and_accuracy(after, terse)
        # A style without answers has no accuracy of its own: it takes the other side's, so it counts as style only.
        a0 = accuracy_before if accuracy_before is not None else accuracy_after or 0.0
        a1 = accuracy_after if accuracy_after is not None else a0
        from_style += (share_after - share_before) * (a0 + a1) / 2
        from_accuracy += (a1 - a0) * (share_before + share_after) / 2
    return from_style, from_accuracy


def _share_and_accuracy(answers: Sequence[JudgedAnswer], terse: bool) -> tuple[float, float | None]:
    passed = [answer.passed for answer in answers if answer.terse == terse]
    return len(passed) / len(answers), sum(passed) / len(passed) if passed else None


def compare_with_best_untrained(
    before: Mapping[float, Sequence[JudgedAnswer]], after: Sequence[JudgedAnswer], part: str
) -> BestUntrained | None:
    """Compare the trained policy's answers ``after`` with the untrained policy at the best of several temperatures.

    Args:
        before: answers of the untrained policy by temperature.
        after: answers of the trained policy at the evaluation's temperature.
        part: part of the problems.
    """
    trained = select_part(after, part)
    differences = []
    for temperature, answers in before.items():
        untrained = select_part(answers, part)
        common = {answer.question_id for answer in untrained} & {answer.question_id for answer in trained}
        if common:
            clusters = {answer.question_id: answer.cluster for answer in untrained}
            attempts = count_attempts(untrained, common)
            difference = paired_difference(attempts, count_attempts(trained, common), 1, clusters=clusters)
            differences.append(
                (estimate(attempts, 1).mean, BestUntrained(temperature=temperature, difference=difference))
            )
    return max(differences, key=lambda pair: pair[0])[1] if differences else None


def measure_learning(before: AnswersByTemperature, after: AnswersByTemperature) -> Learning | None:
    """Measure what training changed, and judge it on the first part of the problems.

    Args:
        before: answers of the untrained policy by temperature, the evaluation's own temperature first.
        after: answers of the trained policy by temperature.

    Returns:
        None if the two evaluations have no problem in common at the evaluation's own temperature.
    """
    own = next(iter(before), None)
    if own is None or own not in after:
        return None
    gains = [
        gain
        for part in list_parts(before[own])
        for temperature in before
        if temperature in after
        and (gain := measure_gain(before[temperature], after[temperature], part, temperature)) is not None
    ]
    if not gains or gains[0].temperature != own:
        return None
    part = gains[0].part
    best = compare_with_best_untrained(before, after[own], part)
    assert best is not None  # there is a gain at ``own``, so both evaluations have common problems
    return Learning(
        verdict=judge_learning([gain for gain in gains if gain.part == part], best), gains=tuple(gains), best=best
    )


def judge_learning(gains: Sequence[Gain], best: BestUntrained) -> str:
    """Return the verdict of a run, with its reasons.

    Args:
        gains: gains on the same problems, at the evaluation's temperature and at the others.
        best: comparison with the untrained policy at its best temperature.
    """
    main, *others = gains
    at_main = f"pass@1 at T {main.temperature:g}"
    change = main.pass_at_1[2]
    if change.low <= 0:
        worse = [f"at T {gain.temperature:g}" for gain in gains if gain.pass_at_1[2].high < 0]
        return f"worse: pass@1 fell {' and '.join(worse)}" if worse else f"no change: {at_main} did not rise clearly"
    if not others:
        return f"not decided: {at_main} rose; evaluation.other_temperatures=[0.3] tells whether the policy learned"
    doubts = [f"pass@1 at T {gain.temperature:g} did not rise" for gain in others if gain.pass_at_1[2].low <= 0]
    doubts += [f"pass@{gain.k} at T {gain.temperature:g} fell" for gain in gains if gain.pass_at_k[2].high < 0]
    if best.difference.low <= 0:
        doubts.append(f"the untrained policy at T {best.temperature:g} is as good")
    if doubts:
        return f"sharper, not better: {at_main} rose, but {', '.join(doubts)}"
    return (
        f"learned: pass@1 rose at T {' and '.join(f'{gain.temperature:g}' for gain in gains)}, pass@{main.k} did not "
        f"fall, and the untrained policy at its best temperature ({best.temperature:g}) is worse"
    )


def format_change(value: Estimate) -> str:
    """Return a difference with its 95 % confidence interval."""
    return f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def format_score(value: Estimate) -> str:
    """Return a score with its 95 % confidence interval."""
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"
