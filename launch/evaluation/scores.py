"""Scores of an evaluation: pass@k by platform and difficulty, with confidence intervals.

An attempt is an answer that was sampled and judged. A sandbox error says nothing about the model, so it is not an
attempt; neither is a missing answer. Both are counted and reported separately.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from evaluator.pass_at_k import Attempts, Estimate, estimate, pass_at_k
from evaluator.problem import Problem
from evaluator.verdict import Status
from launch.evaluation.answers import Answer, AnswerKey
from learner.rollout import Judgement

ALL = "all"
UNRATED = "-"  # difficulty of problems without one
PLATFORMS = ("atcoder", "leetcode", "codeforces")  # shown first, in this order
DIFFICULTIES = ("easy", "medium", "hard")
MIN_TABLE_WIDTH = 64  # characters, so that the caption has room

PassAtK = Callable[[int, int, int], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Scores of the attempted problems of one platform and one difficulty.

    Attributes:
        platform: platform, or ``ALL``.
        difficulty: difficulty, or ``ALL``.
        problems: number of problems with at least one attempt.
        fewest: smallest number of attempts at a problem.
        most: largest number of attempts at a problem.
        pass_at_1: mean over problems, with its confidence interval.
        pass_at_k: means over problems for k = 1, ..., ``fewest``.
    """

    platform: str
    difficulty: str
    problems: int
    fewest: int
    most: int
    pass_at_1: Estimate
    pass_at_k: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Scores of an evaluation.

    Attributes:
        problems: number of problems.
        samples: answers per problem that the evaluation asked for.
        cells: scores by platform and difficulty; only cells with attempts.
        unattempted: number of problems without attempts.
        lacking: number of answers that are missing or not judged.
        sandbox_errors: number of answers whose judgement failed with a sandbox error.
        truncated: share of the sampled answers that ended at the length limit; None if there are no answers.
        answer_tokens: mean length of the sampled answers; None if there are no answers.
    """

    problems: int
    samples: int
    cells: tuple[Cell, ...]
    unattempted: int
    lacking: int
    sandbox_errors: int
    truncated: float | None
    answer_tokens: float | None

    @property
    def platforms(self) -> tuple[str, ...]:
        """Rows of the table: every platform if there are several, then ``ALL``."""
        return _select_shown_names({cell.platform for cell in self.cells}, PLATFORMS)

    @property
    def difficulties(self) -> tuple[str, ...]:
        """Columns of the table: every difficulty if there are several, then ``ALL``."""
        return _select_shown_names({cell.difficulty for cell in self.cells}, DIFFICULTIES)

    def cell(self, platform: str, difficulty: str) -> Cell | None:
        """Return the scores for this platform and difficulty; None if no problem there has an attempt."""
        key = platform, difficulty
        return next((cell for cell in self.cells if (cell.platform, cell.difficulty) == key), None)


def list_attempts(
    problem: Problem, samples: int, answers: Mapping[AnswerKey, Answer], judgements: Mapping[AnswerKey, Judgement]
) -> tuple[tuple[Answer, Judgement], ...]:
    """Return the attempts at a problem, sorted by sample index.

    Args:
        problem: the problem.
        samples: number of samples; answers with a higher index are ignored.
        answers: answers by (question id, sample index).
        judgements: judgements by the same keys.
    """
    keys = [(problem.question_id, index) for index in range(samples)]
    return tuple(
        (answers[key], judgements[key])
        for key in keys
        if key in answers and key in judgements and judgements[key].verdict.status is not Status.SANDBOX_ERROR
    )


def compute_scores(
    problems: Sequence[Problem],
    samples: int,
    answers: Mapping[AnswerKey, Answer],
    judgements: Mapping[AnswerKey, Judgement],
) -> Scores:
    """Compute the scores of an evaluation, complete or not.

    Args:
        problems: problems of the evaluation; answers to other problems are ignored.
        samples: answers per problem; answers with a higher index are ignored.
        answers: answers by (question id, sample index).
        judgements: judgements by the same keys.
    """
    attempts: dict[str, Attempts] = {}
    for problem in problems:
        judged = list_attempts(problem, samples, answers, judgements)
        passed = sum(judgement.verdict.passed for _, judgement in judged)
        if judged:
            attempts[problem.question_id] = Attempts(len(judged), passed)
    clusters = {problem.question_id: get_cluster(problem) for problem in problems}
    keys = [(problem.question_id, index) for problem in problems for index in range(samples)]
    sampled = [answers[key] for key in keys if key in answers]
    statuses = [judgements[key].verdict.status for key in keys if key in answers and key in judgements]
    return Scores(
        problems=len(problems),
        samples=samples,
        cells=_compute_cells(problems, attempts, clusters),
        unattempted=len(problems) - len(attempts),
        lacking=len(keys) - len(statuses),
        sandbox_errors=sum(status is Status.SANDBOX_ERROR for status in statuses),
        truncated=sum(answer.truncated for answer in sampled) / len(sampled) if sampled else None,
        answer_tokens=sum(answer.tokens for answer in sampled) / len(sampled) if sampled else None,
    )


def get_cluster(problem: Problem) -> str:
    """Return the name of the problem's cluster: its family if it is made from one, otherwise the problem itself."""
    return str(problem.extra.get("family", problem.question_id))


def _compute_cells(
    problems: Sequence[Problem], attempts: Mapping[str, Attempts], clusters: Mapping[str, str]
) -> tuple[Cell, ...]:
    grouped: dict[tuple[str, str], dict[str, Attempts]] = {}
    for problem in problems:
        if problem.question_id in attempts:
            for platform in {problem.platform, ALL}:
                for difficulty in {problem.difficulty or UNRATED, ALL}:
                    group = grouped.setdefault((platform, difficulty), {})
                    group[problem.question_id] = attempts[problem.question_id]
    platforms = _sort_names({platform for platform, _ in grouped}, PLATFORMS)
    difficulties = _sort_names({difficulty for _, difficulty in grouped}, DIFFICULTIES)
    # Many problems have the same numbers of tries and passes: compute pass@k once for each k and pair of numbers.
    cached_pass_at_k = functools.cache(pass_at_k)
    return tuple(
        _compute_cell(platform, difficulty, grouped[platform, difficulty], clusters, cached_pass_at_k)
        for platform in platforms
        for difficulty in difficulties
        if (platform, difficulty) in grouped
    )


def _compute_cell(
    platform: str,
    difficulty: str,
    group: Mapping[str, Attempts],
    clusters: Mapping[str, str],
    cached_pass_at_k: PassAtK,
) -> Cell:
    counts = Counter(group.values())
    fewest = min(attempts.tried for attempts in counts)
    most = max(attempts.tried for attempts in counts)
    return Cell(
        platform=platform,
        difficulty=difficulty,
        problems=len(group),
        fewest=fewest,
        most=most,
        pass_at_1=estimate(group, 1, clusters=clusters),
        pass_at_k=tuple(
            sum(cached_pass_at_k(attempts.tried, attempts.passed, k) * n for attempts, n in counts.items()) / len(group)
            for k in range(1, fewest + 1)
        ),
    )


def _sort_names(names: set[str], first: Sequence[str]) -> list[str]:
    """Sort names: those of ``first`` in its order, others alphabetically, ``UNRATED``, ``ALL``."""
    last = (UNRATED, ALL)
    others = sorted(names.difference(first, last))
    return [name for name in (*first, *others, *last) if name in names]


def _select_shown_names(names: set[str], first: Sequence[str]) -> tuple[str, ...]:
    """Return the sorted names and ``ALL``; a single name is omitted because it would repeat ``ALL``."""
    names_except_all = _sort_names(names - {ALL}, first)
    return (*names_except_all, ALL) if len(names_except_all) > 1 else (ALL,)


# --- tables ------------------------------------------------------------------------------------------------------


def build_pass_at_1_table(scores: Scores, title: str = "pass@1, %") -> Table:
    """Build the table of pass@1 in per cent by platform (rows) and difficulty (columns), with confidence intervals."""
    table = _create_table(title, format_caption(scores), scores.difficulties)
    for platform in scores.platforms:
        cells = (scores.cell(platform, difficulty) for difficulty in scores.difficulties)
        table.add_row(Text(platform), *(Text("-") if cell is None else _format_cell(cell) for cell in cells))
    return table


def build_pass_at_k_table(scores: Scores, title: str = "pass@k, %") -> Table:
    """Build the table of pass@k in per cent by k (rows) and platform (columns).

    A dash means that some problem of the platform has fewer than k attempts.
    """
    cells = [cell for platform in scores.platforms if (cell := scores.cell(platform, ALL))]
    table = _create_table(title, None, [cell.platform for cell in cells])
    for k in range(1, max((cell.fewest for cell in cells), default=0) + 1):
        table.add_row(str(k), *(f"{100 * cell.pass_at_k[k - 1]:.1f}" if k <= cell.fewest else "-" for cell in cells))
    return table


def format_caption(scores: Scores) -> str:
    """Return the caption of the pass@1 table: how to read it, and what it does not include."""
    overall = scores.cell(ALL, ALL)
    if overall is None:
        lines = ["no attempt at any problem"]
    else:
        tries = str(overall.most) if overall.fewest == overall.most else f"{overall.fewest} to {overall.most}"
        lines = [
            f"mean over n problems of the share of their {tries} attempts that passed;"
            " [95 % interval: bootstrap over problems, by family if they are made from families]"
        ]
    for number, text in (
        (scores.unattempted, f"of {scores.problems} problems have no attempt and do not count"),
        (scores.lacking, "answers are missing"),
        (scores.sandbox_errors, "answers could not be judged (sandbox error) and do not count"),
    ):
        if number:
            lines.append(f"{number} {text}")
    return "\n".join(lines)


def _create_table(title: str, caption: str | None, columns: Sequence[str]) -> Table:
    # Names come from files: they are added as Text, so that markup in them is not interpreted.
    table = Table(
        title=Text(title),
        caption=None if caption is None else Text(caption),
        title_justify="left",
        caption_justify="left",
        min_width=MIN_TABLE_WIDTH if caption else None,
    )
    table.add_column("k" if caption is None else "")
    for column in columns:
        table.add_column(Text(column))
    return table


def _format_cell(cell: Cell) -> Text:
    value = cell.pass_at_1
    return Text.assemble(
        (f"{100 * value.mean:.1f}", "bold"),
        (f"  n={cell.problems}", "dim"),
        (f"\n[{100 * value.low:.1f}, {100 * value.high:.1f}]", "dim"),
    )


# --- metrics and files -------------------------------------------------------------------------------------------


def make_evaluation_metrics(scores: Scores, name: str) -> dict[str, float]:
    """Return flat metrics named ``evaluation/<name>/...``; shares are fractions, undefined values are omitted.

    The metrics are pass@1 of every cell, pass@k of all problems for powers of two and the largest k, and the counts of
    missing answers, sandbox errors and unattempted problems.
    """
    values: dict[str, float | None] = {
        f"{cell.platform}/{cell.difficulty}/pass@1": cell.pass_at_1.mean for cell in scores.cells
    }
    if overall := scores.cell(ALL, ALL):
        for k in range(2, overall.fewest + 1):
            if k & (k - 1) == 0 or k == overall.fewest:
                values[f"{ALL}/{ALL}/pass@{k}"] = overall.pass_at_k[k - 1]
    values |= {
        "truncated": scores.truncated,
        "response_length/mean": scores.answer_tokens,
        "sandbox_errors": scores.sandbox_errors,
        "lacking": scores.lacking,
        "unattempted": scores.unattempted,
    }
    return {f"evaluation/{name}/{key}": float(value) for key, value in values.items() if value is not None}


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """Return the scores as values for JSON; ``pass_at_k`` becomes a mapping from k."""
    values = asdict(scores)
    for cell in values["cells"]:
        cell["pass_at_k"] = {str(k): value for k, value in enumerate(cell["pass_at_k"], 1)}
    values["cells"] = list(values["cells"])
    return values


def format_evaluation_line(step: int, temperature: float, scores: Scores) -> str:
    """Return a one-line summary of the evaluation of the policy after ``step`` steps at a temperature."""
    cell = scores.cell(ALL, ALL)
    if cell is None:
        return f"step {step:>4}  evaluation at T {temperature:g}: no attempt could be judged"
    unjudged = f", {scores.sandbox_errors} not judged" if scores.sandbox_errors else ""
    return (
        f"step {step:>4}  evaluation at T {temperature:g}: pass@1 {cell.pass_at_1.mean:.3f} [{cell.pass_at_1.low:.3f}, "
        f"{cell.pass_at_1.high:.3f}], {cell.problems} problems x {scores.samples} answers{unjudged}, "
        f"truncated {scores.truncated:.3f}"
    )
