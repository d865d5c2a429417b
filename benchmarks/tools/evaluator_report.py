"""Metrics and tables of ``benchmarks.evaluator``, computed from the evaluators' runs by pure functions."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.tools.labelled_programs import LabelledProgram

PEER_NAME = "LiveCodeBench"
console = Console(width=130, highlight=False)


@dataclass(frozen=True)
class ProgramResult:
    """An evaluator's result for a program; ``verdict`` is in that evaluator's own words."""

    passed: bool
    tests_run: int
    verdict: str


@dataclass(frozen=True)
class EvaluatorRun:
    """An evaluator's run over a workload: wall seconds, CPU seconds, and results in the workload's order."""

    wall_s: float
    cpu_s: float
    results: tuple[ProgramResult, ...]

    @property
    def tests_run(self) -> int:
        """Number of tests that were started, over all programs."""
        return sum(result.tests_run for result in self.results)


@dataclass(frozen=True)
class CpuFloor:
    """CPU time that the programs themselves use (see ``run_cpu_floor.py``): seconds, tests run, unfinished programs."""

    cpu_s: float
    tests: int
    unfinished: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatorRound:
    """All runs of a round.

    Attributes:
        no_loops_peer: the peer's run over the programs that do not loop.
        no_loops_ours: our run over these programs.
        mixed_peer: the peer's run over all programs.
        mixed_ours: our run over all programs, with the peer's fixed time limit.
        adaptive_first: our first run over all programs with adaptive time limits.
        adaptive_second: the same evaluator's second run.
        floor: CPU floor of the programs that do not loop.
    """

    no_loops_peer: EvaluatorRun
    no_loops_ours: EvaluatorRun
    mixed_peer: EvaluatorRun
    mixed_ours: EvaluatorRun
    adaptive_first: EvaluatorRun
    adaptive_second: EvaluatorRun
    floor: CpuFloor


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedComparison:
    """A comparison of one of our runs in a round with one of the peer's.

    Attributes:
        workload: name of the workload of both.
        name: name of our configuration.
        metric: key of the speed ratio in the JSON line.
        select_peer: returns the peer's run of a round.
        select_ours: returns our run of a round.
    """

    workload: str
    name: str
    metric: str
    select_peer: Callable[[EvaluatorRound], EvaluatorRun]
    select_ours: Callable[[EvaluatorRound], EvaluatorRun]


SPEED_COMPARISONS = (
    SpeedComparison(
        workload="no loops",
        name="ours",
        metric="ratio_no_loops",
        select_peer=lambda runs: runs.no_loops_peer,
        select_ours=lambda runs: runs.no_loops_ours,
    ),
    SpeedComparison(
        workload="mixed",
        name="ours, equal limits",
        metric="ratio_mixed_equal_limits",
        select_peer=lambda runs: runs.mixed_peer,
        select_ours=lambda runs: runs.mixed_ours,
    ),
    SpeedComparison(
        workload="mixed",
        name="ours, adaptive limits",
        metric="ratio_mixed_adaptive",
        select_peer=lambda runs: runs.mixed_peer,
        select_ours=lambda runs: runs.adaptive_first,
    ),
    SpeedComparison(
        workload="mixed",
        name="ours, adaptive limits, second run",
        metric="ratio_mixed_adaptive_second_visit",
        select_peer=lambda runs: runs.mixed_peer,
        select_ours=lambda runs: runs.adaptive_second,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictChange:
    """A program that two evaluators, or two configurations of ours, judged differently.

    Attributes:
        program: program.
        before: result of the first evaluator in the first pair of runs that differs.
        after: result of the second evaluator in that pair.
        changed_pairs: pairs of runs in which the verdict differs.
        compared_pairs: pairs of runs that were compared.
    """

    program: LabelledProgram
    before: ProgramResult
    after: ProgramResult
    changed_pairs: int
    compared_pairs: int

    @property
    def contradicts_label(self) -> bool:
        """True if the label agrees with ``before`` and not with ``after``."""
        return self.after.passed != (self.program.label == "ok")


@dataclass(frozen=True)
class VerdictChanges:
    """Changed verdicts of a whole benchmark; a program counts if it changed in any pair of runs.

    Attributes:
        equal_limits: ours against the peer's, at equal limits.
        adaptive_limits: ours against the peer's, first and second runs with adaptive limits.
        by_adapting: our runs with adaptive limits against ours with fixed limits.
    """

    equal_limits: tuple[VerdictChange, ...]
    adaptive_limits: tuple[VerdictChange, ...]
    by_adapting: tuple[VerdictChange, ...]


def compute_speed_ratios(rounds: Iterable[EvaluatorRound], comparison: SpeedComparison) -> list[float]:
    """Divide our programs per second by the peer's, round by round."""
    return [comparison.select_peer(runs).wall_s / comparison.select_ours(runs).wall_s for runs in rounds]


def find_changes(
    programs: Sequence[LabelledProgram], pairs: Iterable[tuple[EvaluatorRun, EvaluatorRun]]
) -> tuple[VerdictChange, ...]:
    """Find the programs that pass in one run and fail in the other, in at least one (before, after) pair of runs."""
    pairs = list(pairs)
    changes = []
    for index, program in enumerate(programs):
        results = [(before.results[index], after.results[index]) for before, after in pairs]
        differing = [(before, after) for before, after in results if before.passed != after.passed]
        if differing:
            before, after = differing[0]
            changes.append(
                VerdictChange(
                    program=program,
                    before=before,
                    after=after,
                    changed_pairs=len(differing),
                    compared_pairs=len(pairs),
                )
            )
    return tuple(changes)


def find_all_changes(programs: Sequence[LabelledProgram], rounds: Sequence[EvaluatorRound]) -> VerdictChanges:
    """Find the changed verdicts of all rounds; ``programs`` is the mixed workload."""
    no_loops = [program for program in programs if program.label != "tle"]
    mixed_changes = find_changes(programs, [(runs.mixed_peer, runs.mixed_ours) for runs in rounds])
    mixed_changed = {change.program for change in mixed_changes}
    no_loops_changes = find_changes(no_loops, [(runs.no_loops_peer, runs.no_loops_ours) for runs in rounds])
    adaptive_runs = [(runs, adaptive) for runs in rounds for adaptive in (runs.adaptive_first, runs.adaptive_second)]
    return VerdictChanges(
        mixed_changes + tuple(change for change in no_loops_changes if change.program not in mixed_changed),
        find_changes(programs, [(runs.mixed_peer, adaptive) for runs, adaptive in adaptive_runs]),
        find_changes(programs, [(runs.mixed_ours, adaptive) for runs, adaptive in adaptive_runs]),
    )


def compute_summary(rounds: Sequence[EvaluatorRound], changes: VerdictChanges) -> dict[str, float]:
    """Compute the metrics of the JSON line: medians over rounds. CPU metrics are of the workload without loops."""
    floors = [runs.floor.cpu_s for runs in rounds]
    overheads = [(runs.no_loops_ours.cpu_s - runs.floor.cpu_s) / runs.no_loops_ours.tests_run for runs in rounds]
    ratios = {
        comparison.metric: statistics.median(compute_speed_ratios(rounds, comparison))
        for comparison in SPEED_COMPARISONS
    }
    return {
        **ratios,
        "verdicts_changed": len(changes.equal_limits),
        "verdicts_changed_against_label": sum(change.contradicts_label for change in changes.equal_limits),
        "verdicts_changed_adaptive": len(changes.adaptive_limits),
        "verdicts_changed_adaptive_against_label": sum(change.contradicts_label for change in changes.adaptive_limits),
        "verdicts_changed_by_adapting": len(changes.by_adapting),
        "programs": len(rounds[0].mixed_ours.results),
        "cpu_floor_s": statistics.median(floors),
        "cpu_no_loops_s": statistics.median(runs.no_loops_ours.cpu_s for runs in rounds),
        "cpu_no_loops_peer_s": statistics.median(runs.no_loops_peer.cpu_s for runs in rounds),
        "overhead_ms_per_test": 1000 * statistics.median(overheads),
        "pairs": len(rounds),
    }


def format_min_median_max(values: Iterable[float], digits: int = 1) -> str:
    """Format the minimum, median and maximum of ``values``.

    >>> format_min_median_max([3.0, 1.0, 2.04])
    '1.0 - 2.0 - 3.0'
    """
    values = sorted(values)
    return " - ".join(f"{value:.{digits}f}" for value in (values[0], statistics.median(values), values[-1]))


def build_speed_table(rounds: Sequence[EvaluatorRound]) -> Table:
    """Build the table of speed, wall time, CPU time and speed ratio by evaluator and configuration."""
    table = Table(title=f"Evaluator speed over {len(rounds)} rounds: minimum - median - maximum, or the median alone")
    for name in ("workload", "evaluator"):
        table.add_column(name, no_wrap=True)
    for name in ("programs/s", "wall s", "CPU s", "tests run", f"speed ours / {PEER_NAME}"):
        table.add_column(name, justify="right", no_wrap=True)

    def add_row(workload: str, name: str, runs: Sequence[EvaluatorRun], ratio: str) -> None:
        medians = [statistics.median(run.wall_s for run in runs), statistics.median(run.cpu_s for run in runs)]
        tests = statistics.median(run.tests_run for run in runs)
        speed = format_min_median_max(len(run.results) / run.wall_s for run in runs)
        table.add_row(workload, name, speed, *(f"{median:.1f}" for median in medians), f"{tests:.0f}", ratio)

    last_workload = ""
    for comparison in SPEED_COMPARISONS:
        if comparison.workload != last_workload:
            add_row(comparison.workload, PEER_NAME, [comparison.select_peer(runs) for runs in rounds], "")
            last_workload = comparison.workload
        our_runs = [comparison.select_ours(runs) for runs in rounds]
        add_row("", comparison.name, our_runs, format_min_median_max(compute_speed_ratios(rounds, comparison), 2))
    return table


def build_change_table(title: str, before: str, changes: Sequence[VerdictChange]) -> Table:
    """Build the table of programs whose verdict changed: both verdicts and the program's label.

    Args:
        title: title of the table, without the number of changes.
        before: name of the evaluator or configuration that ``VerdictChange.before`` belongs to.
        changes: rows.
    """
    table = Table(title=f"{title}: {len(changes)}")
    for name in ("question id", "index", before, "ours", "label", "label agrees with", "pairs of runs"):
        table.add_column(name)
    for change in changes:
        right = before if change.contradicts_label else "ours"
        table.add_row(
            *(change.program.question_id, str(change.program.index), change.before.verdict, change.after.verdict[:60]),
            *(change.program.label, right, f"{change.changed_pairs} of {change.compared_pairs}"),
        )
    return table


def print_report(programs: Sequence[LabelledProgram], rounds: Sequence[EvaluatorRound]) -> None:
    """Print the tables, then all metrics as one JSON object on the last line."""
    changes = find_all_changes(programs, rounds)
    summary = compute_summary(rounds, changes)
    console.print(build_speed_table(rounds))
    floor = summary["cpu_floor_s"]
    console.print(
        "CPU floor without loops (each program's tests in one warm process, nothing else counted): "
        f"{floor:.1f} s for {rounds[0].floor.tests} tests, {rounds[0].floor.unfinished} programs unfinished. "
        f"Our evaluator uses {summary['cpu_no_loops_s'] / floor:.2f} x the floor, "
        f"{PEER_NAME}'s {summary['cpu_no_loops_peer_s'] / floor:.2f} x. "
        f"Ours adds {summary['overhead_ms_per_test']:.2f} ms of CPU per test."
    )
    for title, before, differing in (
        ("Verdicts that differ at equal limits", PEER_NAME, changes.equal_limits),
        ("Verdicts that differ with adaptive limits", PEER_NAME, changes.adaptive_limits),
        ("Verdicts that adaptive limits changed", "fixed limits", changes.by_adapting),
    ):
        console.print(build_change_table(title, before, differing) if differing else f"{title}: none.")
    print(json.dumps({name: round(value, 4) for name, value in summary.items()}))
