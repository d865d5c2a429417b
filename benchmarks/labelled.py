"""Compare this evaluator's verdicts on recorded programs with labels, an independent runner's verdicts.

    python -m benchmarks.labelled [--data DIR] [--adaptive-timeout] [--peer]

The labels come from the same tests. All labelled programs are judged, two at a time. Programs on which our verdict and
the label disagree are judged a second time, one at a time, because a limit in seconds means less on a busy machine;
both verdicts are listed. With ``--peer`` LiveCodeBench's evaluator judges the programs as well
(``make bench NAME=evaluator`` installs it).
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

from benchmarks.evaluator import (
    MEMORY_MB,
    TIMEOUT_S,
    WORKERS,
    JudgingWorkload,
    check_data_files,
    progress,
    run_peer_evaluator,
)
from benchmarks.tools.evaluator_report import PEER_NAME, ProgramResult
from benchmarks.tools.labelled_programs import (
    DATA_DIRECTORY,
    PROBLEMS_FILE,
    PROGRAMS_FILE,
    Label,
    LabelledProgram,
    load_labelled_programs,
    load_problems_by_id,
)
from benchmarks.tools.run_our_evaluator import build_evaluator
from evaluator import Limits, Problem, Status, Verdict

LABELS: dict[Status, Label] = {
    Status.PASSED: "ok",
    Status.WRONG_ANSWER: "wa",
    Status.RUNTIME_ERROR: "re",
    Status.MEMORY_LIMIT: "re",
    Status.OUTPUT_LIMIT: "re",
    Status.TIME_LIMIT: "tle",
    Status.COMPILE_ERROR: "ce",
}  # no_code and sandbox_error agree with no label
PROGRESS_INTERVAL = 600  # programs between two lines of progress

console = Console(width=150, highlight=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedProgram:
    """A labelled program with our verdict, and a second verdict if the program was judged again."""

    program: LabelledProgram
    problem: Problem
    verdict: Verdict
    second_verdict: Verdict | None = None

    @property
    def agrees(self) -> bool:
        """True if our verdict and the label agree on whether the program passes."""
        return self.verdict.status in LABELS and self.verdict.passed == (self.program.label == "ok")

    @property
    def agrees_on_status(self) -> bool:
        """True if our verdict and the label also agree on how the program fails."""
        return LABELS.get(self.verdict.status) == self.program.label


def load_programs_with_problems(data: Path) -> list[tuple[LabelledProgram, Problem]]:
    """Load all labelled programs with their problems, in file order; exit with a message if the files are missing."""
    check_data_files(data)
    problems = load_problems_by_id(data / PROBLEMS_FILE)
    return [(program, problems[program.question_id]) for program in load_labelled_programs(data / PROGRAMS_FILE)]


def judge_all(programs: Sequence[tuple[LabelledProgram, Problem]], workers: int, adaptive: bool) -> list[JudgedProgram]:
    """Judge programs with this project's evaluator.

    Args:
        programs: programs with their problems.
        workers: programs judged at a time.
        adaptive: use adaptive time limits.

    Returns:
        Judged programs, in the order of ``programs``.
    """
    limits = Limits(wall_s=TIMEOUT_S, cpu_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    items = [(problem, program.code) for program, problem in programs]
    verdicts: list[Verdict] = []
    with build_evaluator(limits, workers, adaptive) as evaluator:
        for start in range(0, len(items), PROGRESS_INTERVAL):
            verdicts += asyncio.run(evaluator.evaluate_many(items[start : start + PROGRESS_INTERVAL]))
            progress.print(f"  {len(verdicts)} of {len(items)} programs judged")
    return [
        JudgedProgram(program=program, problem=problem, verdict=verdict)
        for (program, problem), verdict in zip(programs, verdicts, strict=True)
    ]


def rejudge(judged: Sequence[JudgedProgram], is_settled: Callable[[JudgedProgram], bool]) -> list[JudgedProgram]:
    """Judge programs that are not settled a second time, one at a time with fixed limits; return all programs."""
    unsettled = [item for item in judged if not is_settled(item)]
    rejudged = judge_all([(item.program, item.problem) for item in unsettled], workers=1, adaptive=False)
    second_verdicts = {item.program: item.verdict for item in rejudged}
    return [
        JudgedProgram(
            program=item.program,
            problem=item.problem,
            verdict=item.verdict,
            second_verdict=second_verdicts.get(item.program),
        )
        for item in judged
    ]


def build_agreement_table(judged: Sequence[JudgedProgram]) -> Table:
    """Build the table of agreement with the labels: a row per platform and difficulty, a column per label."""
    table = Table(title="Our verdict and the label agree on pass or fail: agreeing / all programs")
    for name in ("platform", "difficulty"):
        table.add_column(name)
    for label in get_args(Label):
        table.add_column(f"label {label}", justify="right")
    for name in ("all labels", "only we pass it", "only label passes it", "no verdict", "status agrees"):
        table.add_column(name, justify="right")
    groups: dict[tuple[str, str], list[JudgedProgram]] = {}
    for item in judged:
        groups.setdefault((item.problem.platform, item.problem.difficulty or ""), []).append(item)
    for group, members in sorted(groups.items()):
        table.add_row(*group, *format_agreement_cells(members))
    table.add_section()
    table.add_row("all", "", *format_agreement_cells(judged))
    return table


def format_agreement_cells(judged: Sequence[JudgedProgram]) -> list[str]:
    """Format a row of the agreement table, without platform and difficulty."""
    by_label = [[item for item in judged if item.program.label == label] for label in get_args(Label)]
    cells = [f"{sum(item.agrees for item in group)}/{len(group)}" if group else "" for group in (*by_label, judged)]
    differing = [item for item in judged if not item.agrees]
    no_verdict = sum(item.verdict.status not in LABELS for item in differing)
    only_ours = sum(item.verdict.passed for item in differing)
    only_label = len(differing) - only_ours - no_verdict
    status_agrees = sum(item.agrees_on_status for item in judged)
    return cells + [str(count) for count in (only_ours, only_label, no_verdict, status_agrees)]


def build_disagreement_table(title: str, judged: Sequence[JudgedProgram]) -> Table:
    """Build the table of programs on which our verdict and the label disagree, with both of our verdicts."""
    table = Table(title=f"{title}: {len(judged)}")
    for name in (
        *("question id", "index", "kind", "label", "our verdict", "first failed test", "second verdict"),
        *("seconds", "detail"),
    ):
        table.add_column(name, no_wrap=name != "detail")
    for item in judged:
        second_verdict = "" if item.second_verdict is None else str(item.second_verdict.status)
        first_failed = item.verdict.first_failed
        failed_test = "" if first_failed is None else f"{first_failed} of {item.verdict.tests_total}"
        kind = "stdin" if item.problem.func_name is None else "functional"
        table.add_row(
            *(item.program.question_id, str(item.program.index), kind, item.program.label, str(item.verdict.status)),
            *(failed_test, second_verdict, f"{item.verdict.seconds:.1f}", item.verdict.detail[:200]),
        )
    return table


def judge_with_peer(programs: Sequence[tuple[LabelledProgram, Problem]], data: Path) -> tuple[ProgramResult, ...]:
    """Judge programs with LiveCodeBench's evaluator on the same tests; results are in the order of ``programs``."""
    problems = {problem.question_id: problem for _, problem in programs}
    return run_peer_evaluator(
        JudgingWorkload(tuple(program for program, _ in programs), problems, (data / PROBLEMS_FILE).absolute())
    ).results


def build_peer_table(judged: Sequence[JudgedProgram], peer_results: Sequence[ProgramResult]) -> Table:
    """Build the table of passing programs per label, by our verdicts and by the peer's."""
    table = Table(title="Programs that pass, by label")
    for name in ("label", "programs", "pass with ours", f"pass with {PEER_NAME}"):
        table.add_column(name, justify="right")
    for label in get_args(Label):
        pairs = [
            (item, result) for item, result in zip(judged, peer_results, strict=True) if item.program.label == label
        ]
        ours = sum(item.verdict.passed for item, _ in pairs)
        theirs = sum(result.passed for _, result in pairs)
        table.add_row(label, str(len(pairs)), str(ours), str(theirs))
    return table


def compute_summary(judged: Sequence[JudgedProgram], seconds: float) -> dict[str, float]:
    """Compute the metrics of the JSON line; ``*_after_second_look`` use the second verdict where there is one."""
    final = [
        item
        if item.second_verdict is None
        else JudgedProgram(program=item.program, problem=item.problem, verdict=item.second_verdict)
        for item in judged
    ]
    return {
        "programs": len(judged),
        "agree": sum(item.agrees for item in judged),
        "agree_after_second_look": sum(item.agrees for item in final),
        "agree_on_status": sum(item.agrees_on_status for item in judged),
        "agree_on_status_after_second_look": sum(item.agrees_on_status for item in final),
        "sandbox_errors": sum(item.verdict.status is Status.SANDBOX_ERROR for item in judged),
        "seconds": round(seconds, 1),
    }


def main(
    data: Annotated[Path, typer.Option(help="directory with the problems and the labelled programs")] = DATA_DIRECTORY,
    adaptive_timeout: Annotated[bool, typer.Option(help="lower the time limits of problems once solved")] = False,
    peer: Annotated[bool, typer.Option(help=f"also judge with {PEER_NAME}'s evaluator")] = False,
) -> None:
    """Compare this evaluator's verdicts with the labels."""
    programs = load_programs_with_problems(data)
    began = time.monotonic()
    first = judge_all(programs, WORKERS, adaptive_timeout)
    seconds = time.monotonic() - began
    judged = rejudge(first, lambda item: item.agrees_on_status)
    console.print(build_agreement_table(judged))
    for title, differing in (
        ("Our verdict and the label disagree on pass or fail", [item for item in judged if not item.agrees]),
        (
            "Our verdict and the label both fail the program, with different statuses",
            [item for item in judged if item.agrees and not item.agrees_on_status],
        ),
    ):
        console.print(build_disagreement_table(title, differing) if differing else f"{title}: none.")
    counts = Counter((item.program.label, str(item.verdict.status)) for item in judged if not item.agrees_on_status)
    lines = [f"label {label}, our status {status}: {count}" for (label, status), count in sorted(counts.items())]
    console.print("; ".join(lines) or "every status agrees")
    if peer:
        console.print(build_peer_table(judged, judge_with_peer(programs, data)))
    print(json.dumps(compute_summary(judged, seconds)))


if __name__ == "__main__":
    typer.run(main)
