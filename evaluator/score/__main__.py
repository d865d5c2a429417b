"""Score solutions to problems: ``python -m evaluator.score --problems P --solutions S --out V.jsonl``.

    problems ──┐ all checked          bounded window              input order
    solutions ─┴────────────► submit ────────────────► Evaluator ────────────► V.jsonl ──► table

Nothing is judged, and an existing V.jsonl is not touched, before every row of the inputs has been looked at. A row of
V.jsonl is appended as soon as its verdict and those before it are known, so a run that is killed leaves what it judged.
Exit status: see ``EXIT_CODES``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import stat
import sys
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, NoReturn

from evaluator.evaluator import Evaluator
from evaluator.pass_at_k import Attempts, pass_at_k
from evaluator.problem import Problem, RejectedRow, load_problems
from evaluator.sandbox import Limits, SandboxError
from evaluator.solutions import SolutionsError, read_solutions
from evaluator.verdict import Status, Verdict

EXIT_CODES = """\
exit status:
  0     every program got a verdict
  1     stopped by a failure while judging (a full disk, say); the rows written until then are whole
  2     nothing was judged: bad arguments, an unusable file, no sandbox, with --strict a bad row or a missing fence
  3     done, but some programs got no verdict: bad rows of the solutions, unknown problems, sandbox errors
  128+n stopped by signal n (130: Ctrl-C, 143: SIGTERM); the rows written until then are whole
"""
DETAIL_LENGTH = 200  # characters
MESSAGES = 10  # about the rows of one file; of more there is a count only
WINDOW = 64  # programs a worker that are submitted but not written: room for others to go on beside a slow one
COLUMNS = 8  # of pass@k beside each other
DIFFICULTIES = ("easy", "medium", "hard")  # first, and in this order


class Refused(Exception):
    """Something to put right before anything can be judged."""


class Broken(Exception):
    """A failure while judging."""


class Stopped(BaseException):
    """A signal asks for an end; not an Exception, so that nothing takes it for a failure to get over."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status. To be called in the main thread, as it handles signals."""
    options = parse_options(arguments)
    try:
        with _stoppable():
            return _score(options)
    except Refused as error:
        _note(f"error: {error}")
        return 2
    except Broken as error:
        _note(f"error: {error}")
        return 1
    except Stopped as stopped:
        _note(f"stopped by {stopped}")
        return 128 + stopped.number


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


def _score(options: Options) -> int:
    began = time.monotonic()
    with VerdictFile(options) as out:
        inputs = read_inputs(options)
        for note in inputs.notes:
            _note(note)
        if not inputs.programs:
            raise Refused(f"{options.solutions}: no programs to judge")
        tally = Tally()
        with start_evaluator(options) as evaluator:
            out.begin()
            try:
                _judge_all(evaluator, options, inputs, out, tally)
            except BaseException:
                _note(
                    f"{out.rows} of {inputs.programs} programs have their row in {options.out}; waiting for the tests"
                    " that still run (a signal ends them at once)"
                )
                raise
    for note in tally.notes():
        _note(note)
    _print(tally, inputs, time.monotonic() - began)
    return 3 if inputs.lost or tally.statuses[Status.SANDBOX_ERROR] else 0


def _judge_all(evaluator: Evaluator, options: Options, inputs: Inputs, out: VerdictFile, tally: Tally) -> None:
    progress = Progress(inputs.programs)
    try:
        tasks = read_tasks(options.solutions, inputs.problems)
        for task, verdict in judged(evaluator, tasks, options.all_tests, WINDOW * options.workers):
            out.write(verdict_row(task, verdict))
            tally.add(task.problem.question_id, verdict)
            progress.show(out.rows, tally.statuses[Status.PASSED])
    except (OSError, SolutionsError, SandboxError) as error:
        raise Broken(str(error)) from error
    finally:
        progress.clear()
    if out.rows != inputs.programs:
        raise Broken(f"{options.solutions}: changed while it was read: {inputs.programs} programs, then {out.rows}")


# --- what comes in -----------------------------------------------------------------------------------------------


def read_inputs(options: Options) -> Inputs:
    """Look at every row of both files. Raises Refused when one cannot be read, or (strict) a row is bad."""
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
    return Inputs(answered, counts.total(), len(bad_rows), tuple(notes))


def _check_regular(solutions: Path) -> None:
    try:
        if not stat.S_ISREG(solutions.stat().st_mode):
            raise ValueError("not a regular file, which it must be to be read twice")
    except (OSError, ValueError) as error:
        raise Refused(f"--solutions {solutions}: {_reason(error)}") from error


def _read_problems(options: Options) -> tuple[dict[str, Problem], Sequence[RejectedRow]]:
    try:
        loaded = load_problems(options.problems, options.strict)
    except (OSError, ValueError, EOFError, ImportError, zlib.error) as error:
        raise Refused(f"--problems {options.problems}: {_reason(error)}") from error
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
        raise Refused(f"--solutions {options.solutions}: {_reason(error)}") from error
    return counts, bad, repeated


def _skipped(path: Path, rows: Sequence[RejectedRow]) -> list[str]:
    notes = [f"{path}, row {row.line}: skipped: {row.reason}" for row in rows[:MESSAGES]]
    if len(rows) > MESSAGES:
        notes.append(f"{path}: {len(rows) - MESSAGES} more bad rows skipped ({len(rows)} in all)")
    return notes


def _reason(error: BaseException) -> str:
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


# --- judging -----------------------------------------------------------------------------------------------------


def start_evaluator(options: Options) -> Evaluator:
    """An evaluator whose first sandbox has started. Raises Refused when there can be none, or (strict) a fence of it
    is missing."""
    limits = Limits(wall_s=options.timeout, cpu_s=options.timeout, memory_mb=options.memory_mb)
    try:
        evaluator = Evaluator(
            limits,
            options.workers,
            policy=options.policy,
            strict=options.strict,
            adaptive_timeout=options.adaptive_timeout,
        )
        with contextlib.ExitStack() as undo:
            undo.callback(evaluator.close)
            _ = evaluator.missing  # without any sandbox, each single program would be retried and given up
            undo.pop_all()
    except SandboxError as error:
        raise Refused(f"the sandbox does not start: {error}") from error
    return evaluator


def judged(evaluator: Evaluator, tasks: Iterable[Task], all_tests: bool, window: int) -> Iterator[tuple[Task, Verdict]]:
    """Verdicts in the order of ``tasks``, of which at most ``window`` are taken and not yet given back."""
    waiting: deque[tuple[Task, Future[Verdict]]] = deque()
    for task in tasks:
        waiting.append((task, evaluator.submit(task.problem, task.code, all_tests=all_tests)))
        while waiting and (len(waiting) >= window or waiting[0][1].done()):
            task, future = waiting.popleft()
            yield task, future.result()
    for task, future in waiting:
        yield task, future.result()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Turns the first signal that asks for an end into Stopped, to end in order; a second one ends at once."""

    def end_now(number: int, frame: FrameType | None) -> NoReturn:
        os._exit(128 + number)  # the sandboxes end with us

    def end(number: int, frame: FrameType | None) -> NoReturn:
        for one in caught:
            signal.signal(one, end_now)
        raise Stopped(number)

    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # An ignored signal stays ignored: that is how nohup and background jobs of scripts protect a run.
    caught = [one for one, handler in handlers.items() if handler != signal.SIG_IGN]
    for one in caught:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in caught:
            signal.signal(one, handlers[one])


# --- what goes out -----------------------------------------------------------------------------------------------


def verdict_row(task: Task, verdict: Verdict) -> dict[str, Any]:
    """The row of V.jsonl (docs/formats.md)."""
    detail = verdict.detail
    return {
        "question_id": task.problem.question_id,
        "index": task.index,
        "passed": verdict.passed,
        "status": str(verdict.status),
        "tests_passed": verdict.tests_passed,
        "tests_run": verdict.tests_run,
        "tests_total": verdict.tests_total,
        "first_failed": verdict.first_failed,
        "accepted_by": verdict.accepted_by,
        "seconds": round(verdict.seconds, 4),
        "detail": detail if len(detail) <= DETAIL_LENGTH else detail[: DETAIL_LENGTH - 3] + "...",
    }


class VerdictFile:
    """The file of verdicts: opened at once, so that an impossible name is known early, but emptied by ``begin`` only.

    Rows are whole lines, each handed to the kernel by one write as soon as it is there: what another process kills
    needs no flush, and a full disk leaves no half line. Raises Refused when the file cannot be opened.
    """

    def __init__(self, options: Options) -> None:
        self.rows = 0
        self._path, self._begun, self._created, self._size = options.out, False, False, 0
        try:
            for path in (options.problems, options.solutions):
                if self._path.exists() and path.exists() and self._path.samefile(path):
                    raise ValueError("would overwrite an input")
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            try:
                self._file = os.open(self._path, flags | os.O_EXCL, 0o666)
                self._created = True
            except FileExistsError:
                self._file = os.open(self._path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise Refused(f"--out {self._path}: {_reason(error)}") from error
        self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)

    def __enter__(self) -> VerdictFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)
        if self._created and not self._begun:
            self._path.unlink(missing_ok=True)  # an empty file would look like a result

    def begin(self) -> None:
        """Empty the file."""
        self._begun = True
        self._truncate()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row, or nothing. Raises Broken."""
        line = json.dumps(row).encode() + b"\n"
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except BaseException as error:  # also the signal that comes between two parts of a line
            self._truncate()
            if isinstance(error, OSError):
                raise Broken(f"--out {self._path}: {_reason(error)}") from error
            raise
        self._size += len(line)
        self.rows += 1

    def _truncate(self) -> None:
        if self._regular:
            os.ftruncate(self._file, self._size)


class Progress:
    """One line on stderr, rewritten at most five times a second, where that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._began, self._shown = total, time.monotonic(), 0.0
        self._terminal = sys.stderr.isatty()

    def show(self, done: int, passed: int) -> None:
        """``done`` programs are judged, ``passed`` of them passed."""
        now = time.monotonic()
        if not self._terminal or now - self._shown < 0.2:
            return
        self._shown = now
        rate = done / max(now - self._began, 1e-9)
        minutes, seconds = divmod(round((self._total - done) / rate), 60)
        line = f"{done}/{self._total} programs, {passed / done:.1%} passed, {rate:.1f}/s, {minutes}:{seconds:02} left"
        _say(f"\r{line}\x1b[K")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            _say("\r\x1b[K")


def _note(text: str) -> None:
    _say(f"score: {text}\n")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that has gone, as after SIGHUP; verdicts matter more than messages
        sys.stderr.write(text)
        sys.stderr.flush()


def _print(tally: Tally, inputs: Inputs, seconds: float) -> None:
    programs, problems = tally.statuses.total(), len(inputs.problems)
    title = f"{programs} programs for {problems} problems in {seconds:.1f} s"
    text = "\n\n".join([title, status_table(tally.statuses), pass_table(groups(inputs.problems, tally.attempts()))])
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would try again at its end, and complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Broken(f"all verdicts are written, but standard output does not take the table: {error}") from error


# --- summing up --------------------------------------------------------------------------------------------------


class Tally:
    """Counts of statuses, and per problem of programs tried and passed. What our sandbox failed at is not tried."""

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self._tried: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()

    def add(self, question_id: str, verdict: Verdict) -> None:
        """Count one verdict."""
        self.statuses[verdict.status] += 1
        self._tried[question_id] += verdict.status is not Status.SANDBOX_ERROR
        self._passed[question_id] += verdict.passed

    def attempts(self) -> dict[str, Attempts]:
        """By question id, without problems none of whose programs has a verdict."""
        return {name: Attempts(tried, self._passed[name]) for name, tried in self._tried.items() if tried}

    def notes(self) -> list[str]:
        """What a reader of the table has to know, if anything."""
        notes = []
        if failed := self.statuses[Status.SANDBOX_ERROR]:
            without = sum(not tried for tried in self._tried.values())
            notes.append(
                f"{failed} programs have no verdict (sandbox_error) and do not count in pass@k; {without} problems have"
                " no other"
            )
        judged = [tried for tried in self._tried.values() if tried]
        if judged and min(judged) < max(judged):
            notes.append(
                f"problems have {min(judged)} to {max(judged)} judged programs; pass@k is shown up to the fewest of a"
                " line's problems"
            )
        return notes


def groups(problems: Mapping[str, Problem], attempts: Mapping[str, Attempts]) -> dict[str, Counter[Attempts]]:
    """How many problems have which attempts: in all, then by difficulty, then by platform."""
    found: dict[str, Counter[Attempts]] = {}
    for question_id, one in attempts.items():
        problem = problems[question_id]
        for name in ("all", f"difficulty {problem.difficulty or '-'}", f"platform {problem.platform}"):
            found.setdefault(name, Counter())[one] += 1
    first = ["all", *(f"difficulty {name}" for name in DIFFICULTIES)]
    return {name: found[name] for name in [*first, *sorted(found.keys() - set(first))] if name in found}


def status_table(statuses: Mapping[Status, int]) -> str:
    """How many programs ended how."""
    counts = [(str(status), statuses.get(status, 0)) for status in Status]
    total = max(1, sum(count for _, count in counts))
    return _aligned([["status", "programs", "share"], *([name, str(n), f"{n / total:.1%}"] for name, n in counts if n)])


def pass_table(grouped: Mapping[str, Mapping[Attempts, int]]) -> str:
    """pass@k, the mean over a group's problems, for every k up to the fewest attempts at one of them.

    Beyond that a cell is "-". Unbiased: Chen et al., arXiv 2107.03374, section 2.1.
    """
    fewest = {name: min(one.tried for one in counts) for name, counts in grouped.items()}
    largest = max(fewest.values(), default=1)
    blocks = []
    for first in range(1, largest + 1, COLUMNS):
        shown = range(first, min(first + COLUMNS, largest + 1))
        rows = [["", "problems", "programs", *(f"pass@{k}" for k in shown)]]
        for name, counts in grouped.items():
            problems, programs = sum(counts.values()), sum(one.tried * n for one, n in counts.items())
            cells = [f"{_mean(counts, k):.1%}" if k <= fewest[name] else "-" for k in shown]
            rows.append([name, str(problems), str(programs), *cells])
        blocks.append(_aligned(rows))
    return "\n\n".join(blocks)


def _mean(counts: Mapping[Attempts, int], k: int) -> float:
    return sum(pass_at_k(one.tried, one.passed, k) * n for one, n in counts.items()) / sum(counts.values())


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right. Names come from files: no escape sequence gets through."""
    shown = [[cell if cell.isascii() and cell.isprintable() else ascii(cell)[1:-1] for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in shown
    )
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
