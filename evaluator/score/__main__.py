"""Score solutions of problems: ``python -m evaluator.score --problems P --solutions S --out V.jsonl``.

    problems ──┐ check all rows       bounded number pending      input order
    solutions ─┴───────────────► submit ───────────────► Evaluator ─────────► V.jsonl ──► table

Every row of the inputs is checked before the first program is judged and before an existing V.jsonl is changed. A row
of V.jsonl is appended as soon as its verdict and all earlier ones are known, so a killed run keeps what it judged. For
exit statuses see ``EXIT_CODES``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import FrameType
from typing import NoReturn

from evaluator.errors import RunFailed, UserError
from evaluator.evaluator import Evaluator
from evaluator.sandbox import Limits, SandboxError
from evaluator.score.inputs import Options, ScoringInputs, Submission, parse_options, read_inputs, read_submissions
from evaluator.score.tables import VerdictCounts, format_pass_table, format_status_table, group_attempts
from evaluator.score.verdict_file import VerdictFile, build_verdict_row
from evaluator.solutions import SolutionsError
from evaluator.verdict import Status, Verdict

# Programs per worker that are submitted but not yet written, so that the other workers can continue beside a slow one.
PENDING_PER_WORKER = 64


class StoppedBySignal(BaseException):
    """Raised when a signal asks the command to stop.

    A BaseException, so that no handler of ordinary failures catches it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. Call it in the main thread, because it installs signal handlers."""
    options = parse_options(arguments)
    try:
        with _raise_on_signal():
            return _score(options)
    except (UserError, RunFailed) as error:
        _print_note(f"error: {error}")
        return error.exit_status
    except StoppedBySignal as stopped:
        _print_note(f"stopped by {stopped}")
        return 128 + stopped.number


def _score(options: Options) -> int:
    start_time = time.monotonic()
    with VerdictFile(options) as out:
        inputs = read_inputs(options)
        for note in inputs.notes:
            _print_note(note)
        if not inputs.programs:
            raise UserError(f"{options.solutions}: no programs to judge")
        counts = VerdictCounts()
        with start_evaluator(options) as evaluator:
            out.begin()
            try:
                _judge_all(evaluator, options, inputs, out, counts)
            except BaseException:
                _print_note(
                    f"{out.rows} of {inputs.programs} verdicts are written to {options.out}; waiting for running tests"
                    " (another signal ends them at once)"
                )
                raise
    for note in counts.list_notes():
        _print_note(note)
    _print_summary(counts, inputs, time.monotonic() - start_time)
    return 3 if inputs.dropped_rows or counts.statuses[Status.SANDBOX_ERROR] else 0


def _judge_all(
    evaluator: Evaluator, options: Options, inputs: ScoringInputs, out: VerdictFile, counts: VerdictCounts
) -> None:
    progress = ProgressLine(inputs.programs)
    try:
        submissions = read_submissions(options.solutions, inputs.problems)
        max_pending = PENDING_PER_WORKER * options.workers
        for submission, verdict in judge_in_order(evaluator, submissions, options.all_tests, max_pending):
            out.write(build_verdict_row(submission, verdict))
            counts.add(submission.problem.question_id, verdict)
            progress.show(out.rows, counts.statuses[Status.PASSED])
    except (OSError, SolutionsError) as error:
        # A SolutionsError is a failure during the run here, since the file was intact when it was checked.
        raise RunFailed(str(error)) from error
    finally:
        progress.clear()
    if out.rows != inputs.programs:
        raise RunFailed(f"{options.solutions}: changed while it was read: {inputs.programs} programs, then {out.rows}")


def start_evaluator(options: Options) -> Evaluator:
    """Return an evaluator whose first sandbox has started.

    Raises UserError if no sandbox can start or, with ``strict``, if a fence is missing.
    """
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
            _ = evaluator.missing  # fail here if no sandbox starts, not after a retry for each program
            undo.pop_all()
    except SandboxError as error:
        raise UserError(f"the sandbox does not start: {error}") from error
    return evaluator


def judge_in_order(
    evaluator: Evaluator, submissions: Iterable[Submission], all_tests: bool, max_pending: int
) -> Iterator[tuple[Submission, Verdict]]:
    """Yield verdicts in the order of ``submissions``, with at most ``max_pending`` submissions pending at a time."""
    pending: deque[tuple[Submission, Future[Verdict]]] = deque()
    for submission in submissions:
        pending.append((submission, evaluator.submit(submission.problem, submission.code, all_tests=all_tests)))
        while pending and (len(pending) >= max_pending or pending[0][1].done()):
            submission, future = pending.popleft()
            yield submission, future.result()
    for submission, future in pending:
        yield submission, future.result()


@contextlib.contextmanager
def _raise_on_signal() -> Iterator[None]:
    """Raise StoppedBySignal at the first termination signal, for an orderly end. A second signal exits at once."""

    def exit_now(number: int, frame: FrameType | None) -> NoReturn:
        os._exit(128 + number)  # the sandboxes end with this process

    def raise_stopped(number: int, frame: FrameType | None) -> NoReturn:
        for caught in caught_signals:
            signal.signal(caught, exit_now)
        raise StoppedBySignal(number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # Ignored signals stay ignored: nohup and shell scripts protect background jobs in this way.
    caught_signals = [number for number, handler in handlers.items() if handler != signal.SIG_IGN]
    for number in caught_signals:
        signal.signal(number, raise_stopped)
    try:
        yield
    finally:
        for number in caught_signals:
            signal.signal(number, handlers[number])


class ProgressLine:
    """Progress line on stderr, if stderr is a terminal. It is rewritten at most five times a second."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._start_time = time.monotonic()
        self._shown = 0.0
        self._terminal = sys.stderr.isatty()

    def show(self, done: int, passed: int) -> None:
        """Show that ``done`` programs are judged, and that ``passed`` of them passed."""
        now = time.monotonic()
        if not self._terminal or now - self._shown < 0.2:
            return
        self._shown = now
        rate = done / max(now - self._start_time, 1e-9)
        minutes, seconds = divmod(round((self._total - done) / rate), 60)
        line = f"{done}/{self._total} programs, {passed / done:.1%} passed, {rate:.1f}/s, {minutes}:{seconds:02} left"
        _write_stderr(f"\r{line}\x1b[K")

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            _write_stderr("\r\x1b[K")


def _print_note(text: str) -> None:
    _write_stderr(f"score: {text}\n")


def _write_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # a closed terminal, as after SIGHUP, must not stop the writing of verdicts
        sys.stderr.write(text)
        sys.stderr.flush()


def _print_summary(counts: VerdictCounts, inputs: ScoringInputs, seconds: float) -> None:
    programs = counts.statuses.total()
    problems = len(inputs.problems)
    title = f"{programs} programs for {problems} problems in {seconds:.1f} s"
    groups = group_attempts(inputs.problems, counts.get_attempts())
    text = "\n\n".join([title, format_status_table(counts.statuses), format_pass_table(groups)])
    try:
        print(text, flush=True)
    except OSError as error:
        # Otherwise Python would flush stdout again at exit and report a second error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise RunFailed(
            f"all verdicts are written, but the table cannot be printed to standard output: {error}"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
