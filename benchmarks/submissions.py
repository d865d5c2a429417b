"""Compare pass@1 of recorded LiveCodeBench submissions, judged here, with pass@1 by their official verdicts.

    python -m benchmarks.submissions [--data DIR] [--peer] [--show]

All recorded programs are judged, two at a time. Programs on which our verdict disagrees with the official one or the
independent runner's are judged a second time, one at a time. Each disagreement with an official verdict gets the first
cause whose rule applies (``tools/official_verdicts.py``); those without a cause are listed. The official verdicts come
from all tests of the benchmark, of which only some are available here.

With ``--peer`` LiveCodeBench's evaluator judges the disagreements on the tests available here. Both evaluators then
judge the programs with threads again, after changing nothing but the threads' timing (``make bench NAME=evaluator``
installs LiveCodeBench's evaluator).
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.evaluator import WORKERS, progress
from benchmarks.labelled import console, judge_all, judge_with_peer, load_programs_with_problems, rejudge
from benchmarks.tools.evaluator_report import PEER_NAME, ProgramResult
from benchmarks.tools.labelled_programs import DATA_DIRECTORY, PROGRAMS_FILE
from benchmarks.tools.official_verdicts import (
    Cause,
    VerdictComparison,
    count_passes_by_trait,
    count_tests_by_source,
    find_cause,
    has_trait,
    load_official_verdicts,
    summarize_agreement,
    summarize_causes,
)

# Prepended to a program. Neither changes its answers: the first lets the main thread end before the others, the second
# makes it wait for them.
DELAYED_THREADS = """import threading, time
_run = threading.Thread.run
threading.Thread.run = lambda self: (time.sleep(0.05), _run(self))
"""
JOINED_THREADS = """import threading
_start = threading.Thread.start
threading.Thread.start = lambda self: (_start(self), self.join())
"""
DIFFICULTIES = ("easy", "medium", "hard")
ALL = "all"


def group_by_row(comparisons: Sequence[VerdictComparison]) -> list[tuple[str, str, list[VerdictComparison]]]:
    """Return platform, difficulty and programs of each row that is not empty: all platforms first, then each one."""
    platforms = [ALL, *sorted({comparison.judged.problem.platform for comparison in comparisons})]
    return [
        (platform, difficulty, members)
        for platform in platforms
        for difficulty in (*DIFFICULTIES, ALL)
        if (members := [comparison for comparison in comparisons if is_in_row(comparison, platform, difficulty)])
    ]


def is_in_row(comparison: VerdictComparison, platform: str, difficulty: str) -> bool:
    """Return True if a program belongs to the row of ``platform`` and ``difficulty``; "all" matches any."""
    problem = comparison.judged.problem
    return platform in (ALL, problem.platform) and difficulty in (ALL, problem.difficulty)


def build_agreement_table(comparisons: Sequence[VerdictComparison]) -> Table:
    """Build the table of pass@1 by both verdicts and of their agreement, by platform and difficulty."""
    table = Table(title="pass@1 by the official verdicts and by ours")
    for name in ("platform", "difficulty"):
        table.add_column(name)
    for name in (
        *("problems", "programs", "official pass@1", "our pass@1", "agreement"),
        *("only we pass", "only official passes"),
    ):
        table.add_column(name, justify="right")
    for platform, difficulty, members in group_by_row(comparisons):
        row = summarize_agreement(members)
        counts = (str(row.only_we_pass), str(row.only_official_passes))
        scores = (f"{row.official:.3f}", f"{row.ours:.3f}", f"{row.agree / row.programs:.1%}")
        table.add_row(platform, difficulty, str(row.problems), str(row.programs), *scores, *counts)
        if difficulty == ALL:
            table.add_section()
    return table


def build_cause_table(comparisons: Sequence[VerdictComparison], peer_rejections: Counter[Cause] | None) -> Table:
    """Build the table of causes with their disagreements and their share of the difference in pass@1.

    Args:
        comparisons: all programs.
        peer_rejections: disagreements that the peer rejects on the tests available here, by cause; None if it did not
            judge them.
    """
    table = Table(title="Causes of differing verdicts")
    table.add_column("cause")
    peer_column = [] if peer_rejections is None else [f"rejected by {PEER_NAME} here"]
    for name in ("programs", "added to our pass@1", "median tests available here", *peer_column):
        table.add_column(name, justify="right")
    for cause, (count, addition) in summarize_causes(comparisons).items():
        members = [
            comparison for comparison in comparisons if not comparison.agrees and find_cause(comparison) is cause
        ]
        tests = statistics.median_low([len(comparison.judged.problem.tests) for comparison in members])
        peer_cell = [] if peer_rejections is None else [str(peer_rejections[cause])]
        table.add_row(cause, str(count), f"{addition:+.4f}", str(tests), *peer_cell)
    return table


def build_trait_table(comparisons: Sequence[VerdictComparison]) -> Table:
    """Build the table of programs that pass here by trait, to see if those with a trait pass officially less often."""
    table = Table(title="Programs that pass here, by trait that LiveCodeBench's evaluator rejects")
    table.add_column("trait")
    for name in ("pass here", "of these, pass officially"):
        table.add_column(name, justify="right")
    for cause, (count, official) in count_passes_by_trait(comparisons).items():
        trait = "none of these" if cause is None else cause.split(", officially")[0]
        table.add_row(trait, str(count), str(official))
    return table


def build_disagreement_table(title: str, comparisons: Sequence[VerdictComparison]) -> Table:
    """Build the table of disagreements with an official verdict, a row per program."""
    table = Table(title=f"{title}: {len(comparisons)}")
    for name in ("question id", "index", "tests", "official verdict", "label", "our verdict", "second verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("detail")
    for comparison in comparisons:
        judged = comparison.judged
        test_counts = count_tests_by_source(judged) or {"all": len(judged.problem.tests)}
        tests = ", ".join(f"{count} {source}" for source, count in test_counts.items())
        official = comparison.official.error or "passed"
        second_verdict = "" if judged.second_verdict is None else str(judged.second_verdict.status)
        table.add_row(
            *(judged.program.question_id, str(judged.program.index), tests, official),
            *(judged.program.label, str(judged.verdict.status), second_verdict, judged.verdict.detail[:200]),
        )
    return table


def count_peer_rejections(
    differing: Sequence[VerdictComparison], peer_results: Sequence[ProgramResult]
) -> Counter[Cause]:
    """Count, by cause, the disagreements that the peer rejects on the tests available here."""
    pairs = zip(differing, peer_results, strict=True)
    return Counter(find_cause(comparison) for comparison, result in pairs if not result.passed)


def build_thread_table(threaded: Sequence[VerdictComparison], data: Path) -> Table:
    """Judge programs with unjoined threads at several thread timings, and build the table of how many pass.

    Args:
        threaded: programs with the trait THREAD that pass here.
        data: directory with the problems.
    """
    table = Table(title=f"{len(threaded)} programs with a thread that is never joined, by thread timing")
    table.add_column("thread timing")
    for name in ("pass with ours", f"pass with {PEER_NAME}"):
        table.add_column(name, justify="right")
    for name, prefix in (
        ("as written", ""),
        ("threads start 50 ms late", DELAYED_THREADS),
        ("threads are joined", JOINED_THREADS),
    ):
        programs = [
            (
                replace(comparison.judged.program, code=prefix + comparison.judged.program.code),
                comparison.judged.problem,
            )
            for comparison in threaded
        ]
        ours = sum(item.verdict.passed for item in judge_all(programs, WORKERS, adaptive=False))
        table.add_row(name, str(ours), str(sum(result.passed for result in judge_with_peer(programs, data))))
    return table


def compute_summary(comparisons: Sequence[VerdictComparison], seconds: float) -> dict[str, object]:
    """Compute the metrics of the JSON line; ``added_to_pass_at_1`` sums to our pass@1 minus the official one."""
    causes = summarize_causes(comparisons)
    row = asdict(summarize_agreement(comparisons))
    return {
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()},
        "disagreements": {cause.name.lower(): count for cause, (count, _) in causes.items()},
        "added_to_pass_at_1": {cause.name.lower(): round(addition, 4) for cause, (_, addition) in causes.items()},
        "largest_input_characters": max(
            len(test.input) for comparison in comparisons for test in comparison.judged.problem.tests
        ),
        "seconds": round(seconds, 1),
    }


def main(
    data: Annotated[Path, typer.Option(help="directory with the problems and the recorded programs")] = DATA_DIRECTORY,
    peer: Annotated[bool, typer.Option(help=f"also judge the disagreements with {PEER_NAME}'s evaluator")] = False,
    show: Annotated[bool, typer.Option(help="list every disagreement, by cause")] = False,
) -> None:
    """Compare this evaluator's verdicts with the official ones."""
    programs = load_programs_with_problems(data)
    official_verdicts = load_official_verdicts(data / PROGRAMS_FILE)
    began = time.monotonic()
    first = judge_all(programs, WORKERS, adaptive=False)
    seconds = time.monotonic() - began
    official = dict(zip((program for program, _ in programs), official_verdicts, strict=True))
    progress.print("  judging disagreements a second time, one at a time")
    judged = rejudge(
        first,
        lambda item: item.agrees_on_status and VerdictComparison(item, official[item.program]).agrees,
    )
    comparisons = [VerdictComparison(item, official[item.program]) for item in judged]
    differing = [comparison for comparison in comparisons if not comparison.agrees]
    peer_rejections = None
    if peer:
        pairs = [(comparison.judged.program, comparison.judged.problem) for comparison in differing]
        peer_rejections = count_peer_rejections(differing, judge_with_peer(pairs, data))
    console.print(build_agreement_table(comparisons))
    console.print(build_cause_table(comparisons, peer_rejections))
    console.print(build_trait_table(comparisons))
    if peer:
        threaded = [
            comparison
            for comparison in comparisons
            if comparison.judged.verdict.passed and has_trait(comparison, Cause.THREAD)
        ]
        console.print(build_thread_table(threaded, data))
    for cause in Cause if show else [Cause.UNEXPLAINED]:
        if members := [comparison for comparison in differing if find_cause(comparison) is cause]:
            console.print(build_disagreement_table(cause, members))
    print(json.dumps(compute_summary(comparisons, seconds)))


if __name__ == "__main__":
    typer.run(main)
