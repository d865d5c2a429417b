"""Official LiveCodeBench verdicts beside ours, and why they differ: by rules over the data, not lists of programs."""

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

from benchmarks.labelled import Judged

OfficialError = Literal["wrong answer", "time limit", "runtime error", "unknown"]
ERRORS: Mapping[int, OfficialError] = {-2: "wrong answer", -3: "time limit", -4: "runtime error"}
TOLERANT = frozenset({"numeric", "json_close"})  # comparisons that let the last digits of a fraction differ
# Characters. An input this small holds no more than about a thousand numbers: no limit in seconds shows on it.
SMALL_INPUT = 2000


class Cause(StrEnum):
    """Why an official verdict and ours differ: the first rule that applies, in this order."""

    CONTRADICTORY = "official verdicts contradict each other"
    UNSTEADY = "our second verdict is another one"
    LABEL_DIFFERS = "the independent runner does not agree with us"
    THREAD = "computes in a thread that nobody waits for, officially a wrong answer"
    OPEN_ZERO = "reads open(0), officially too slow"
    LAST_DIGITS = "differs in the last digits of a fraction, officially a wrong answer"
    TIME_LIMIT = "officially too slow; no input here is large"
    NO_PRIVATE_TEST = "officially wrong or crashing; no private test of the problem is here"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Official:
    """What LiveCodeBench said of a program: a verdict for each model that wrote it, and the kind of a failure."""

    verdicts: tuple[bool, ...]
    error: OfficialError | None

    @property
    def share(self) -> float:
        """The part of its verdicts that say it passes: 0 or 1, unless they contradict each other."""
        return sum(self.verdicts) / len(self.verdicts)


@dataclass(frozen=True)
class Compared:
    """A program with the official verdict and ours."""

    judged: Judged
    official: Official

    @property
    def agrees(self) -> bool:
        """Whether all say that it passes, or all that it does not."""
        return self.official.share == float(self.judged.verdict.passed)


def load_official(path: Path) -> tuple[Official, ...]:
    """The official verdicts of the labelled programs, in the file's order.

    Raises OSError when it cannot be read, ValueError for a row without a verdict.
    """
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, row in enumerate(map(json.loads, lines), 1):
            verdicts = tuple(row["lcb_official"])
            if not verdicts or not all(isinstance(verdict, bool) for verdict in verdicts):
                raise ValueError(f"{path}, line {number}: no official verdict: {row['lcb_official']!r}")
            error = None if all(verdicts) else ERRORS.get(row["lcb_error_code"], "unknown")
            found.append(Official(verdicts, error))
    return tuple(found)


def cause_of(compared: Compared) -> Cause:
    """Why the verdicts of one program differ."""
    judged = compared.judged
    official = compared.official
    if 0 < official.share < 1:
        return Cause.CONTRADICTORY
    if judged.again is not None and judged.again.passed != judged.verdict.passed:
        return Cause.UNSTEADY
    if not judged.agrees:
        return Cause.LABEL_DIFFERS
    if not judged.verdict.passed:
        return Cause.UNEXPLAINED
    for cause, error in REFUSALS.items():
        if official.error == error and has_trait(compared, cause):
            return cause
    if official.error == "time limit" and max(len(test.input) for test in judged.problem.tests) <= SMALL_INPUT:
        return Cause.TIME_LIMIT
    sources = test_sources(judged)
    if sources is not None and not sources.get("private"):
        return Cause.NO_PRIVATE_TEST
    return Cause.UNEXPLAINED


# What LiveCodeBench's evaluator is known to refuse (docs/evaluator.md), and what it then says.
REFUSALS: Mapping[Cause, OfficialError] = {
    Cause.THREAD: "wrong answer",
    Cause.OPEN_ZERO: "time limit",
    Cause.LAST_DIGITS: "wrong answer",
}


def has_trait(compared: Compared, cause: Cause) -> bool:
    """Whether a program that passes here does what ``cause``, one of ``REFUSALS``, is about."""
    if cause is Cause.LAST_DIGITS:
        return compared.judged.verdict.accepted_by in TOLERANT
    return cause in habits(compared.judged.program.code)


def habits(code: str) -> frozenset[Cause]:
    """Which of the first two of ``REFUSALS`` a Python program is about, from its syntax tree.

    >>> sorted(cause.name for cause in habits("import threading\\nthreading.Thread(target=main).start()\\n"))
    ['THREAD']
    >>> habits("from threading import Thread\\nt = Thread(target=main)\\nt.start()\\nt.join()\\n")
    frozenset()
    >>> sorted(cause.name for cause in habits("print(open(0).read())\\n"))
    ['OPEN_ZERO']
    """
    try:
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    names = [(_called(call), call) for call in calls]
    found = set()
    # A thread's join takes no argument by position, a string's takes one.
    waits = any(name == "join" and not call.args for name, call in names)
    if not waits and any(name == "Thread" for name, _ in names):
        found.add(Cause.THREAD)
    if any(name == "open" and call.args and _is_zero(call.args[0]) for name, call in names):
        found.add(Cause.OPEN_ZERO)
    return frozenset(found)


def _called(call: ast.Call) -> str:
    """The last part of the called name; empty where it has none."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def test_sources(judged: Judged) -> Mapping[str, int] | None:
    """How many tests of its problem are ``public``, ``private``, ``generated``; None where the data is silent."""
    sources = judged.problem.extra.get("x_test_sources")
    return sources if isinstance(sources, Mapping) else None


def pass_at_1(shares: Iterable[tuple[str, float]]) -> float:
    """Mean over problems of the mean over a problem's programs, from (question id, share of passing) of each.

    >>> pass_at_1([("a", 1.0), ("a", 0.0), ("b", 1.0)])
    0.75
    """
    by_problem: dict[str, list[float]] = {}
    for question_id, share in shares:
        by_problem.setdefault(question_id, []).append(share)
    if not by_problem:
        return 0.0
    return sum(sum(some) / len(some) for some in by_problem.values()) / len(by_problem)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of the table of agreement; both figures of pass@1 are over the same programs."""

    problems: int
    programs: int
    official: float
    ours: float
    agree: int
    only_we_pass: int
    only_official_passes: int


def row_of(compared: Sequence[Compared]) -> Row:
    """The counts of some programs. Of a contradictory row, which side passes it is told by our verdict alone."""
    differing = [one for one in compared if not one.agrees]
    ours = sum(one.judged.verdict.passed for one in differing)
    ids = [one.judged.program.question_id for one in compared]
    return Row(
        problems=len(set(ids)),
        programs=len(compared),
        official=pass_at_1(zip(ids, (one.official.share for one in compared), strict=True)),
        ours=pass_at_1(zip(ids, (float(one.judged.verdict.passed) for one in compared), strict=True)),
        agree=len(compared) - len(differing),
        only_we_pass=ours,
        only_official_passes=len(differing) - ours,
    )


def gains(compared: Sequence[Compared]) -> dict[Cause, tuple[int, float]]:
    """For each cause that occurs, in ``Cause``'s order: its programs, and what they add to our pass@1.

    The second numbers add up to how much our figure exceeds the official one.
    """
    sizes = Counter(one.judged.program.question_id for one in compared)
    found: dict[Cause, tuple[int, float]] = {}
    for one in compared:
        if not one.agrees:
            cause = cause_of(one)
            count, gain = found.get(cause, (0, 0.0))
            added = (one.judged.verdict.passed - one.official.share) / sizes[one.judged.program.question_id]
            found[cause] = (count + 1, gain + added / len(sizes))
    return {cause: found[cause] for cause in Cause if cause in found}


def refusal_counts(compared: Sequence[Compared]) -> dict[Cause | None, tuple[int, int]]:
    """Among programs that pass here: those with each trait of ``REFUSALS``, and those of them that pass officially.

    Under None: those without any such trait.
    """
    passing = [one for one in compared if one.judged.verdict.passed]
    groups: dict[Cause | None, list[Compared]] = {
        cause: [one for one in passing if has_trait(one, cause)] for cause in REFUSALS
    }
    groups[None] = [one for one in passing if not any(has_trait(one, cause) for cause in REFUSALS)]
    return {cause: (len(group), sum(one.official.share == 1 for one in group)) for cause, group in groups.items()}
