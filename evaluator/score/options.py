"""Command line of the scoring command."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluator.errors import UserError
from evaluator.sandbox import Limits

EXIT_CODES = """\
exit status:
  0     every program has a verdict
  1     stopped by a failure while judging, such as a full disk; rows written so far are complete
  2     nothing was judged: bad arguments, unusable file, no sandbox; with --strict also bad rows or missing isolation
  3     finished, but some programs have no verdict: bad rows of the solutions, no usable problem, sandbox errors
  128+n stopped by signal n (130: Ctrl-C, 143: SIGTERM); rows written so far are complete
"""
MAX_WORKERS = 4096
MAX_SECONDS = 86400
MAX_MEMORY_MB = 1 << 24


@dataclass(frozen=True)
class ProgramName:
    """Program named on the command line: ``index`` is its position among the programs for the same problem."""

    question_id: str
    index: int

    def __str__(self) -> str:
        return f"{self.question_id}:{self.index}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Command-line options. ``timeout`` is in seconds. ``out`` is None only with ``explain``."""

    problems: Path
    solutions: Path
    out: Path | None
    workers: int
    timeout: float
    memory_mb: int
    all_tests: bool
    strict: bool
    policy: Literal["judge", "paper"]
    adaptive_timeout: bool
    explain: ProgramName | None

    @property
    def limits(self) -> Limits:
        """Limits of each test."""
        return Limits(wall_s=self.timeout, cpu_s=self.timeout, memory_mb=self.memory_mb)


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Parse the command line. Exits with status 2 and a message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluator.score",
        description="Judge programs, write a verdict for each, and print pass@k.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_arguments(parser)
    options = Options(**vars(parser.parse_args(arguments)))
    if options.out is None and options.explain is None:
        parser.error("the following arguments are required: --out")
    if options.out is not None and options.out.suffix == ".gz":
        parser.error(f"--out {options.out}: written without compression, so the name must not end in .gz")
    return options


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Limits()
    add = parser.add_argument
    formats = "JSON list, JSONL or Parquet, plain or gzip"
    add("--problems", type=Path, required=True, metavar="P", help=f"one problem per row: {formats}")
    add("--solutions", type=Path, required=True, metavar="S", help=f"programs of one problem per row: {formats}")
    add("--out", type=Path, metavar="V.jsonl", help="output, one verdict per line; overwritten")
    add("--workers", type=_parse_workers, default=len(os.sched_getaffinity(0)), metavar="N", help="default: all CPUs")
    add(
        "--timeout",
        type=_parse_seconds,
        default=defaults.wall_s,
        metavar="SECONDS",
        help="per test; default: %(default)g",
    )
    add(
        "--memory-mb",
        type=_parse_megabytes,
        default=defaults.memory_mb,
        metavar="M",
        help="MiB per test; default: %(default)s",
    )
    add("--all-tests", action="store_true", help="continue after a program's first failed test")
    add("--strict", action="store_true", help="fail on a bad row or on missing sandbox isolation")
    add("--policy", choices=("judge", "paper"), default="judge", help="how outputs are compared; default: judge")
    add("--adaptive-timeout", action="store_true", help="lower the limits of problems solved quickly")
    add(
        "--explain",
        type=_parse_program_name,
        metavar="ID:INDEX",
        help="print input, expected and actual output of all tests of one program; without --out, judge only this one",
    )


def check_paths(options: Options) -> None:
    """Raise UserError if two of the paths name the same file."""
    paths = [("--problems", options.problems), ("--solutions", options.solutions)]
    if options.out is not None:
        paths.append(("--out", options.out))
    for (first_name, first), (second_name, second) in itertools.combinations(paths, 2):
        if _is_same_file(first, second):
            harm = ", which it would overwrite" if second_name == "--out" else ""
            raise UserError(f"{second_name} {second}: the same file as {first_name} {first}{harm}")


def _is_same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:  # not both exist (yet)
        return os.path.realpath(first) == os.path.realpath(second)


def _parse_whole_number(text: str, highest: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= highest:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {highest}, got {text[:40]!r}")
    return number


def _parse_workers(text: str) -> int:
    return _parse_whole_number(text, MAX_WORKERS)


def _parse_megabytes(text: str) -> int:
    return _parse_whole_number(text, MAX_MEMORY_MB)


def _parse_seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and at most {MAX_SECONDS}, got {text[:40]!r}")
    return number


def _parse_program_name(text: str) -> ProgramName:
    question_id, _, index = text.rpartition(":")
    try:
        name = ProgramName(question_id, int(index))
    except ValueError:
        name = ProgramName("", 0)
    if not name.question_id or name.index < 0:
        raise argparse.ArgumentTypeError(
            f"expected ID:INDEX with an index from 0, such as abc301_a:0, got {text[:40]!r}"
        )
    return name
