"""The scoring command's input: its arguments, and the files of problems and solutions."""

from __future__ import annotations

import argparse
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluator.errors import UserError
from evaluator.problem import Problem, RejectedRow, load_problems
from evaluator.sandbox import Limits
from evaluator.solutions import read_solutions

EXIT_CODES = """\
exit status:
  0     every program got a verdict
  1     stopped by a failure while judging (a full disk, say); the rows written until then are whole
  2     nothing was judged: bad arguments, an unusable file, no sandbox, with --strict a bad row or a missing fence
  3     done, but some programs got no verdict: bad rows of the solutions, unknown problems, sandbox errors
  128+n stopped by signal n (130: Ctrl-C, 143: SIGTERM); the rows written until then are whole
"""
MESSAGES = 10  # about the rows of one file; of more there is a count only


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The command line. ``timeout`` is in seconds."""

    problems: Path
    solutions: Path
    out: Path
    workers: int
    timeout: float
    memory_mb: int
    all_tests: bool
    strict: bool
    policy: Literal["judge", "paper"]
    adaptive_timeout: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What is to be judged: ``programs`` of them, for ``problems`` (by id; those with solutions only).

    ``lost`` counts the rows of the solutions that give nothing to judge; ``notes`` are for a person.
    """

    problems: Mapping[str, Problem]
    programs: int
    lost: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One program (None: the answer held none); ``index`` counts the programs of its problem."""

    problem: Problem
    index: int
    code: str | None


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Exits with status 2 and a message when something is wrong with them."""
    usual = Limits()
    parser = argparse.ArgumentParser(
        prog="python -m evaluator.score",
        description="Judge programs, write a verdict for each, print pass@k.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--problems", type=Path, required=True, metavar="P", help="JSONL, JSONL.gz or Parquet, a problem a row")
    add("--solutions", type=Path, required=True, metavar="S", help="JSON list or JSONL, also compressed with gzip")
    add("--out", type=Path, required=True, metavar="V.jsonl", help="gets a verdict a line; overwritten")
    add("--workers", type=_count, default=len(os.sched_getaffinity(0)), metavar="N", help="default: the CPUs there are")
    add("--timeout", type=_seconds, default=usual.wall_s, metavar="SECONDS", help="a test; default: %(default)g")
    add("--memory-mb", type=_count, default=usual.memory_mb, metavar="M", help="a test, in MiB; default: %(default)s")
    add("--all-tests", action="store_true", help="go on after a program's first failed test")
    add("--strict", action="store_true", help="a bad row, or a fence that this host refuses, is fatal")
    add("--policy", choices=("judge", "paper"), default="judge", help="how outputs are compared; default: judge")
    add("--adaptive-timeout", action="store_true", help="shorter limits for problems that were solved quickly")
    options = Options(**vars(parser.parse_args(arguments)))
    if options.out.suffix == ".gz":
        parser.error(f"--out {options.out}: it is written without compression, so its name must not end in .gz")
    return options


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 1 << 24:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and at most 86400, got {text!r}")
    return number


def read_inputs(options: Options) -> Inputs:
    """Look at every row of both files. Raises UserError when one cannot be read, or (strict) a row is bad."""
    _check_regular(options.solutions)  # before minutes may go into the problems
    problems, bad_problems = _read_problems(options)
    counts, bad_rows, repeated = _read_counts(options, problems.keys())
    notes = [*_skipped(options.problems, bad_problems), *_skipped(options.solutions, bad_rows)]
    if repeated:
        notes.append(
            f"{options.solutions}: {repeated} rows are for problems that had a row before; "
            "their programs count as further attempts, with indices that go on"
        )
    if unanswered := len(problems) - len(counts):
        notes.append(f"{options.problems}: {unanswered} of {len(problems)} problems have no solutions: left out")
    answered = {name: problem for name, problem in problems.items() if name in counts}
    return Inputs(problems=answered, programs=counts.total(), lost=len(bad_rows), notes=tuple(notes))


def _check_regular(solutions: Path) -> None:
    try:
        if not stat.S_ISREG(solutions.stat().st_mode):
            raise ValueError("not a regular file, which it must be to be read twice")
    except (OSError, ValueError) as error:
        raise UserError(f"--solutions {solutions}: {reason_of(error)}") from error


def _read_problems(options: Options) -> tuple[dict[str, Problem], Sequence[RejectedRow]]:
    try:
        loaded = load_problems(options.problems, options.strict)
    except (OSError, ValueError, EOFError, ImportError, zlib.error) as error:
        raise UserError(f"--problems {options.problems}: {reason_of(error)}") from error
    return {problem.question_id: problem for problem in loaded.problems}, loaded.rejected


def _read_counts(options: Options, known: Iterable[str]) -> tuple[Counter[str], list[RejectedRow], int]:
    """Number of programs by problem, the bad rows, and how many good rows came after another of the same problem."""
    counts: Counter[str] = Counter()
    bad: list[RejectedRow] = []
    repeated = 0
    known = frozenset(known)
    try:
        for row in read_solutions(options.solutions):
            if not isinstance(row, RejectedRow) and row.question_id not in known:
                row = RejectedRow(row.row, f"question_id: no problem {row.question_id!r} in {options.problems}")
            if not isinstance(row, RejectedRow):
                repeated += row.question_id in counts
                counts[row.question_id] += len(row.texts)
            elif options.strict:
                raise ValueError(f"row {row.line}: {row.reason}")
            else:
                bad.append(row)
    except (OSError, ValueError) as error:
        raise UserError(f"--solutions {options.solutions}: {reason_of(error)}") from error
    return counts, bad, repeated


def _skipped(path: Path, rows: Sequence[RejectedRow]) -> list[str]:
    notes = [f"{path}, row {row.line}: skipped: {row.reason}" for row in rows[:MESSAGES]]
    if len(rows) > MESSAGES:
        notes.append(f"{path}: {len(rows) - MESSAGES} more bad rows skipped ({len(rows)} in all)")
    return notes


def reason_of(error: BaseException) -> str:
    # Without its number and the file's name, which the message begins with.
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def read_tasks(solutions: Path, problems: Mapping[str, Problem]) -> Iterator[Task]:
    """The programs in the order of the file; rows that are bad or for other problems are passed over."""
    seen: Counter[str] = Counter()
    for row in read_solutions(solutions):
        if isinstance(row, RejectedRow) or row.question_id not in problems:
            continue
        problem = problems[row.question_id]
        for code in row.codes(problem):
            yield Task(problem, seen[row.question_id], code)
            seen[row.question_id] += 1
