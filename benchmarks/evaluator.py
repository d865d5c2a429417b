"""This evaluator against LiveCodeBench's own: the same programs, workers and time limit, alternating in one run.

    python -m benchmarks.evaluator [--data DIR] [--pairs N] [--quick]

The workload: real programs that models wrote for real problems, half of them failing, a tenth by looping, a tenth by
crashing (``tools/labelled_programs.py``). Three settings: nothing loops; mixed, 6 s a test on both sides; mixed, with
limits on our side that adapt to solved problems. For the last there are two figures: an evaluator that knows no problem
yet (the one that counts), and its second visit to the same problems, as in a later epoch of training.

Neither side's start (interpreter, imports, warm zygotes) is counted. LiveCodeBench's pool, and its manager process for
each program, are: every call of ``codegen_metrics`` pays for them. Ours runs with its isolation on and 4 GiB a program;
LiveCodeBench's has no isolation and no memory limit. The floor is what the programs themselves use
(``tools/run_floor.py``).
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.tools.evaluator_report import Floor, Outcome, Pair, Run, console, print_report
from benchmarks.tools.labelled_programs import (
    DATA,
    PROBLEMS,
    PROGRAMS,
    ROOT,
    LabelledProgram,
    choose_workload,
    load_programs,
    mixture,
)
from benchmarks.tools.processes import Child, child
from evaluator import Problem, load_problems

WORKERS = 2
TIMEOUT_S = 6
MEMORY_MB = 4096
FULL_SIZE, QUICK_SIZE = 400, 60  # programs
PEER_PYTHON = ROOT / ".venv-peers/livecodebench/bin/python"
OUR_PYTHON = Path(sys.executable)

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Workload:
    """Programs in the order in which both evaluators get them; ``problems`` by question id, read from ``path``."""

    programs: tuple[LabelledProgram, ...]
    problems: dict[str, Problem] = field(repr=False)
    path: Path

    @property
    def tests(self) -> int:
        """All tests of all programs' problems."""
        return sum(len(self.problems[program.question_id].tests) for program in self.programs)

    def without_loops(self) -> Workload:
        """The same without the programs labelled as exceeding the time limit."""
        kept = tuple(program for program in self.programs if program.label != "tle")
        return Workload(kept, self.problems, self.path)


def load_workload(data: Path, size: int) -> Workload:
    """The workload of about ``size`` programs; exits with a message where there is no data."""
    if not (data / PROBLEMS).exists() or not (data / PROGRAMS).exists():
        progress.print(f"no {PROBLEMS} and {PROGRAMS} in {data}: name their directory with --data")
        raise typer.Exit(2)
    programs = load_programs(data / PROGRAMS)
    wanted = mixture(size, looping=sum(program.label == "tle" for program in programs))
    problems = {problem.question_id: problem for problem in load_problems(data / PROBLEMS, strict=True).problems}
    return Workload(choose_workload(programs, wanted), problems, (data / PROBLEMS).absolute())


def run_peer(workload: Workload) -> Run:
    """LiveCodeBench's evaluator over the workload."""
    request = {"workers": WORKERS, "timeout_s": TIMEOUT_S, "programs": with_tests(workload)}
    with child(PEER_PYTHON, "benchmarks.peers.run_livecodebench", request) as peer:
        return judge("LiveCodeBench", peer)


def run_ours(workload: Workload, adaptive: bool = False, visits: int = 1) -> list[Run]:
    """This evaluator over the workload, ``visits`` times in one life."""
    request = {
        "workers": WORKERS,
        "timeout_s": TIMEOUT_S,
        "memory_mb": MEMORY_MB,
        "adaptive": adaptive,
        "problems": str(workload.path),
        "programs": [[program.question_id, program.code] for program in workload.programs],
    }
    with child(OUR_PYTHON, "benchmarks.tools.run_ours", request) as ours:
        return [judge("ours, adaptive" if adaptive else "ours", ours) for _ in range(visits)]


def judge(name: str, evaluator: Child) -> Run:
    """One pass of an evaluator that is ready."""
    measured = evaluator.work()
    run = Run(measured.wall_s, measured.cpu_s, tuple(Outcome(**outcome) for outcome in measured.result))
    progress.print(
        f"  {name}: {len(run.outcomes)} programs in {run.wall_s:.1f} s, {run.cpu_s:.1f} s CPU"
        f" (its start of {evaluator.start_s:.1f} s does not count)"
    )
    return run


def run_floor(workload: Workload, peer: Run) -> Floor:
    """The programs by themselves, each on those tests that the peer, which judges in file order, got to."""
    programs = [
        {**one, "tests_run": outcome.tests_run}
        for one, outcome in zip(with_tests(workload), peer.outcomes, strict=True)
    ]
    with child(OUR_PYTHON, "benchmarks.tools.run_floor", {"workers": WORKERS, "programs": programs}) as floor:
        result = floor.work().result
    return Floor(result["cpu_s"], int(result["tests"]), int(result["unfinished"]))


def with_tests(workload: Workload) -> list[dict[str, Any]]:
    """Programs with all that is needed to judge them, for those that don't read our problems."""
    rows = []
    for program in workload.programs:
        problem = workload.problems[program.question_id]
        inputs = [test.input for test in problem.tests]
        outputs = [test.output for test in problem.tests]
        rows.append({"inputs": inputs, "outputs": outputs, "func_name": problem.func_name, "code": program.code})
    return rows


def run_pair(mixed: Workload, peer_first: bool) -> Pair:
    """One round of everything; who begins alternates from round to round."""
    quiet = mixed.without_loops()

    def both(workload: Workload) -> tuple[Run, Run]:
        if peer_first:
            peer = run_peer(workload)
            return peer, run_ours(workload)[0]
        ours = run_ours(workload)[0]
        return run_peer(workload), ours

    quiet_peer, quiet_ours = both(quiet)
    mixed_peer, mixed_ours = both(mixed)
    adaptive, again = run_ours(mixed, adaptive=True, visits=2)
    return Pair(
        quiet_peer=quiet_peer,
        quiet_ours=quiet_ours,
        mixed_peer=mixed_peer,
        mixed_ours=mixed_ours,
        adaptive=adaptive,
        adaptive_again=again,
        floor=run_floor(quiet, quiet_peer),
    )


def main(
    data: Annotated[Path, typer.Option(help="directory with the problems and the labelled programs")] = DATA,
    pairs: Annotated[int, typer.Option(min=1, help="rounds")] = 3,
    quick: Annotated[bool, typer.Option(help=f"{QUICK_SIZE} programs instead of {FULL_SIZE}")] = False,
) -> None:
    """Measure this evaluator against LiveCodeBench's."""
    mixed = load_workload(data, QUICK_SIZE if quick else FULL_SIZE)
    labels = Counter(program.label for program in mixed.programs)
    counts = ", ".join(f"{labels[label]} {label}" for label in sorted(labels))
    asked = len({program.question_id for program in mixed.programs})
    rounds = []
    for number in range(pairs):
        progress.print(f"pair {number + 1} of {pairs}")
        rounds.append(run_pair(mixed, peer_first=number % 2 == 0))
    console.print(
        f"{len(mixed.programs)} programs ({counts}) for {asked} problems, {mixed.tests} tests in all; "
        f"{WORKERS} workers, {TIMEOUT_S} s a test"
    )
    print_report(mixed.programs, rounds)


if __name__ == "__main__":
    typer.run(main)
