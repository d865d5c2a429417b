"""Summary of the scoring command: status counts and pass@k, formatted as text tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from evaluator.checker import CustomChecker, parse_checker
from evaluator.pass_at_k import Attempts, pass_at_k
from evaluator.problem import Problem
from evaluator.verdict import Status, Verdict

PASS_COLUMNS = 8  # number of pass@k columns per table
DIFFICULTIES = ("easy", "medium", "hard")  # listed first, in this order


class VerdictCounts:
    """Counts of statuses, and of programs tried and passed per problem. ``sandbox_error`` does not count as tried."""

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self._tried: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()
        self._tests_passed: Counter[str] = Counter()
        self._wrong_answers: Counter[str] = Counter()

    def add(self, question_id: str, verdict: Verdict) -> None:
        """Count one verdict."""
        self.statuses[verdict.status] += 1
        self._tried[question_id] += verdict.status is not Status.SANDBOX_ERROR
        self._passed[question_id] += verdict.passed
        self._tests_passed[question_id] += verdict.tests_passed
        self._wrong_answers[question_id] += verdict.status is Status.WRONG_ANSWER

    def get_attempts(self) -> dict[str, Attempts]:
        """Return the attempts by question id, without problems that have no verdict other than ``sandbox_error``."""
        return {name: Attempts(tried, self._passed[name]) for name, tried in self._tried.items() if tried}

    def find_unaccepting_checkers(self, problems: Mapping[str, Problem]) -> dict[str, int]:
        """Return the problems whose custom checker rejected answers and accepted none, with the number of programs."""
        rejected = {
            name: wrong for name, wrong in self._wrong_answers.items() if wrong and not self._tests_passed[name]
        }
        return {
            name: wrong
            for name, wrong in rejected.items()
            if isinstance(parse_checker(problems[name].checker), CustomChecker)
        }

    def list_notes(self) -> list[str]:
        """Return notes that a reader of the tables needs; often none."""
        notes = []
        if failed := self.statuses[Status.SANDBOX_ERROR]:
            unjudged = sum(not tried for tried in self._tried.values())
            notes.append(
                f"{failed} programs have no verdict (sandbox_error) and do not count in pass@k; {unjudged} problems"
                " have no verdict at all"
            )
        judged = [tried for tried in self._tried.values() if tried]
        if judged and min(judged) < max(judged):
            notes.append(
                f"problems have {min(judged)} to {max(judged)} judged programs; each line shows pass@k up to the fewest"
                " programs of its problems"
            )
        return notes


def group_attempts(problems: Mapping[str, Problem], attempts: Mapping[str, Attempts]) -> dict[str, Counter[Attempts]]:
    """Count problems by their attempts: over all problems, then by difficulty, then by platform."""
    grouped: dict[str, Counter[Attempts]] = {}
    for question_id, problem_attempts in attempts.items():
        problem = problems[question_id]
        for name in ("all", f"difficulty {problem.difficulty or '-'}", f"platform {problem.platform}"):
            grouped.setdefault(name, Counter())[problem_attempts] += 1
    first = ["all", *(f"difficulty {name}" for name in DIFFICULTIES)]
    return {name: grouped[name] for name in [*first, *sorted(grouped.keys() - set(first))] if name in grouped}


def format_status_table(statuses: Mapping[Status, int]) -> str:
    """Format the number and share of programs per status."""
    counts = [(str(status), statuses.get(status, 0)) for status in Status]
    total = max(1, sum(count for _, count in counts))
    rows = ([name, str(count), f"{count / total:.1%}"] for name, count in counts if count)
    return _align_columns([["status", "programs", "share"], *rows])


def format_pass_table(grouped: Mapping[str, Mapping[Attempts, int]]) -> str:
    """Format the mean pass@k of each group of problems, for k up to the fewest attempts at one of its problems.

    Cells beyond that show "-". The estimator is unbiased: Chen et al., arXiv 2107.03374, section 2.1.
    """
    fewest = {name: min(attempts.tried for attempts in counts) for name, counts in grouped.items()}
    largest = max(fewest.values(), default=1)
    blocks = []
    for first in range(1, largest + 1, PASS_COLUMNS):
        shown = range(first, min(first + PASS_COLUMNS, largest + 1))
        rows = [["", "problems", "programs", *(f"pass@{k}" for k in shown)]]
        for name, counts in grouped.items():
            problems = sum(counts.values())
            programs = sum(attempts.tried * n for attempts, n in counts.items())
            cells = [f"{_mean_pass_at_k(counts, k):.1%}" if k <= fewest[name] else "-" for k in shown]
            rows.append([name, str(problems), str(programs), *cells])
        blocks.append(_align_columns(rows))
    return "\n\n".join(blocks)


def format_checker_table(unaccepting: Mapping[str, int]) -> str:
    """Format the problems whose custom checker accepted no answer, with the number of wrong programs."""
    rows = [[name, str(programs)] for name, programs in unaccepting.items()]
    return _align_columns([["custom checker that accepted no answer", "wrong programs"], *rows])


def _mean_pass_at_k(counts: Mapping[Attempts, int], k: int) -> float:
    total = sum(pass_at_k(attempts.tried, attempts.passed, k) * n for attempts, n in counts.items())
    return total / sum(counts.values())


def _align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Align the first column to the left and the others to the right.

    Non-printable characters are escaped, since names come from files and could contain terminal escape sequences.
    Others that are not ASCII are escaped too, since their width is unknown.
    """
    shown = [[cell if cell.isascii() and cell.isprintable() else ascii(cell)[1:-1] for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in shown
    )
    return "\n".join(line.rstrip() for line in lines)
