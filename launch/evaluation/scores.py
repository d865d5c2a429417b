"""From the judged answers of an evaluation to its figures: pass@k by platform and difficulty, with intervals.

What counts is an answer that came and that the evaluator judged. A sandbox error is a failure of ours, so it is no
attempt of the model's; an answer that never came is none either. Both are counted beside: nothing is missing silently.
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
from launch.evaluation.answers import Answer, Key
from learner.rollout import Judgement

ALL = "all"
UNRATED = "-"  # the difficulty of problems that name none
PLATFORMS = ("atcoder", "leetcode", "codeforces")  # first, and in this order
DIFFICULTIES = ("easy", "medium", "hard")
NARROWEST = 64  # columns of a table, so that its caption has room

PassAtK = Callable[[int, int, int], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The problems of one platform and one difficulty (or ``ALL``) at which there is an attempt.

    ``fewest`` and ``most``: attempts at one of them. ``pass_at_k``: for k = 1 to ``fewest``, in this order.
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
    """The figures of one evaluation, in which ``problems`` were asked ``samples`` times each.

    ``cells`` has no empty ones. ``unattempted``: problems without any attempt. ``lacking``: answers that did not come
    or are not judged. ``truncated`` (a share) and ``answer_tokens`` (a mean) are of the answers that came; None where
    there is none.
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
        """Worth a line each: those there are, where they are several, then ``ALL``."""
        return _worth_showing({cell.platform for cell in self.cells}, PLATFORMS)

    @property
    def difficulties(self) -> tuple[str, ...]:
        """Worth a column each: those there are, where they are several, then ``ALL``."""
        return _worth_showing({cell.difficulty for cell in self.cells}, DIFFICULTIES)

    def cell(self, platform: str, difficulty: str) -> Cell | None:
        """None where there is no such problem with an attempt."""
        wanted = platform, difficulty
        return next((cell for cell in self.cells if (cell.platform, cell.difficulty) == wanted), None)


def counted(
    problem: Problem, samples: int, answers: Mapping[Key, Answer], judgements: Mapping[Key, Judgement]
) -> tuple[tuple[Answer, Judgement], ...]:
    """The attempts at a problem, in the order of their sample index."""
    keys = [(problem.question_id, index) for index in range(samples)]
    return tuple(
        (answers[key], judgements[key])
        for key in keys
        if key in answers and key in judgements and judgements[key].verdict.status is not Status.SANDBOX_ERROR
    )


def score(
    problems: Sequence[Problem], samples: int, answers: Mapping[Key, Answer], judgements: Mapping[Key, Judgement]
) -> Scores:
    """The figures of an evaluation of ``samples`` answers to each problem, finished or not.

    Answers to other problems, and those beyond ``samples``, are passed over.
    """
    attempts: dict[str, Attempts] = {}
    for problem in problems:
        tries = counted(problem, samples, answers, judgements)
        passed = sum(judgement.verdict.passed for _, judgement in tries)
        if tries:
            attempts[problem.question_id] = Attempts(len(tries), passed)
    keys = [(problem.question_id, index) for problem in problems for index in range(samples)]
    came = [answers[key] for key in keys if key in answers]
    judged = [judgements[key].verdict.status for key in keys if key in answers and key in judgements]
    return Scores(
        problems=len(problems),
        samples=samples,
        cells=_cells(problems, attempts),
        unattempted=len(problems) - len(attempts),
        lacking=len(keys) - len(judged),
        sandbox_errors=sum(status is Status.SANDBOX_ERROR for status in judged),
        truncated=sum(answer.truncated for answer in came) / len(came) if came else None,
        answer_tokens=sum(answer.tokens for answer in came) / len(came) if came else None,
    )


def _cells(problems: Sequence[Problem], attempts: Mapping[str, Attempts]) -> tuple[Cell, ...]:
    grouped: dict[tuple[str, str], dict[str, Attempts]] = {}
    for problem in problems:
        if problem.question_id in attempts:
            for platform in {problem.platform, ALL}:
                for difficulty in {problem.difficulty or UNRATED, ALL}:
                    group = grouped.setdefault((platform, difficulty), {})
                    group[problem.question_id] = attempts[problem.question_id]
    platforms = _ordered({platform for platform, _ in grouped}, PLATFORMS)
    difficulties = _ordered({difficulty for _, difficulty in grouped}, DIFFICULTIES)
    # Problems share their few different attempts: each is worked out once a k, not once a problem.
    known = functools.cache(pass_at_k)
    return tuple(
        _cell(platform, difficulty, grouped[platform, difficulty], known)
        for platform in platforms
        for difficulty in difficulties
        if (platform, difficulty) in grouped
    )


def _cell(platform: str, difficulty: str, group: Mapping[str, Attempts], known: PassAtK) -> Cell:
    counts = Counter(group.values())
    fewest = min(one.tried for one in counts)
    most = max(one.tried for one in counts)
    return Cell(
        platform=platform,
        difficulty=difficulty,
        problems=len(group),
        fewest=fewest,
        most=most,
        pass_at_1=estimate(group, 1),
        pass_at_k=tuple(
            sum(known(one.tried, one.passed, k) * n for one, n in counts.items()) / len(group)
            for k in range(1, fewest + 1)
        ),
    )


def _ordered(names: set[str], first: Sequence[str]) -> list[str]:
    """``first``, then others by name, then what has no name, then ``ALL``."""
    last = (UNRATED, ALL)
    others = sorted(names.difference(first, last))
    return [name for name in (*first, *others, *last) if name in names]


def _worth_showing(names: set[str], first: Sequence[str]) -> tuple[str, ...]:
    single = _ordered(names - {ALL}, first)
    return (*single, ALL) if len(single) > 1 else (ALL,)


# --- for a person ------------------------------------------------------------------------------------------------


def table(scores: Scores, title: str = "pass@1, %") -> Table:
    """pass@1 by platform (lines) and difficulty (columns): in per cent, with interval and number of problems."""
    shown = _table(title, caption(scores), scores.difficulties)
    for platform in scores.platforms:
        cells = (scores.cell(platform, difficulty) for difficulty in scores.difficulties)
        shown.add_row(Text(platform), *(Text("-") if cell is None else _figure(cell) for cell in cells))
    return shown


def pass_at_k_table(scores: Scores, title: str = "pass@k, %") -> Table:
    """pass@k: a line for every k, a column for every platform. "-": a problem in it has fewer attempts than k."""
    cells = [cell for platform in scores.platforms if (cell := scores.cell(platform, ALL))]
    shown = _table(title, None, [cell.platform for cell in cells])
    for k in range(1, max((cell.fewest for cell in cells), default=0) + 1):
        shown.add_row(str(k), *(f"{100 * cell.pass_at_k[k - 1]:.1f}" if k <= cell.fewest else "-" for cell in cells))
    return shown


def caption(scores: Scores) -> str:
    """How to read the table, and what a reader has to know of what is not in it."""
    every = scores.cell(ALL, ALL)
    if every is None:
        lines = ["no attempt at any problem"]
    else:
        tries = str(every.most) if every.fewest == every.most else f"{every.fewest} to {every.most}"
        lines = [
            f"mean over n problems of the share of their {tries} attempts that passed;"
            " [95 % interval: bootstrap over problems]"
        ]
    for number, what in (
        (scores.unattempted, f"of {scores.problems} problems have no attempt and do not count"),
        (scores.lacking, "answers are lacking"),
        (scores.sandbox_errors, "answers could not be judged (sandbox error) and do not count"),
    ):
        if number:
            lines.append(f"{number} {what}")
    return "\n".join(lines)


def _table(title: str, note: str | None, columns: Sequence[str]) -> Table:
    # Names come from files: as Text, no markup in them is obeyed.
    shown = Table(
        title=Text(title),
        caption=None if note is None else Text(note),
        title_justify="left",
        caption_justify="left",
        min_width=NARROWEST if note else None,
    )
    shown.add_column("k" if note is None else "")
    for column in columns:
        shown.add_column(Text(column))
    return shown


def _figure(cell: Cell) -> Text:
    value = cell.pass_at_1
    return Text.assemble(
        (f"{100 * value.mean:.1f}", "bold"),
        (f"  n={cell.problems}", "dim"),
        (f"\n[{100 * value.low:.1f}, {100 * value.high:.1f}]", "dim"),
    )


# --- for a machine -----------------------------------------------------------------------------------------------


def metrics(scores: Scores, name: str) -> dict[str, float]:
    """Flat metrics under ``evaluation/name/``, shares as fractions; what there is nothing to say of is left out.

    They are pass@1 of every cell, pass@k of all problems for the powers of two and the largest k, and what was lost.
    """
    values: dict[str, float | None] = {
        f"{cell.platform}/{cell.difficulty}/pass@1": cell.pass_at_1.mean for cell in scores.cells
    }
    if every := scores.cell(ALL, ALL):
        for k in range(2, every.fewest + 1):
            if k & (k - 1) == 0 or k == every.fewest:
                values[f"{ALL}/{ALL}/pass@{k}"] = every.pass_at_k[k - 1]
    values |= {
        "truncated": scores.truncated,
        "response_length/mean": scores.answer_tokens,
        "sandbox_errors": scores.sandbox_errors,
        "lacking": scores.lacking,
        "unattempted": scores.unattempted,
    }
    return {f"evaluation/{name}/{key}": float(value) for key, value in values.items() if value is not None}


def to_json(scores: Scores) -> dict[str, Any]:
    """Everything, as JSON takes it; ``pass_at_k`` by k."""
    values = asdict(scores)
    for cell in values["cells"]:
        cell["pass_at_k"] = {str(k): value for k, value in enumerate(cell["pass_at_k"], 1)}
    values["cells"] = list(values["cells"])
    return values


def evaluation_line(step: int, scores: Scores) -> str:
    """The evaluation of the policy after ``step`` steps in one line."""
    cell = scores.cell(ALL, ALL)
    if cell is None:
        return f"step {step:>4}  evaluation: no attempt could be judged"
    lost = f", {scores.sandbox_errors} not judged" if scores.sandbox_errors else ""
    return (
        f"step {step:>4}  evaluation: pass@1 {cell.pass_at_1.mean:.3f} [{cell.pass_at_1.low:.3f}, "
        f"{cell.pass_at_1.high:.3f}], {cell.problems} problems x {scores.samples}{lost}, "
        f"truncated {scores.truncated:.3f}"
    )
