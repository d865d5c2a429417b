"""Official LiveCodeBench verdicts beside ours, and the causes of their differences.

Causes are found by rules over the data; no program is listed by hand.
"""

from __future__ import annotations

import ast
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from benchmarks.labelled import JudgedProgram

OfficialError = Literal["wrong answer", "time limit", "runtime error", "unknown"]
ERRORS: Mapping[int, OfficialError] = {-2: "wrong answer", -3: "time limit", -4: "runtime error"}
TOLERANT_COMPARISONS = frozenset(
    {"numeric", "json_close", "granted_tolerance"}
)  # the last digits of a fraction may differ
# Characters. An input this small has at most about a thousand numbers, too few for a time limit to catch slow programs.
SMALL_INPUT = 2000


class Cause(StrEnum):
    """Cause of a difference between an official verdict and ours: the first rule that applies, in this order."""

    CONTRADICTORY = "official verdicts contradict each other"
    UNSTEADY = "our second verdict differs from our first"
    LABEL_DIFFERS = "the independent runner disagrees with us"
    THREAD = "computes in a thread that is never joined, officially a wrong answer"
    OPEN_ZERO = "reads open(0), officially too slow"
    LAST_DIGITS = "differs in the last digits of a fraction, officially a wrong answer"
    TIME_LIMIT = "officially too slow; all inputs available here are small"
    NO_PRIVATE_TEST = "officially wrong or crashing; no private test of the problem is available here"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class OfficialVerdict:
    """LiveCodeBench's verdicts of a program.

    Attributes:
        verdicts: passed or not, for each model that wrote the program.
        error: kind of failure, None if all verdicts are passes.
    """

    verdicts: tuple[bool, ...]
    error: OfficialError | None

    @property
    def pass_share(self) -> float:
        """Share of the verdicts that are passes: 0 or 1, unless they contradict each other."""
        return sum(self.verdicts) / len(self.verdicts)


@dataclass(frozen=True)
class VerdictComparison:
    """A program with our verdict and the official one."""

    judged: JudgedProgram
    official: OfficialVerdict

    @property
    def agrees(self) -> bool:
        """True if all official verdicts and ours are passes, or all are failures."""
        return self.official.pass_share == float(self.judged.verdict.passed)


def load_official_verdicts(path: Path) -> tuple[OfficialVerdict, ...]:
    """Load the official verdicts of the labelled programs, in file order.

    Raises:
        OSError: the file cannot be read.
        ValueError: a row has no official verdict.
    """
    officials = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, row in enumerate(map(json.loads, lines), 1):
            verdicts = tuple(row["lcb_official"])
            if not verdicts or not all(isinstance(verdict, bool) for verdict in verdicts):
                raise ValueError(
                    f"{path}, line {number}: lcb_official must be a list of booleans that is not empty, "
                    f"not {row['lcb_official']!r}"
                )
            error = None if all(verdicts) else ERRORS.get(row["lcb_error_code"], "unknown")
            officials.append(OfficialVerdict(verdicts, error))
    return tuple(officials)


def find_cause(comparison: VerdictComparison) -> Cause:
    """Return the first cause that explains why the verdicts of a program differ."""
    judged = comparison.judged
    official = comparison.official
    if 0 < official.pass_share < 1:
        return Cause.CONTRADICTORY
    if judged.second_verdict is not None and judged.second_verdict.passed != judged.verdict.passed:
        return Cause.UNSTEADY
    if not judged.agrees:
        return Cause.LABEL_DIFFERS
    if not judged.verdict.passed:
        return Cause.UNEXPLAINED
    for cause, error in REJECTED_TRAITS.items():
        if official.error == error and has_trait(comparison, cause):
            return cause
    if official.error == "time limit" and max(len(test.input) for test in judged.problem.tests) <= SMALL_INPUT:
        return Cause.TIME_LIMIT
    test_counts = count_tests_by_source(judged)
    if test_counts is not None and not test_counts.get("private"):
        return Cause.NO_PRIVATE_TEST
    return Cause.UNEXPLAINED


# Traits of right programs that LiveCodeBench's evaluator rejects (docs/evaluator.md), with the error that it reports.
REJECTED_TRAITS: Mapping[Cause, OfficialError] = {
    Cause.THREAD: "wrong answer",
    Cause.OPEN_ZERO: "time limit",
    Cause.LAST_DIGITS: "wrong answer",
}


def has_trait(comparison: VerdictComparison, cause: Cause) -> bool:
    """Return True if a program that passes here has the trait ``cause``, a key of ``REJECTED_TRAITS``."""
    if cause is Cause.LAST_DIGITS:
        return comparison.judged.verdict.accepted_by in TOLERANT_COMPARISONS
    return cause in find_code_traits(comparison.judged.program.code)


def find_code_traits(code: str) -> frozenset[Cause]:
    """Find the traits THREAD and OPEN_ZERO in the syntax tree of a Python program.

    >>> sorted(cause.name for cause in find_code_traits("import threading\\nthreading.Thread(target=main).start()\\n"))
    ['THREAD']
    >>> find_code_traits("from threading import Thread\\nt = Thread(target=main)\\nt.start()\\nt.join()\\n")
    frozenset()
    >>> sorted(cause.name for cause in find_code_traits("print(open(0).read())\\n"))
    ['OPEN_ZERO']
    """
    try:
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    named_calls = [(_called_name(call), call) for call in calls]
    traits = set()
    # Thread.join has no positional argument here, str.join always has one.
    joins_thread = any(name == "join" and not call.args for name, call in named_calls)
    if not joins_thread and any(name == "Thread" for name, _ in named_calls):
        traits.add(Cause.THREAD)
    if any(name == "open" and call.args and _is_zero(call.args[0]) for name, call in named_calls):
        traits.add(Cause.OPEN_ZERO)
    return frozenset(traits)


def _called_name(call: ast.Call) -> str:
    """Return the last part of the called name, or "" if the callee is no name."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def count_tests_by_source(judged: JudgedProgram) -> Mapping[str, int] | None:
    """Return the numbers of ``public``, ``private`` and ``generated`` tests, None if the data does not have them."""
    counts = judged.problem.extra.get("x_test_sources")
    return counts if isinstance(counts, Mapping) else None


def pass_at_1(shares: Iterable[tuple[str, float]]) -> float:
    """Compute pass@1: the mean over problems of the mean over a problem's programs.

    Args:
        shares: (question id, share of passing verdicts) of each program.

    >>> pass_at_1([("a", 1.0), ("a", 0.0), ("b", 1.0)])
    0.75
    """
    by_problem: dict[str, list[float]] = {}
    for question_id, share in shares:
        by_problem.setdefault(question_id, []).append(share)
    if not by_problem:
        return 0.0
    return sum(sum(problem_shares) / len(problem_shares) for problem_shares in by_problem.values()) / len(by_problem)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementRow:
    """Row of the agreement table.

    Attributes:
        problems: number of problems.
        programs: number of programs.
        official: pass@1 by the official verdicts.
        ours: pass@1 by our verdicts, over the same programs.
        agree: programs on which the verdicts agree.
        only_we_pass: other programs, of those that pass with ours.
        only_official_passes: other programs, of those that fail with ours.
    """

    problems: int
    programs: int
    official: float
    ours: float
    agree: int
    only_we_pass: int
    only_official_passes: int


def summarize_agreement(comparisons: Sequence[VerdictComparison]) -> AgreementRow:
    """Compute the agreement row of some programs.

    A program with contradictory official verdicts counts as passed by only one side, according to our verdict.
    """
    differing = [comparison for comparison in comparisons if not comparison.agrees]
    only_we_pass = sum(comparison.judged.verdict.passed for comparison in differing)
    ids = [comparison.judged.program.question_id for comparison in comparisons]
    official_shares = [comparison.official.pass_share for comparison in comparisons]
    our_shares = [float(comparison.judged.verdict.passed) for comparison in comparisons]
    return AgreementRow(
        problems=len(set(ids)),
        programs=len(comparisons),
        official=pass_at_1(zip(ids, official_shares, strict=True)),
        ours=pass_at_1(zip(ids, our_shares, strict=True)),
        agree=len(comparisons) - len(differing),
        only_we_pass=only_we_pass,
        only_official_passes=len(differing) - only_we_pass,
    )


def summarize_causes(comparisons: Sequence[VerdictComparison]) -> dict[Cause, tuple[int, float]]:
    """Return, for each cause that occurs, its number of programs and how much they add to our pass@1.

    The additions sum to the difference between our pass@1 and the official one. Causes are in the order of ``Cause``.
    """
    programs_per_problem = Counter(comparison.judged.program.question_id for comparison in comparisons)
    totals: dict[Cause, tuple[int, float]] = {}
    for comparison in comparisons:
        if not comparison.agrees:
            cause = find_cause(comparison)
            count, addition = totals.get(cause, (0, 0.0))
            program_count = programs_per_problem[comparison.judged.program.question_id]
            added = (comparison.judged.verdict.passed - comparison.official.pass_share) / program_count
            totals[cause] = (count + 1, addition + added / len(programs_per_problem))
    return {cause: totals[cause] for cause in Cause if cause in totals}


def count_passes_by_trait(comparisons: Sequence[VerdictComparison]) -> dict[Cause | None, tuple[int, int]]:
    """Count the programs that pass here, and those of them that pass officially, by trait of ``REJECTED_TRAITS``.

    The key None is for programs without any of these traits.
    """
    passing = [comparison for comparison in comparisons if comparison.judged.verdict.passed]
    groups: dict[Cause | None, list[VerdictComparison]] = {
        cause: [comparison for comparison in passing if has_trait(comparison, cause)] for cause in REJECTED_TRAITS
    }
    groups[None] = [
        comparison for comparison in passing if not any(has_trait(comparison, cause) for cause in REJECTED_TRAITS)
    ]
    return {
        cause: (len(group), sum(comparison.official.pass_share == 1 for comparison in group))
        for cause, group in groups.items()
    }
