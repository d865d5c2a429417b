"""Figures and tables of ``benchmarks.evaluator``: pure functions of what was run."""

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
class Outcome:
    """What one evaluator said of one program; ``verdict`` is in its own words."""

    passed: bool
    tests_run: int
    verdict: str


@dataclass(frozen=True)
class Run:
    """One evaluator's pass over a workload: outcomes in the workload's order, seconds of wall and of CPU."""

    wall_s: float
    cpu_s: float
    outcomes: tuple[Outcome, ...]

    @property
    def tests_run(self) -> int:
        """Tests that were started, over all programs."""
        return sum(outcome.tests_run for outcome in self.outcomes)


@dataclass(frozen=True)
class Floor:
    """What the programs themselves use (see ``run_floor.py``): CPU seconds, tests run, programs not finished."""

    cpu_s: float
    tests: int
    unfinished: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """All runs of one round. ``quiet_*`` and the floor are over the workload without its looping programs."""

    quiet_peer: Run
    quiet_ours: Run
    mixed_peer: Run
    mixed_ours: Run
    adaptive: Run
    adaptive_again: Run
    floor: Floor


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One of our rows, and the peer's row that it is compared with."""

    workload: str
    name: str
    figure: str
    peer: Callable[[Pair], Run]
    ours: Callable[[Pair], Run]


SETTINGS = (
    Setting(
        workload="nothing loops",
        name="ours",
        figure="ratio_no_loops",
        peer=lambda p: p.quiet_peer,
        ours=lambda p: p.quiet_ours,
    ),
    Setting(
        workload="mixed",
        name="ours, equal limits",
        figure="ratio_mixed_equal_limits",
        peer=lambda p: p.mixed_peer,
        ours=lambda p: p.mixed_ours,
    ),
    Setting(
        workload="mixed",
        name="ours, adaptive",
        figure="ratio_mixed_adaptive",
        peer=lambda p: p.mixed_peer,
        ours=lambda p: p.adaptive,
    ),
    Setting(
        workload="mixed",
        name="ours, adaptive, second visit",
        figure="ratio_mixed_adaptive_second_visit",
        peer=lambda p: p.mixed_peer,
        ours=lambda p: p.adaptive_again,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A program that two evaluators (or two settings of ours) judged differently in ``pairs`` of ``of`` pairs of runs.

    ``before`` and ``after`` are the verdicts of the first such pair.
    """

    program: LabelledProgram
    before: Outcome
    after: Outcome
    pairs: int
    of: int

    @property
    def against_label(self) -> bool:
        """Whether the change is for the worse, by the label."""
        return self.after.passed != (self.program.label == "ok")


@dataclass(frozen=True)
class Changes:
    """Changed verdicts of a whole benchmark; a program counts if it changed in any pair.

    ``equal`` and ``adaptive`` are ours against the peer's (adaptive: first and second visits), ``adapting`` is what
    adaptive limits change against our own fixed ones.
    """

    equal: tuple[Change, ...]
    adaptive: tuple[Change, ...]
    adapting: tuple[Change, ...]


def ratios(pairs: Iterable[Pair], setting: Setting) -> list[float]:
    """Programs a second, ours over the peer's, pair by pair."""
    return [setting.peer(pair).wall_s / setting.ours(pair).wall_s for pair in pairs]


def changed(programs: Sequence[LabelledProgram], runs: Iterable[tuple[Run, Run]]) -> tuple[Change, ...]:
    """Programs that the runs (before, after) judged differently, as passed or not, in at least one of ``runs``."""
    runs = list(runs)
    found = []
    for index, program in enumerate(programs):
        verdicts = [(before.outcomes[index], after.outcomes[index]) for before, after in runs]
        differing = [(before, after) for before, after in verdicts if before.passed != after.passed]
        if differing:
            before, after = differing[0]
            found.append(Change(program=program, before=before, after=after, pairs=len(differing), of=len(runs)))
    return tuple(found)


def all_changes(programs: Sequence[LabelledProgram], pairs: Sequence[Pair]) -> Changes:
    """The changes of all pairs; ``programs`` is the mixed workload."""
    quiet = [program for program in programs if program.label != "tle"]
    mixed_changes = changed(programs, [(pair.mixed_peer, pair.mixed_ours) for pair in pairs])
    known = {change.program for change in mixed_changes}
    quiet_changes = changed(quiet, [(pair.quiet_peer, pair.quiet_ours) for pair in pairs])
    visits = [(pair, visit) for pair in pairs for visit in (pair.adaptive, pair.adaptive_again)]
    return Changes(
        mixed_changes + tuple(change for change in quiet_changes if change.program not in known),
        changed(programs, [(pair.mixed_peer, visit) for pair, visit in visits]),
        changed(programs, [(pair.mixed_ours, visit) for pair, visit in visits]),
    )


def figures(pairs: Sequence[Pair], changes: Changes) -> dict[str, float]:
    """What the last line says: medians over pairs. CPU figures are of the workload in which nothing loops."""
    floors = [pair.floor.cpu_s for pair in pairs]
    overheads = [(pair.quiet_ours.cpu_s - pair.floor.cpu_s) / pair.quiet_ours.tests_run for pair in pairs]
    return {
        **{setting.figure: statistics.median(ratios(pairs, setting)) for setting in SETTINGS},
        "verdicts_changed": len(changes.equal),
        "verdicts_changed_against_label": sum(change.against_label for change in changes.equal),
        "verdicts_changed_adaptive": len(changes.adaptive),
        "verdicts_changed_adaptive_against_label": sum(change.against_label for change in changes.adaptive),
        "verdicts_changed_by_adapting": len(changes.adapting),
        "programs": len(pairs[0].mixed_ours.outcomes),
        "cpu_floor_s": statistics.median(floors),
        "cpu_no_loops_s": statistics.median(pair.quiet_ours.cpu_s for pair in pairs),
        "cpu_no_loops_peer_s": statistics.median(pair.quiet_peer.cpu_s for pair in pairs),
        "overhead_ms_per_test": 1000 * statistics.median(overheads),
        "pairs": len(pairs),
    }


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Smallest, median and largest.

    >>> spread([3.0, 1.0, 2.04])
    '1.0 - 2.0 - 3.0'
    """
    values = sorted(values)
    return " - ".join(f"{value:.{digits}f}" for value in (values[0], statistics.median(values), values[-1]))


def speed_table(pairs: Sequence[Pair]) -> Table:
    """Programs a second, time, CPU and ratio of each evaluator and setting."""
    table = Table(title=f"{len(pairs)} pairs: least - median - most, or the median")
    for name in ("workload", "evaluator"):
        table.add_column(name, no_wrap=True)
    for name in ("programs/s", "wall s", "CPU s", "tests run", f"ours / {PEER_NAME}"):
        table.add_column(name, justify="right", no_wrap=True)

    def add(workload: str, name: str, runs: Sequence[Run], ratio: str) -> None:
        medians = [statistics.median(run.wall_s for run in runs), statistics.median(run.cpu_s for run in runs)]
        tests = statistics.median(run.tests_run for run in runs)
        speed = spread(len(run.outcomes) / run.wall_s for run in runs)
        table.add_row(workload, name, speed, *(f"{median:.1f}" for median in medians), f"{tests:.0f}", ratio)

    seen = ""
    for setting in SETTINGS:
        if setting.workload != seen:
            add(setting.workload, PEER_NAME, [setting.peer(pair) for pair in pairs], "")
            seen = setting.workload
        ours = [setting.ours(pair) for pair in pairs]
        add("", setting.name, ours, spread(ratios(pairs, setting), 2))
    return table


def change_table(title: str, before: str, changes: Sequence[Change]) -> Table:
    """Each changed verdict, in both evaluators' words, and the label."""
    table = Table(title=f"{title}: {len(changes)}")
    for name in ("question id", "index", before, "ours", "label", "the label agrees with", "in"):
        table.add_column(name)
    for change in changes:
        right = before if change.against_label else "ours"
        table.add_row(
            *(change.program.question_id, str(change.program.index), change.before.verdict, change.after.verdict[:60]),
            *(change.program.label, right, f"{change.pairs} of {change.of}"),
        )
    return table


def print_report(programs: Sequence[LabelledProgram], pairs: Sequence[Pair]) -> None:
    """Everything a person reads, then the figures as one JSON object on the last line."""
    changes = all_changes(programs, pairs)
    found = figures(pairs, changes)
    console.print(speed_table(pairs))
    floor = found["cpu_floor_s"]
    console.print(
        "CPU floor where nothing loops (each program's tests in one warm process, nothing else counted): "
        f"{floor:.1f} s for {pairs[0].floor.tests} tests, {pairs[0].floor.unfinished} programs unfinished. "
        f"Ours uses {found['cpu_no_loops_s'] / floor:.2f} x the floor, "
        f"{PEER_NAME}'s {found['cpu_no_loops_peer_s'] / floor:.2f} x; "
        f"ours adds {found['overhead_ms_per_test']:.2f} ms of CPU to a test."
    )
    for title, before, some in (
        ("Verdicts that differ at equal limits", PEER_NAME, changes.equal),
        ("Verdicts that differ with adaptive limits", PEER_NAME, changes.adaptive),
        ("Verdicts that adapting changed", "fixed limits", changes.adapting),
    ):
        console.print(change_table(title, before, some) if some else f"{title}: none.")
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))
