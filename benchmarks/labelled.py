"""Accuracy: this evaluator's verdicts on real programs against those of an independent runner on the same tests.

    python -m benchmarks.labelled [--data DIR] [--adaptive-timeout] [--peer]

Every labelled program is judged, two at a time. Those on which we and the label disagree are judged once more, one at a
time, because a limit in seconds means less on a busy machine; both verdicts are listed. With ``--peer`` LiveCodeBench's
own evaluator judges them as well (``make bench NAME=evaluator`` installs it).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.evaluator import MEMORY_MB, TIMEOUT_S, WORKERS, Workload, progress, run_peer
from benchmarks.tools.evaluator_report import PEER_NAME, Outcome
from benchmarks.tools.labelled_programs import DATA, PROBLEMS, PROGRAMS, Label, LabelledProgram, load_programs
from benchmarks.tools.run_ours import build_evaluator
from evaluator import Limits, Problem, Status, Verdict, load_problems

LABELS: dict[Status, Label] = {
    Status.PASSED: "ok",
    Status.WRONG_ANSWER: "wa",
    Status.RUNTIME_ERROR: "re",
    Status.MEMORY_LIMIT: "re",
    Status.OUTPUT_LIMIT: "re",
    Status.TIME_LIMIT: "tle",
    Status.COMPILE_ERROR: "ce",
}  # no_code and sandbox_error agree with no label
SLICE = 600  # programs between two lines of progress

console = Console(width=150, highlight=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A labelled program with our verdict; ``again`` is a second one, where the first did not agree."""

    program: LabelledProgram
    problem: Problem
    verdict: Verdict
    again: Verdict | None = None

    @property
    def agrees(self) -> bool:
        """Whether we and the label agree that it passes, or that it does not."""
        return self.verdict.status in LABELS and self.verdict.passed == (self.program.label == "ok")

    @property
    def agrees_on_status(self) -> bool:
        """Whether we and the label agree on how it fails, too."""
        return LABELS.get(self.verdict.status) == self.program.label


def load_labelled(data: Path) -> list[tuple[LabelledProgram, Problem]]:
    """All labelled programs with their problems, in the file's order; exits with a message where there is no data."""
    if not (data / PROBLEMS).exists() or not (data / PROGRAMS).exists():
        progress.print(f"no {PROBLEMS} and {PROGRAMS} in {data}: name their directory with --data")
        raise typer.Exit(2)
    problems = {problem.question_id: problem for problem in load_problems(data / PROBLEMS, strict=True).problems}
    return [(program, problems[program.question_id]) for program in load_programs(data / PROGRAMS)]


def judge_all(programs: Sequence[tuple[LabelledProgram, Problem]], workers: int, adaptive: bool) -> list[Judged]:
    """Our verdicts, in order."""
    limits = Limits(wall_s=TIMEOUT_S, cpu_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    items = [(problem, program.code) for program, problem in programs]
    verdicts: list[Verdict] = []
    with build_evaluator(limits, workers, adaptive) as evaluator:
        for start in range(0, len(items), SLICE):
            verdicts += asyncio.run(evaluator.evaluate_many(items[start : start + SLICE]))
            progress.print(f"  {len(verdicts)} of {len(items)} programs judged")
    return [
        Judged(program=program, problem=problem, verdict=verdict)
        for (program, problem), verdict in zip(programs, verdicts, strict=True)
    ]


def second_look(judged: Sequence[Judged], settled: Callable[[Judged], bool]) -> list[Judged]:
    """The same with programs that are not ``settled`` judged again, one at a time and at fixed limits."""
    doubtful = [one for one in judged if not settled(one)]
    again = judge_all([(one.program, one.problem) for one in doubtful], workers=1, adaptive=False)
    verdicts = {one.program: one.verdict for one in again}
    return [
        Judged(program=one.program, problem=one.problem, verdict=one.verdict, again=verdicts.get(one.program))
        for one in judged
    ]


def agreement_table(judged: Sequence[Judged]) -> Table:
    """Agreement on passing by platform and difficulty (rows) and label (columns), and which way the rest goes."""
    table = Table(title="passes or not: agreeing / programs")
    for name in ("platform", "difficulty"):
        table.add_column(name)
    for name in (*get_args(Label), "all", "only we pass it", "only the label does", "no verdict", "status agrees"):
        table.add_column(name, justify="right")
    kinds: dict[tuple[str, str], list[Judged]] = {}
    for one in judged:
        kinds.setdefault((one.problem.platform, one.problem.difficulty or ""), []).append(one)
    for kind, some in sorted(kinds.items()):
        table.add_row(*kind, *agreement_row(some))
    table.add_section()
    table.add_row("all", "", *agreement_row(judged))
    return table


def agreement_row(judged: Sequence[Judged]) -> list[str]:
    """The cells of one row, without its name."""
    groups = [[one for one in judged if one.program.label == label] for label in get_args(Label)]
    cells = [f"{sum(one.agrees for one in group)}/{len(group)}" if group else "" for group in (*groups, judged)]
    differing = [one for one in judged if not one.agrees]
    none = sum(one.verdict.status not in LABELS for one in differing)
    ours = sum(one.verdict.passed for one in differing)
    status = sum(one.agrees_on_status for one in judged)
    return cells + [str(count) for count in (ours, len(differing) - ours - none, none, status)]


def difference_table(title: str, judged: Sequence[Judged]) -> Table:
    """Each difference with our detail and the verdict of the second look."""
    table = Table(title=f"{title}: {len(judged)}")
    for name in ("question id", "index", "kind", "label", "ours", "test", "again", "seconds", "detail"):
        table.add_column(name, no_wrap=name != "detail")
    for one in judged:
        again = "" if one.again is None else str(one.again.status)
        first = one.verdict.first_failed
        test = "" if first is None else f"{first} of {one.verdict.tests_total}"
        kind = "stdin" if one.problem.func_name is None else "functional"
        table.add_row(
            *(one.program.question_id, str(one.program.index), kind, one.program.label, str(one.verdict.status), test),
            *(again, f"{one.verdict.seconds:.1f}", one.verdict.detail[:200]),
        )
    return table


def judge_by_peer(programs: Sequence[tuple[LabelledProgram, Problem]], data: Path) -> tuple[Outcome, ...]:
    """The verdicts of LiveCodeBench's evaluator on the same tests, in order."""
    problems = {problem.question_id: problem for _, problem in programs}
    return run_peer(
        Workload(tuple(program for program, _ in programs), problems, (data / PROBLEMS).absolute())
    ).outcomes


def peer_table(judged: Sequence[Judged], peer: Sequence[Outcome]) -> Table:
    """How many programs of each label pass, by our verdicts and by the peer's."""
    table = Table(title=f"programs that pass: ours and {PEER_NAME}'s")
    for name in ("label", "programs", "ours", PEER_NAME):
        table.add_column(name, justify="right")
    for label in get_args(Label):
        pairs = [(one, other) for one, other in zip(judged, peer, strict=True) if one.program.label == label]
        ours = sum(one.verdict.passed for one, _ in pairs)
        theirs = sum(other.passed for _, other in pairs)
        table.add_row(label, str(len(pairs)), str(ours), str(theirs))
    return table


def figures(judged: Sequence[Judged], seconds: float) -> dict[str, float]:
    """What the last line says; ``agree_after_second_look`` takes the second verdict where there is one."""
    final = [
        one if one.again is None else Judged(program=one.program, problem=one.problem, verdict=one.again)
        for one in judged
    ]
    return {
        "programs": len(judged),
        "agree": sum(one.agrees for one in judged),
        "agree_after_second_look": sum(one.agrees for one in final),
        "agree_on_status": sum(one.agrees_on_status for one in judged),
        "agree_on_status_after_second_look": sum(one.agrees_on_status for one in final),
        "sandbox_errors": sum(one.verdict.status is Status.SANDBOX_ERROR for one in judged),
        "seconds": round(seconds, 1),
    }


def main(
    data: Annotated[Path, typer.Option(help="directory with the problems and the labelled programs")] = DATA,
    adaptive_timeout: Annotated[bool, typer.Option(help="lower the limit of problems once solved")] = False,
    peer: Annotated[bool, typer.Option(help=f"also ask {PEER_NAME}'s evaluator")] = False,
) -> None:
    """Compare this evaluator's verdicts with the labels."""
    programs = load_labelled(data)
    began = time.monotonic()
    first = judge_all(programs, WORKERS, adaptive_timeout)
    seconds = time.monotonic() - began
    judged = second_look(first, lambda one: one.agrees_on_status)
    console.print(agreement_table(judged))
    for title, some in (
        ("Pass or not: we and the label disagree", [one for one in judged if not one.agrees]),
        ("Both fail it, differently", [one for one in judged if one.agrees and not one.agrees_on_status]),
    ):
        console.print(difference_table(title, some) if some else f"{title}: none.")
    ways = Counter((one.program.label, str(one.verdict.status)) for one in judged if not one.agrees_on_status)
    counts = [f"{label} but {status}: {count}" for (label, status), count in sorted(ways.items())]
    console.print("; ".join(counts) or "every status agrees")
    if peer:
        console.print(peer_table(judged, judge_by_peer(programs, data)))
    print(json.dumps(figures(judged, seconds)))


if __name__ == "__main__":
    typer.run(main)
