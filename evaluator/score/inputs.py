"""Inputs of the scoring command: its arguments, and the files of problems and solutions."""

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
  0     every program has a verdict
  1     stopped by a failure while judging, such as a full disk; rows written so far are complete
  2     nothing was judged: bad arguments, unusable file, no sandbox; with --strict also bad rows or missing isolation
  3     finished, but some programs have no verdict: bad rows of the solutions, unknown problems, sandbox errors
  128+n stopped by signal n (130: Ctrl-C, 143: SIGTERM); rows written so far are complete
"""
MAX_ROW_MESSAGES = 10  # messages about bad rows of one file; further bad rows are only counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Command-line options. ``timeout`` is in seconds."""

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
class ScoringInputs:
    """Problems and solutions to judge, after all rows were checked.

    Attributes:
        problems: problems with solutions, by question id.
        programs: number of programs to judge.
        dropped_rows: number of invalid rows of the solutions, or rows for unknown problems.
        notes: messages for the user.
    """

    problems: Mapping[str, Problem]
    programs: int
    dropped_rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Submission:
    """Program for one problem.

    Attributes:
        problem: the problem.
        index: position of the program among those for the same problem.
        code: the program; None if the model's answer contains none.
    """

    problem: Problem
    index: int
    code: str | None


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Parse the command line. Exits with status 2 and a message if it is invalid."""
    defaults = Limits()
    parser = argparse.ArgumentParser(
        prog="python -m evaluator.score",
        description="Judge programs, write a verdict for each, and print pass@k.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--problems", type=Path, required=True, metavar="P", help="JSONL, JSONL.gz or Parquet, one problem per row")
    add("--solutions", type=Path, required=True, metavar="S", help="JSON list or JSONL, plain or gzip")
    add("--out", type=Path, required=True, metavar="V.jsonl", help="output, one verdict per line; overwritten")
    add("--workers", type=_parse_count, default=len(os.sched_getaffinity(0)), metavar="N", help="default: all CPUs")
    add(
        "--timeout",
        type=_parse_seconds,
        default=defaults.wall_s,
        metavar="SECONDS",
        help="per test; default: %(default)g",
    )
    add(
        "--memory-mb",
        type=_parse_count,
        default=defaults.memory_mb,
        metavar="M",
        help="MiB per test; default: %(default)s",
    )
    add("--all-tests", action="store_true", help="continue after a program's first failed test")
    add("--strict", action="store_true", help="fail on a bad row or on missing sandbox isolation")
    add("--policy", choices=("judge", "paper"), default="judge", help="how outputs are compared; default: judge")
    add("--adaptive-timeout", action="store_true", help="lower the limits of problems solved quickly")
    options = Options(**vars(parser.parse_args(arguments)))
    if options.out.suffix == ".gz":
        parser.error(f"--out {options.out}: written without compression, so the name must not end in .gz")
    return options


def _parse_count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 1 << 24:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def _parse_seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and at most 86400, got {text!r}")
    return number


def read_inputs(options: Options) -> ScoringInputs:
    """Check every row of both files.

    Raises UserError if a file cannot be read or, with ``strict``, if a row is invalid.
    """
    _check_regular(options.solutions)  # checked first, because reading the problems may take minutes
    problems, bad_problems = _read_problems(options)
    counts, bad_rows, repeated = _read_counts(options, problems.keys())
    notes = [*_describe_skipped(options.problems, bad_problems), *_describe_skipped(options.solutions, bad_rows)]
    if repeated:
        notes.append(
            f"{options.solutions}: {repeated} rows repeat a problem of an earlier row; "
            "their programs count as further attempts with consecutive indices"
        )
    if unanswered := len(problems) - len(counts):
        notes.append(f"{options.problems}: {unanswered} of {len(problems)} problems have no solutions and were dropped")
    answered = {name: problem for name, problem in problems.items() if name in counts}
    return ScoringInputs(problems=answered, programs=counts.total(), dropped_rows=len(bad_rows), notes=tuple(notes))


def _check_regular(solutions: Path) -> None:
    try:
        if not stat.S_ISREG(solutions.stat().st_mode):
            raise ValueError("not a regular file; it must be one, because it is read twice")
    except (OSError, ValueError) as error:
        raise UserError(f"--solutions {solutions}: {get_error_reason(error)}") from error


def _read_problems(options: Options) -> tuple[dict[str, Problem], Sequence[RejectedRow]]:
    try:
        loaded = load_problems(options.problems, options.strict)
    except (OSError, ValueError, EOFError, ImportError, zlib.error) as error:
        raise UserError(f"--problems {options.problems}: {get_error_reason(error)}") from error
    return {problem.question_id: problem for problem in loaded.problems}, loaded.rejected


def _read_counts(options: Options, known: Iterable[str]) -> tuple[Counter[str], list[RejectedRow], int]:
    """Return the number of programs per problem, the bad rows, and the number of rows that repeat a problem."""
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
        raise UserError(f"--solutions {options.solutions}: {get_error_reason(error)}") from error
    return counts, bad, repeated


def _describe_skipped(path: Path, rows: Sequence[RejectedRow]) -> list[str]:
    notes = [f"{path}, row {row.line}: skipped: {row.reason}" for row in rows[:MAX_ROW_MESSAGES]]
    if len(rows) > MAX_ROW_MESSAGES:
        notes.append(f"{path}: {len(rows) - MAX_ROW_MESSAGES} more bad rows skipped ({len(rows)} in all)")
    return notes


def get_error_reason(error: BaseException) -> str:
    # Not str(error) of an OSError, which repeats the file name and adds the error number.
    """Return the reason of an error, for a message that already names the file."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def read_submissions(solutions: Path, problems: Mapping[str, Problem]) -> Iterator[Submission]:
    """Yield the programs in file order. Bad rows, and rows for other problems, are skipped."""
    next_index: Counter[str] = Counter()
    for row in read_solutions(solutions):
        if isinstance(row, RejectedRow) or row.question_id not in problems:
            continue
        problem = problems[row.question_id]
        for code in row.iter_programs(problem):
            yield Submission(problem, next_index[row.question_id], code)
            next_index[row.question_id] += 1
