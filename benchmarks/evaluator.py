"""Compare this evaluator with LiveCodeBench's: the same programs, workers and time limit, alternating in one run.

    python -m benchmarks.evaluator [--data DIR] [--pairs N] [--quick]

The workload is real programs that models wrote for real problems: half of them fail, a tenth by looping, a tenth by
crashing (``tools/labelled_programs.py``). There are three settings: no looping programs; all programs, 6 s per test in
both evaluators; all programs, with our time limits adapting to solved problems. The last has two metrics: a first run
that knows no problem yet (the one that counts), and a second run of the same evaluator over the same problems, as in a
later epoch of training.

Start-up (interpreter, imports, warm zygotes) is not counted for either evaluator. LiveCodeBench's pool and its manager
process for each program are counted, since every call of ``codegen_metrics`` pays for them. Our evaluator runs with its
isolation on and 4 GiB per program; LiveCodeBench's has no isolation and no memory limit. The CPU floor is what the
programs themselves use (``tools/run_cpu_floor.py``).
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.tools.evaluator_report import (
    CpuFloor,
    EvaluatorRound,
    EvaluatorRun,
    ProgramResult,
    console,
    print_report,
)
from benchmarks.tools.labelled_programs import (
    DATA_DIRECTORY,
    PROBLEMS_FILE,
    PROGRAMS_FILE,
    LabelledProgram,
    compute_label_counts,
    load_labelled_programs,
    load_problems_by_id,
    select_programs,
)
from benchmarks.tools.processes import ROOT, ChildProcess, start_child
from evaluator import Problem

WORKERS = 2
TIMEOUT_S = 6
MEMORY_MB = 4096
FULL_SIZE = 400  # programs
QUICK_SIZE = 60  # programs
PEER_PYTHON = ROOT / ".venv-peers/livecodebench/bin/python"
OUR_PYTHON = Path(sys.executable)

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class JudgingWorkload:
    """Programs to judge, in the order in which both evaluators receive them.

    Attributes:
        programs: programs.
        problems: problems by question id.
        problems_path: file that the problems come from.
    """

    programs: tuple[LabelledProgram, ...]
    problems: dict[str, Problem] = field(repr=False)
    problems_path: Path

    @property
    def tests(self) -> int:
        """Number of tests, summed over programs."""
        return sum(len(self.problems[program.question_id].tests) for program in self.programs)

    def without_loops(self) -> JudgingWorkload:
        """Copy this workload without the programs labelled as exceeding the time limit."""
        kept = tuple(program for program in self.programs if program.label != "tle")
        return JudgingWorkload(kept, self.problems, self.problems_path)


def check_data_files(data: Path) -> None:
    """Exit with a message unless ``data`` has the files of problems and of labelled programs."""
    if not (data / PROBLEMS_FILE).exists() or not (data / PROGRAMS_FILE).exists():
        progress.print(f"{PROBLEMS_FILE} or {PROGRAMS_FILE} is missing in {data}: name their directory with --data")
        raise typer.Exit(2)


def load_workload(data: Path, size: int) -> JudgingWorkload:
    """Load a workload of ``size`` programs from the directory ``data``; exit with a message if files are missing."""
    check_data_files(data)
    programs = load_labelled_programs(data / PROGRAMS_FILE)
    label_counts = compute_label_counts(size, looping=sum(program.label == "tle" for program in programs))
    problems = load_problems_by_id(data / PROBLEMS_FILE)
    return JudgingWorkload(select_programs(programs, label_counts), problems, (data / PROBLEMS_FILE).absolute())


def run_peer_evaluator(workload: JudgingWorkload) -> EvaluatorRun:
    """Run LiveCodeBench's evaluator over the workload."""
    request = {"workers": WORKERS, "timeout_s": TIMEOUT_S, "programs": build_program_rows(workload)}
    with start_child(PEER_PYTHON, "benchmarks.peers.run_livecodebench", request) as peer:
        return run_evaluator("LiveCodeBench", peer)


def run_our_evaluator(workload: JudgingWorkload, adaptive: bool = False, runs: int = 1) -> list[EvaluatorRun]:
    """Run one instance of this project's evaluator ``runs`` times over the workload."""
    with start_our_evaluator(workload, adaptive) as ours:
        return [run_evaluator("ours, adaptive limits" if adaptive else "ours", ours) for _ in range(runs)]


def start_our_evaluator(
    workload: JudgingWorkload, adaptive: bool = False, root: Path = ROOT
) -> AbstractContextManager[ChildProcess]:
    """Start the evaluator of the checkout ``root`` in a child process, whose work is to judge the workload once."""
    request = {
        "workers": WORKERS,
        "timeout_s": TIMEOUT_S,
        "memory_mb": MEMORY_MB,
        "adaptive": adaptive,
        "problems": str(workload.problems_path),
        "programs": [[program.question_id, program.code] for program in workload.programs],
    }
    return start_child(OUR_PYTHON, "benchmarks.tools.run_our_evaluator", request, root)


def run_evaluator(name: str, evaluator: ChildProcess) -> EvaluatorRun:
    """Run a warmed-up evaluator once over its workload and print its time; ``name`` is for that line."""
    measurement = evaluator.run_work()
    results = tuple(ProgramResult(**result) for result in measurement.result)
    run = EvaluatorRun(measurement.wall_s, measurement.cpu_s, results)
    progress.print(
        f"  {name}: {len(run.results)} programs in {run.wall_s:.1f} s, {run.cpu_s:.1f} s CPU"
        f" (start-up of {evaluator.start_s:.1f} s not counted)"
    )
    return run


def run_floor(workload: JudgingWorkload, peer: EvaluatorRun) -> CpuFloor:
    """Run the programs alone, each on the tests that the peer started (it judges in file order)."""
    programs = [
        {**row, "tests_run": result.tests_run}
        for row, result in zip(build_program_rows(workload), peer.results, strict=True)
    ]
    with start_child(OUR_PYTHON, "benchmarks.tools.run_cpu_floor", {"workers": WORKERS, "programs": programs}) as floor:
        result = floor.run_work().result
    return CpuFloor(result["cpu_s"], int(result["tests"]), int(result["unfinished"]))


def build_program_rows(workload: JudgingWorkload) -> list[dict[str, Any]]:
    """Build rows with a program and its tests, for child processes that cannot read our problem files."""
    rows = []
    for program in workload.programs:
        problem = workload.problems[program.question_id]
        inputs = [test.input for test in problem.tests]
        outputs = [test.output for test in problem.tests]
        rows.append({"inputs": inputs, "outputs": outputs, "func_name": problem.func_name, "code": program.code})
    return rows


def run_round(mixed: JudgingWorkload, peer_first: bool) -> EvaluatorRound:
    """Run both evaluators and the CPU floor once; ``peer_first`` decides which evaluator starts."""
    no_loops = mixed.without_loops()

    def run_both(workload: JudgingWorkload) -> tuple[EvaluatorRun, EvaluatorRun]:
        if peer_first:
            peer = run_peer_evaluator(workload)
            return peer, run_our_evaluator(workload)[0]
        ours = run_our_evaluator(workload)[0]
        return run_peer_evaluator(workload), ours

    no_loops_peer, no_loops_ours = run_both(no_loops)
    mixed_peer, mixed_ours = run_both(mixed)
    adaptive_first, adaptive_second = run_our_evaluator(mixed, adaptive=True, runs=2)
    return EvaluatorRound(
        no_loops_peer=no_loops_peer,
        no_loops_ours=no_loops_ours,
        mixed_peer=mixed_peer,
        mixed_ours=mixed_ours,
        adaptive_first=adaptive_first,
        adaptive_second=adaptive_second,
        floor=run_floor(no_loops, no_loops_peer),
    )


def main(
    data: Annotated[Path, typer.Option(help="directory with the problems and the labelled programs")] = DATA_DIRECTORY,
    pairs: Annotated[int, typer.Option(min=1, help="rounds")] = 3,
    quick: Annotated[bool, typer.Option(help=f"use {QUICK_SIZE} programs instead of {FULL_SIZE}")] = False,
) -> None:
    """Compare this evaluator's speed and verdicts with LiveCodeBench's."""
    mixed = load_workload(data, QUICK_SIZE if quick else FULL_SIZE)
    labels = Counter(program.label for program in mixed.programs)
    counts = ", ".join(f"{labels[label]} {label}" for label in sorted(labels))
    problem_count = len({program.question_id for program in mixed.programs})
    rounds = []
    for number in range(pairs):
        progress.print(f"round {number + 1} of {pairs}")
        rounds.append(run_round(mixed, peer_first=number % 2 == 0))
    console.print(
        f"{len(mixed.programs)} programs ({counts}) for {problem_count} problems with {mixed.tests} tests in total; "
        f"{WORKERS} workers, time limit {TIMEOUT_S} s per test"
    )
    print_report(mixed.programs, rounds)


if __name__ == "__main__":
    typer.run(main)
