"""Score solutions to problems: ``python -m evaluator.score --problems P --solutions S --out V.jsonl``.

    problems ──┐ all checked          bounded window              input order
    solutions ─┴────────────► submit ────────────────► Evaluator ────────────► V.jsonl ──► table

Nothing is judged, and an existing V.jsonl is not touched, before every row of the inputs has been looked at. A row of
V.jsonl is appended as soon as its verdict and those before it are known, so a run that is killed leaves what it judged.
Exit status: see ``EXIT_CODES``.
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
from evaluator.score.inputs import Inputs, Options, Task, parse_options, read_inputs, read_tasks
from evaluator.score.tables import Tally, groups, pass_table, status_table
from evaluator.score.verdict_file import VerdictFile, verdict_row
from evaluator.solutions import SolutionsError
from evaluator.verdict import Status, Verdict

WINDOW = 64  # programs a worker that are submitted but not written: room for others to go on beside a slow one


class Stopped(BaseException):
    """A signal asks for an end; not an Exception, so that nothing takes it for a failure to get over."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status. To be called in the main thread, as it handles signals."""
    options = parse_options(arguments)
    try:
        with _stoppable():
            return _score(options)
    except (UserError, RunFailed) as error:
        _note(f"error: {error}")
        return error.exit_status
    except Stopped as stopped:
        _note(f"stopped by {stopped}")
        return 128 + stopped.number


def _score(options: Options) -> int:
    began = time.monotonic()
    with VerdictFile(options) as out:
        inputs = read_inputs(options)
        for note in inputs.notes:
            _note(note)
        if not inputs.programs:
            raise UserError(f"{options.solutions}: no programs to judge")
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
    except (OSError, SolutionsError) as error:
        # Also SolutionsError is a failure under way here: the file was whole when it was checked.
        raise RunFailed(str(error)) from error
    finally:
        progress.clear()
    if out.rows != inputs.programs:
        raise RunFailed(f"{options.solutions}: changed while it was read: {inputs.programs} programs, then {out.rows}")


def start_evaluator(options: Options) -> Evaluator:
    """An evaluator whose first sandbox has started. Raises UserError when there can be none, or (strict) a fence of it
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
        raise UserError(f"the sandbox does not start: {error}") from error
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


class Progress:
    """One line on stderr, rewritten at most five times a second, where that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._began = time.monotonic()
        self._shown = 0.0
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
    programs = tally.statuses.total()
    problems = len(inputs.problems)
    title = f"{programs} programs for {problems} problems in {seconds:.1f} s"
    text = "\n\n".join([title, status_table(tally.statuses), pass_table(groups(inputs.problems, tally.attempts()))])
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would try again at its end, and complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise RunFailed(f"all verdicts are written, but standard output does not take the table: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
