"""The scoring command's summary: counts of statuses and pass@k, as tables of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from evaluator.pass_at_k import Attempts, pass_at_k
from evaluator.problem import Problem
from evaluator.verdict import Status, Verdict

COLUMNS = 8  # of pass@k beside each other
DIFFICULTIES = ("easy", "medium", "hard")  # first, and in this order


class Tally:
    """Counts of statuses, and per problem of programs tried and passed. What our sandbox failed at is not tried."""

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self._tried: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()

    def add(self, question_id: str, verdict: Verdict) -> None:
        """Count one verdict."""
        self.statuses[verdict.status] += 1
        self._tried[question_id] += verdict.status is not Status.SANDBOX_ERROR
        self._passed[question_id] += verdict.passed

    def attempts(self) -> dict[str, Attempts]:
        """By question id, without problems none of whose programs has a verdict."""
        return {name: Attempts(tried, self._passed[name]) for name, tried in self._tried.items() if tried}

    def notes(self) -> list[str]:
        """What a reader of the table has to know, if anything."""
        notes = []
        if failed := self.statuses[Status.SANDBOX_ERROR]:
            without = sum(not tried for tried in self._tried.values())
            notes.append(
                f"{failed} programs have no verdict (sandbox_error) and do not count in pass@k; {without} problems have"
                " no other"
            )
        judged = [tried for tried in self._tried.values() if tried]
        if judged and min(judged) < max(judged):
            notes.append(
                f"problems have {min(judged)} to {max(judged)} judged programs; pass@k is shown up to the fewest of a"
                " line's problems"
            )
        return notes


def groups(problems: Mapping[str, Problem], attempts: Mapping[str, Attempts]) -> dict[str, Counter[Attempts]]:
    """How many problems have which attempts: in all, then by difficulty, then by platform."""
    found: dict[str, Counter[Attempts]] = {}
    for question_id, one in attempts.items():
        problem = problems[question_id]
        for name in ("all", f"difficulty {problem.difficulty or '-'}", f"platform {problem.platform}"):
            found.setdefault(name, Counter())[one] += 1
    first = ["all", *(f"difficulty {name}" for name in DIFFICULTIES)]
    return {name: found[name] for name in [*first, *sorted(found.keys() - set(first))] if name in found}


def status_table(statuses: Mapping[Status, int]) -> str:
    """How many programs ended how."""
    counts = [(str(status), statuses.get(status, 0)) for status in Status]
    total = max(1, sum(count for _, count in counts))
    return _aligned([["status", "programs", "share"], *([name, str(n), f"{n / total:.1%}"] for name, n in counts if n)])


def pass_table(grouped: Mapping[str, Mapping[Attempts, int]]) -> str:
    """pass@k, the mean over a group's problems, for every k up to the fewest attempts at one of them.

    Beyond that a cell is "-". Unbiased: Chen et al., arXiv 2107.03374, section 2.1.
    """
    fewest = {name: min(one.tried for one in counts) for name, counts in grouped.items()}
    largest = max(fewest.values(), default=1)
    blocks = []
    for first in range(1, largest + 1, COLUMNS):
        shown = range(first, min(first + COLUMNS, largest + 1))
        rows = [["", "problems", "programs", *(f"pass@{k}" for k in shown)]]
        for name, counts in grouped.items():
            problems = sum(counts.values())
            programs = sum(one.tried * n for one, n in counts.items())
            cells = [f"{_mean(counts, k):.1%}" if k <= fewest[name] else "-" for k in shown]
            rows.append([name, str(problems), str(programs), *cells])
        blocks.append(_aligned(rows))
    return "\n\n".join(blocks)


def _mean(counts: Mapping[Attempts, int], k: int) -> float:
    return sum(pass_at_k(one.tried, one.passed, k) * n for one, n in counts.items()) / sum(counts.values())


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right. Names come from files: no escape sequence gets through."""
    shown = [[cell if cell.isascii() and cell.isprintable() else ascii(cell)[1:-1] for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in shown
    )
    return "\n".join(line.rstrip() for line in lines)
