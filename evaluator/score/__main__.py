"""Score solutions of problems: ``python -m evaluator.score --problems P --solutions S --out V.jsonl``.

    solutions ──► check all rows ──► their problems ──► check and unpack
        │                                                     ▼
        └──read again──► submit, bounded number pending ──► Evaluator ──input order──► V.jsonl ──► table

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import FrameType
from typing import NoReturn

from evaluator.descriptors import raise_descriptor_limit
from evaluator.errors import RunFailed, UserError
from evaluator.evaluator import Evaluator
from evaluator.row_files import RowFileError
from evaluator.sandbox import SandboxError
from evaluator.score.explanation import explain_program
from evaluator.score.inputs import (
    ScoringInputs,
    Submission,
    drop_problems,
    get_error_reason,
    open_rows,
    read_inputs,
)
from evaluator.score.options import Options, check_paths, parse_options
from evaluator.score.progress import ProgressBar
from evaluator.score.tables import (
    VerdictCounts,
    format_checker_table,
    format_pass_table,
    format_status_table,
    group_attempts,
)
from evaluator.score.terminal import print_note, print_result
from evaluator.score.verdict_file import VerdictFile, build_verdict_row
from evaluator.verdict import Status, Verdict, build_verdict_without_tests

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
    _open_standard_descriptors()
    options = parse_options(arguments)
    try:
        with _raise_on_signal():
            return _run(options)
    except (UserError, RunFailed) as error:
        print_note(f"error: {error}")
        return error.exit_status
    except StoppedBySignal as stopped:
        print_note(f"stopped by {stopped}")
        return 128 + stopped.number


def _run(options: Options) -> int:
    check_paths(options)
    with (
        open_rows("--problems", options.problems) as problems,
        open_rows("--solutions", options.solutions) as solutions,
        contextlib.ExitStack() as stack,
    ):
        out = None if options.out is None else stack.enter_context(VerdictFile(options.out))
        inputs = read_inputs(options, solutions, problems)
        for note in inputs.notes:
            print_note(note)
        explained = None if options.explain is None else inputs.find_submission(options.explain)
        raise_descriptor_limit(1 if out is None else options.workers, options.limits, "--workers")
        # The table is printed last.
        exit_status, summary = (0, None) if out is None else _score(options, inputs, out)
        if explained is not None:
            verdict, text = explain_program(explained, options)
            print_result(text if summary is None else f"{text}\n", "the explanation")
            exit_status = 3 if verdict.status is Status.SANDBOX_ERROR else exit_status
        if summary is not None:
            print_result(summary, "all verdicts are written, but the table")
    return exit_status


def _score(options: Options, inputs: ScoringInputs, out: VerdictFile) -> tuple[int, str]:
    """Judge all programs and write their verdicts. Returns the exit status and the text to print at the end."""
    start_time = time.monotonic()
    counts = VerdictCounts()
    with start_evaluator(options) as evaluator:
        broken = evaluator.find_broken_checkers(inputs.problems.values())
        if broken:
            inputs = drop_problems(inputs, broken, options)
            for note in inputs.notes:
                print_note(note)
        out.begin()
        try:
            _judge_all(evaluator, options, inputs, out, counts)
        except BaseException:
            print_note(
                f"{out.rows} of {inputs.programs.total()} verdicts are written to {options.out}; waiting for running"
                " tests (another signal ends them at once)"
            )
            raise
    for note in counts.list_notes():
        print_note(note)
    exit_status = 3 if inputs.dropped_rows or counts.statuses[Status.SANDBOX_ERROR] else 0
    return exit_status, _format_summary(counts, inputs, time.monotonic() - start_time)


def _judge_all(
    evaluator: Evaluator, options: Options, inputs: ScoringInputs, out: VerdictFile, counts: VerdictCounts
) -> None:
    def submit(submission: Submission) -> Future[Verdict]:
        if submission.problem is not None and not submission.failure:
            return evaluator.submit(submission.problem, submission.code, all_tests=options.all_tests)
        future: Future[Verdict] = Future()
        tests_total = 0 if submission.problem is None else len(submission.problem.tests)
        future.set_result(build_verdict_without_tests(Status.SANDBOX_ERROR, submission.failure, tests_total))
        return future

    total = inputs.programs.total()
    max_pending = PENDING_PER_WORKER * options.workers
    try:
        with ProgressBar(total) as progress:
            for submission, verdict in judge_in_order(submit, inputs.read_submissions(), max_pending, progress.count):
                out.write(build_verdict_row(submission, verdict))
                counts.add(submission.question_id, verdict)
    except OSError as error:
        raise RunFailed(f"--solutions {options.solutions}: {get_error_reason(error)}") from error
    except RowFileError as error:  # a failure during the run, since the file was intact when it was checked
        raise RunFailed(str(error)) from error
    if out.rows != total:
        raise RunFailed(f"{options.solutions}: changed while it was read: {total} programs, then {out.rows}")


def start_evaluator(options: Options) -> Evaluator:
    """Return an evaluator whose first sandbox has started.

    Raises UserError if no sandbox can start or, with ``strict``, if a fence is missing.
    """
    try:
        evaluator = Evaluator(
            options.limits,
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
    submit: Callable[[Submission], Future[Verdict]],
    submissions: Iterable[Submission],
    max_pending: int,
    on_verdict: Callable[[Verdict], None],
) -> Iterator[tuple[Submission, Verdict]]:
    """Yield verdicts in the order of ``submissions``, with at most ``max_pending`` submissions pending at a time.

    Args:
        submit: starts to judge a program.
        submissions: the programs.
        max_pending: largest number of programs without a yielded verdict.
        on_verdict: called with each verdict as soon as it is known, by any thread.
    """
    pending: deque[tuple[Submission, Future[Verdict]]] = deque()
    for submission in submissions:
        future = submit(submission)
        future.add_done_callback(lambda future: _report_verdict(future, on_verdict))
        pending.append((submission, future))
        while pending and (len(pending) >= max_pending or pending[0][1].done()):
            submission, future = pending.popleft()
            yield submission, future.result()
    for submission, future in pending:
        yield submission, future.result()


def _report_verdict(future: Future[Verdict], on_verdict: Callable[[Verdict], None]) -> None:
    if not future.cancelled() and future.exception() is None:
        on_verdict(future.result())


def _open_standard_descriptors() -> None:
    """Open /dev/null in place of standard streams that are closed, or another file would get their descriptors."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


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


def _format_summary(counts: VerdictCounts, inputs: ScoringInputs, seconds: float) -> str:
    programs = counts.statuses.total()
    problems = len(inputs.problems)
    title = f"{programs} programs for {problems} problems in {seconds:.1f} s"
    groups = group_attempts(inputs.problems, counts.get_attempts())
    tables = [format_status_table(counts.statuses), format_pass_table(groups)]
    if unaccepting := counts.find_unaccepting_checkers(inputs.problems):
        tables.append(format_checker_table(unaccepting))
    return "\n\n".join([title, *tables])


if __name__ == "__main__":
    sys.exit(main())
