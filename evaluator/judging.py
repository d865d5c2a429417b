"""Judge one program: its problem's tests in a sandbox, answers compared outside, the results summed up."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from evaluator.checker import Custom, custom_program, parse_checker
from evaluator.comparison import Policy, compare_functional, compare_python, compare_stdin, loosest
from evaluator.problem import Problem, ProblemTest
from evaluator.sandbox import BudgetSpent, Calls, CompileError, Ended, Limits, Program, Reply, Sandbox, SandboxError
from evaluator.verdict import Status, Verdict

# Too dear to keep in every sandbox (a fork copies their page tables); programs that name them run in a second one.
HEAVY_MODULES = ("numpy", "sortedcontainers")
_HEAVY = re.compile(rf"\b({'|'.join(HEAVY_MODULES)})\b")

_FAILED_CALL = {
    "timeout": Status.TIME_LIMIT,
    "exited": Status.RUNTIME_ERROR,
    "error": Status.RUNTIME_ERROR,
    "type": Status.WRONG_ANSWER,
    "too_long": Status.OUTPUT_LIMIT,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One test's result; ``accepted_by`` is set exactly when it passed. ``seconds`` is the program's wall time."""

    status: Status
    accepted_by: str | None = None
    detail: str = ""
    seconds: float = 0.0


@dataclass(kw_only=True)
class Tally:
    """The tests judged so far, in order, and whether another is wanted."""

    total: int
    all_tests: bool
    closing: threading.Event
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        """Whether the next test should run."""
        if len(self.outcomes) == self.total or (self.outcomes and self.outcomes[-1].status is Status.SANDBOX_ERROR):
            return False
        if self.closing.is_set():
            self.outcomes.append(Outcome(status=Status.SANDBOX_ERROR, detail="the evaluator was closed"))
            return False
        return self.all_tests or not self.outcomes or self.outcomes[-1].status is Status.PASSED

    def verdict(self, seconds: float) -> Verdict:
        """Sum up: the first failed test decides the status, but a sandbox error anywhere voids the verdict."""
        failed = [index for index, outcome in enumerate(self.outcomes) if outcome.status is not Status.PASSED]
        ours = [index for index in failed if self.outcomes[index].status is Status.SANDBOX_ERROR]
        decisive = self.outcomes[(ours or failed)[0]] if failed else None
        names = [outcome.accepted_by for outcome in self.outcomes if outcome.accepted_by is not None]
        return Verdict(
            status=decisive.status if decisive else Status.PASSED,
            tests_passed=len(self.outcomes) - len(failed),
            tests_run=len(self.outcomes),
            tests_total=self.total,
            first_failed=failed[0] if failed else None,
            accepted_by=None if failed else loosest(names),
            seconds=seconds,
            detail=decisive.detail if decisive else "",
        )

    def without_tests(self, status: Status, detail: str, seconds: float = 0.0) -> Verdict:
        """The verdict on a program of which no test was run."""
        return Verdict(
            status=status,
            tests_passed=0,
            tests_run=0,
            tests_total=self.total,
            first_failed=None,
            accepted_by=None,
            seconds=seconds,
            detail=detail,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """The sandboxes of one thread; each starts at its first use.

    ``light`` runs whole programs, ``calls`` functions, ``heavy`` both if they name a heavy module, ``checking`` the
    problems' own checkers.
    """

    light: Sandbox
    calls: Sandbox
    heavy: Sandbox
    checking: Sandbox

    @classmethod
    def create(cls, strict: bool) -> Worker:
        return cls(
            light=Sandbox(strict=strict),
            calls=Sandbox(strict=strict, calls=True),
            heavy=Sandbox(HEAVY_MODULES, strict=strict, calls=True),
            checking=Sandbox(strict=strict, calls=True),
        )

    def sandbox(self, problem: Problem, code: str) -> Sandbox:
        """The cheapest that has warm what the program needs."""
        if _HEAVY.search(code):
            return self.heavy
        return self.light if problem.func_name is None else self.calls

    def close(self) -> None:
        for sandbox in (self.light, self.calls, self.heavy, self.checking):
            sandbox.close()


def judge(worker: Worker, problem: Problem, code: str | None, limits: Limits, policy: Policy, tally: Tally) -> Verdict:
    """Run the tests that ``tally`` still wants and sum up. ``code`` None (nothing extracted) gives ``no_code``."""
    began = time.monotonic()
    if code is None:
        return tally.without_tests(Status.NO_CODE, "")
    if not problem.tests:
        return tally.without_tests(Status.SANDBOX_ERROR, "the problem has no tests")
    sandbox = worker.sandbox(problem, code)
    try:
        compare = _Comparison(problem, policy, worker.checking, limits)
        run = _run_tests if problem.func_name is None else _call_tests
        with compare:
            _with_one_retry(_within_budget(partial(run, sandbox, problem, code), limits, compare, tally), tally)
    except CompileError as error:
        return tally.without_tests(Status.COMPILE_ERROR, str(error), time.monotonic() - began)
    except SandboxError as error:
        tally.outcomes.append(Outcome(status=Status.SANDBOX_ERROR, detail=str(error)))
    return tally.verdict(time.monotonic() - began)


def _within_budget(
    run: Callable[[Limits, _Comparison, Tally], None], limits: Limits, compare: _Comparison, tally: Tally
) -> Callable[[], None]:
    """``run`` with what is left of the program's budget: one that leaves files is started again for each test."""
    spent = 0.0

    def run_rest() -> None:
        nonlocal spent
        if spent >= limits.budget_s:
            raise BudgetSpent
        began = time.monotonic()
        run(replace(limits, budget_s=limits.budget_s - spent), compare, tally)
        spent += time.monotonic() - began  # not where the sandbox failed: that is no time of the program's

    return run_rest


def _with_one_retry(run: Callable[[], None], tally: Tally) -> None:
    """The sandbox's own failures get one retry a test, in a fresh zygote. Raises SandboxError at the second."""
    tried = -1
    while tally.goes_on:
        position = len(tally.outcomes)
        try:
            run()
        except SandboxError:
            if tried == len(tally.outcomes):
                raise
            tried = len(tally.outcomes)
        except BudgetSpent:
            tally.outcomes.append(Outcome(status=Status.TIME_LIMIT, detail="the budget of all tests together is spent"))
            return
        else:
            assert len(tally.outcomes) > position  # each pass judges a test, so this ends


def _run_tests(
    sandbox: Sandbox, problem: Problem, code: str, limits: Limits, compare: _Comparison, tally: Tally
) -> None:
    """Standard input and output: a fresh process for each test, and a fresh template after one that left files."""
    with sandbox.program(code, limits) as program:
        while tally.goes_on and program.alive and not program.dirty:
            test = problem.tests[len(tally.outcomes)]
            ended = program.run(test.input.encode("utf-8", "surrogateescape"))
            tally.outcomes.append(_judge_run(ended, limits, test, compare))


def _call_tests(
    sandbox: Sandbox, problem: Problem, code: str, limits: Limits, compare: _Comparison, tally: Tally
) -> None:
    """Functions: call after call in one process, as long as it lives and is of use."""
    tests = problem.tests[len(tally.outcomes) :]
    # Each call has its own wall limit; the limits of the process can only be sums.
    total = replace(limits, cpu_s=limits.cpu_s * len(tests), wall_s=limits.wall_s * len(tests) + 1)
    with sandbox.program(code, total, problem.func_name, problem.starter_code, problem.values) as program:
        while tally.goes_on and program.alive:
            _call_one_process(program, problem, limits, compare, tally)


def _call_one_process(program: Program, problem: Problem, limits: Limits, compare: _Comparison, tally: Tally) -> None:
    outcome = None
    with program.calls(limits.wall_s) as calls:
        while tally.goes_on:
            test = problem.tests[len(tally.outcomes)]
            began = time.monotonic()
            reply = calls.call(test.input)
            outcome = _judge_reply(reply, time.monotonic() - began, test, compare)
            tally.outcomes.append(outcome)
            if reply.kind not in ("value", "error", "type"):
                break
    if outcome is not None:
        tally.outcomes[-1] = _after_calls(outcome, calls, limits)


def _judge_run(ended: Ended, limits: Limits, test: ProblemTest, compare: _Comparison) -> Outcome:
    fail = partial(Outcome, seconds=ended.wall_s)
    if len(ended.stdout) >= limits.output_bytes:
        return fail(status=Status.OUTPUT_LIMIT, detail=f"{len(ended.stdout)} bytes of output")
    if ended.timed_out or ended.cpu_s >= limits.cpu_s or ended.exit_code == -signal.SIGXCPU:
        return fail(status=Status.TIME_LIMIT, detail=f"{ended.wall_s:.2f} s wall, {ended.cpu_s:.2f} s CPU")
    last = _last_line(ended.stderr)
    if ended.memory_mb > limits.memory_mb or (ended.exit_code != 0 and _is_memory_error(last)):
        return fail(status=Status.MEMORY_LIMIT, detail=f"{ended.memory_mb:.0f} MiB; {last}")
    if ended.exit_code != 0:
        return fail(status=Status.RUNTIME_ERROR, detail=f"exit {_exit_name(ended.exit_code)}; {last}")
    return compare.outcome(test, ended.stdout.decode("utf-8", "surrogateescape"), ended.wall_s)


def _judge_reply(reply: Reply, seconds: float, test: ProblemTest, compare: _Comparison) -> Outcome:
    if reply.kind == "error" and _is_memory_error(reply.text):
        return Outcome(status=Status.MEMORY_LIMIT, detail=reply.text, seconds=seconds)
    if reply.kind != "value":
        return Outcome(status=_FAILED_CALL[reply.kind], detail=reply.text, seconds=seconds)
    return compare.outcome(test, reply.text, seconds)


class _Comparison:
    """How answers to one problem are compared; a problem's own checker runs in a sandbox of its own meanwhile."""

    def __init__(self, problem: Problem, policy: Policy, checking: Sandbox, limits: Limits) -> None:
        self._checker = parse_checker(problem.checker)
        self._values = None if problem.func_name is None else problem.values
        self._compare = compare_stdin if self._values is None else compare_functional
        if self._values == "python":
            self._compare = compare_python
        self._policy: Policy = policy
        self._checking = checking
        self._limits = limits
        self._open = contextlib.ExitStack()
        self._custom: Program | None = None

    def __enter__(self) -> _Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def outcome(self, test: ProblemTest, answer: str, seconds: float) -> Outcome:
        """Passed or wrong; a test whose expected output cannot be used is our fault. Raises SandboxError."""
        if isinstance(self._checker, Custom):
            return self._check(self._checker, test, answer, seconds)
        try:
            accepted_by = self._compare(test.output, answer, self._checker, self._policy)
        except ValueError as error:
            return Outcome(
                status=Status.SANDBOX_ERROR, detail=f"the expected output is unusable: {error}", seconds=seconds
            )
        if accepted_by is None:
            return Outcome(status=Status.WRONG_ANSWER, detail=f"answered {answer[:160]!r}", seconds=seconds)
        return Outcome(status=Status.PASSED, accepted_by=accepted_by, seconds=seconds)

    def _check(self, checker: Custom, test: ProblemTest, answer: str, seconds: float) -> Outcome:
        """Ask the problem's own checker, in a fresh process each time: it is code from a file, and may keep state."""
        if self._custom is None:
            source = custom_program(checker.code, self._values)
            self._custom = self._open.enter_context(self._checking.program(source, self._limits, "check_answer"))
        arguments = "\n".join(json.dumps(part) for part in (test.input, answer, test.output))
        try:
            with self._custom.calls(self._limits.wall_s) as calls:
                reply = calls.call(arguments)
        except CompileError as error:  # not the candidate's
            raise SandboxError(f"the problem's checker: {error}") from error
        if reply.kind != "value":
            detail = f"the problem's checker is broken: {reply.text[:160]}"
            return Outcome(status=Status.SANDBOX_ERROR, detail=detail, seconds=seconds)
        if reply.text == "true":
            return Outcome(status=Status.PASSED, accepted_by="custom", seconds=seconds)
        return Outcome(status=Status.WRONG_ANSWER, detail="the problem's checker refuses the answer", seconds=seconds)


def _after_calls(outcome: Outcome, calls: Calls, limits: Limits) -> Outcome:
    """The last outcome of a process in the light of how it ended: a killed child may have met a limit."""
    ended = calls.ended
    assert ended is not None
    died = outcome.status is Status.RUNTIME_ERROR
    last = _last_line(ended.stderr)
    if ended.memory_mb > limits.memory_mb or (died and ended.exit_code != 0 and _is_memory_error(last)):
        return replace(
            outcome, status=Status.MEMORY_LIMIT, accepted_by=None, detail=f"{ended.memory_mb:.0f} MiB; {last}"
        )
    if died and ended.exit_code == -signal.SIGXCPU:
        return replace(outcome, status=Status.TIME_LIMIT, detail=f"{ended.cpu_s:.2f} s CPU")
    return outcome


def _is_memory_error(line: str) -> bool:
    """Whether a traceback's last line, or an exception's name and text, is of a MemoryError (numpy has its own)."""
    return line.partition(":")[0].endswith("MemoryError")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _exit_name(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return str(exit_code)
    return signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else str(exit_code)
