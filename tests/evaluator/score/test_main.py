"""Scoring command: complete runs, exit statuses, the order of verdicts, and stopped runs."""

import itertools
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Evaluator, Limits, ProblemTest, Status
from evaluator.descriptors import DESCRIPTORS_PER_WORKER
from evaluator.score import __main__ as score
from evaluator.score import inputs, verdict_file
from tests.evaluator.problems import make_problem_with_tests
from tests.evaluator.processes import find_descendants, is_alive
from tests.evaluator.score.fakes import (
    VERDICT_KEYS,
    FakeEvaluator,
    make_problem_row,
    make_solution_row,
    make_verdict,
    parse_tables,
)

ROOT = Path(__file__).parents[3]


def test_run_writes_verdicts_and_prints_tables(files, fake_evaluator, capsys):
    files.write_inputs(
        [
            make_problem_row("a", "hard", "leetcode"),
            make_problem_row("b", "easy", "atcoder"),
            make_problem_row("c", "easy", "leetcode"),
        ],
        [
            make_solution_row("b", "passed", "wrong_answer"),
            make_solution_row("a", "time_limit", "no_code"),
            make_solution_row("c", "passed", "passed"),
        ],
    )
    assert score.main(files.arguments()) == 0
    assert files.read_statuses() == [
        *(("b", 0, "passed"), ("b", 1, "wrong_answer"), ("a", 0, "time_limit")),
        *(("a", 1, "no_code"), ("c", 0, "passed"), ("c", 1, "passed")),
    ]
    row = files.read_verdicts()[0]
    assert tuple(row) == VERDICT_KEYS
    assert row | {"tests_run": 2, "tests_total": 3, "passed": True, "accepted_by": "exact", "seconds": 0.1235} == row
    out, err = capsys.readouterr()
    assert err == ""
    title, statuses, table = out.strip().split("\n\n")
    assert title.startswith("6 programs for 3 problems in ")
    assert list(parse_tables(statuses).items())[1:] == [
        ("passed", ["3", "50.0%"]),
        ("wrong_answer", ["1", "16.7%"]),
        ("time_limit", ["1", "16.7%"]),
        ("no_code", ["1", "16.7%"]),
    ]
    assert list(parse_tables(table).items())[1:] == [
        ("all", ["3", "6", "50.0%", "66.7%"]),
        ("difficulty easy", ["2", "4", "75.0%", "100.0%"]),
        ("difficulty hard", ["1", "2", "0.0%", "0.0%"]),
        ("platform atcoder", ["1", "2", "50.0%", "100.0%"]),
        ("platform leetcode", ["2", "4", "50.0%", "50.0%"]),
    ]
    assert fake_evaluator.instances[0].is_closed


def test_options_are_passed_to_the_evaluator(files, fake_evaluator):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed")])
    assert score.main(files.arguments()) == 0
    more = ["--workers", "3", "--timeout", "2.5", "--memory-mb", "77", "--all-tests", "--strict", "--policy", "paper"]
    assert score.main(files.arguments(*more, "--adaptive-timeout")) == 0
    default, configured = fake_evaluator.instances
    assert (default.limits, default.all_tests) == (Limits(), {False})
    assert default.options == {"policy": "judge", "strict": False, "adaptive_timeout": False}
    assert (configured.limits, configured.workers) == (Limits(wall_s=2.5, cpu_s=2.5, memory_mb=77), 3)
    assert configured.all_tests == {True}
    assert configured.options == {"policy": "paper", "strict": True, "adaptive_timeout": True}


def test_sandbox_that_does_not_start_is_reported(files, fake_evaluator, capsys, monkeypatch):
    monkeypatch.setattr(FakeEvaluator, "can_start", False)
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed")])
    assert score.main(files.arguments()) == 2
    assert "the sandbox does not start: no zygote can be started" in capsys.readouterr().err
    assert fake_evaluator.instances[0].is_closed
    assert not files.out.exists()


def test_problems_with_broken_checkers_are_dropped_by_name(files, fake_evaluator, capsys, monkeypatch):
    monkeypatch.setattr(FakeEvaluator, "broken", {"b": "its checker fails", "not asked": "no"})
    problems = [make_problem_row(name) for name in "abc"]
    files.write_inputs(problems, [make_solution_row(name, "passed", "wrong_answer") for name in "abc"])
    assert score.main(files.arguments()) == 3
    assert files.read_statuses()[2:4] == [("b", 0, "sandbox_error"), ("b", 1, "sandbox_error")]
    out, err = capsys.readouterr()
    assert f"{files.problems}: problem 'b' is dropped: its checker fails\n" in err
    assert "1 problems are dropped, with 2 programs" in err
    assert out.startswith("6 programs for 2 problems")
    assert score.main(files.arguments("--strict")) == 2
    assert "problem 'b' is dropped: its checker fails" in capsys.readouterr().err
    assert len(files.read_verdicts()) == 6  # not emptied
    files.write_inputs(problems, [make_solution_row("b", "passed")])
    assert score.main(files.arguments()) == 2


@pytest.mark.heavy
def test_broken_checker_of_a_real_problem_is_found(files, capsys):
    checkers = {
        "good": "def check(inp, out, exp): return out.split() == exp.split()",
        "broken": "def check(inp, out, exp): return missing",
        "placeholder": "def check(inp, out, exp): return int(out) == -int(inp.split()[0])",
    }
    problems = [
        make_problem_row(
            name, tests=[("1 2\n", "-" if name == "placeholder" else "3\n")], checker={"type": "custom", "code": code}
        )
        for name, code in checkers.items()
    ]
    files.write_inputs(problems, [make_solution_row(name, "print(3)", "print('x')") for name in checkers])
    assert score.main(files.arguments("--workers", "1")) == 3
    statuses = ["passed", "wrong_answer", *["sandbox_error"] * 2, *["wrong_answer"] * 2]
    assert [status for _, _, status in files.read_statuses()] == statuses
    out, err = capsys.readouterr()
    assert "problem 'broken' is dropped: its checker fails on the expected output of test 0: NameError" in err
    assert parse_tables(out)["placeholder"] == ["2"]


def test_solutions_that_change_during_the_run_are_reported(files, fake_evaluator, capsys, monkeypatch):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed", "passed")])
    original_start = score.start_evaluator

    def change_solutions_and_start(options):
        files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed")])
        return original_start(options)

    monkeypatch.setattr(score, "start_evaluator", change_solutions_and_start)
    assert score.main(files.arguments()) == 1
    assert "changed while it was read: 2 programs, then 1" in capsys.readouterr().err
    assert len(files.read_verdicts()) == 1


class LazyFuture(Future):
    """Future whose evaluator works only while somebody waits for the result."""

    def __init__(self, evaluator, code):
        super().__init__()
        self.evaluator = evaluator
        self.code = code

    def result(self, timeout=None):
        while not self.done():
            self.evaluator.finish_next()
        return super().result(timeout)


class FakeUnorderedEvaluator:
    """Fake evaluator that finishes open programs in any order: ``picks`` are the indices of the next to finish."""

    def __init__(self, picks):
        self.picks = itertools.cycle(picks)
        self.open = []
        self.max_open = 0

    def submit(self, submission):
        self.open.append(LazyFuture(self, submission.code))
        self.max_open = max(self.max_open, len(self.open))
        return self.open[-1]

    def finish_next(self):
        future = self.open.pop(next(self.picks) % len(self.open))
        future.set_result(make_verdict(Status.PASSED, future.code))


@given(st.integers(0, 30), st.integers(1, 9), st.lists(st.integers(0, 8), min_size=1, max_size=9))
def test_verdicts_are_yielded_in_the_order_of_the_programs(count, window, picks):
    evaluator: Any = FakeUnorderedEvaluator(picks)
    problem = make_problem_with_tests(ProblemTest("", ""))
    yielded = []
    finished = []

    def submissions():
        for index in range(count):
            assert index - len(yielded) < window  # submitted and not yet yielded
            yield inputs.Submission(question_id="q", index=index, problem=problem, code=str(index))

    for submission, verdict in score.judge_in_order(evaluator.submit, submissions(), window, finished.append):
        assert verdict.detail == submission.code
        assert verdict in finished
        yielded.append(submission.index)
    assert yielded == list(range(count))
    assert sorted(int(verdict.detail) for verdict in finished) == yielded
    assert evaluator.max_open <= window


def test_progress_is_shown_on_a_terminal(files, fake_evaluator, capsys, monkeypatch):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed", "no_code")])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert score.main(files.arguments()) == 0
    stderr = capsys.readouterr().err
    assert re.search(r"\r\[#{24}\] 2/2 programs, [\d.]+/s, 1 failed, 0:00 left\x1b\[K\r\x1b\[K$", stderr)
    assert "\n" not in stderr


def make_score_command(files, *more):
    """Return the command line of a run with two workers."""
    return [sys.executable, "-m", "evaluator.score", *files.arguments("--workers", "2", *more)]


def test_first_signal_raises_second_exits_and_ignored_signals_stay_ignored(monkeypatch):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hangup_handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    exit_statuses = []
    monkeypatch.setattr(os, "_exit", exit_statuses.append)
    try:
        with pytest.raises(score.StoppedBySignal, match="SIGTERM"), score._raise_on_signal():
            os.kill(os.getpid(), signal.SIGHUP)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, hangup_handler)
    assert exit_statuses == [130]
    assert handlers == {number: signal.getsignal(number) for number in handlers}


CORRECT = "print(sum(map(int, input().split())))"
SLEEPING = "import time\ntime.sleep(600)"


@pytest.mark.heavy
def test_command_judges_real_programs(files):
    files.write_inputs(
        [
            make_problem_row("a", "easy"),
            make_problem_row("f", tests=[("1\n2", "3")], func_name="add"),
            make_problem_row("quick", time_limit_s=0.5),
        ],
        [
            make_solution_row("a", CORRECT, "print(3)", "1 +", "raise ValueError('x' * 9999)"),
            {"question_id": "f", "output_list": ["Here:\n```python\ndef add(a, b):\n    return a + b\n```", "sorry"]},
            make_solution_row("quick", SLEEPING),
        ],
    )
    completed = subprocess.run(make_score_command(files), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert completed.returncode == 0, completed.stderr
    rows = files.read_verdicts()
    assert [(row["status"], row["first_failed"]) for row in rows] == [
        *(("passed", None), ("wrong_answer", 1), ("compile_error", None), ("runtime_error", 0)),
        *(("passed", None), ("no_code", None), ("time_limit", 0)),
    ]
    assert all(tuple(row) == VERDICT_KEYS for row in rows)
    assert all(len(row["detail"]) <= verdict_file.DETAIL_LENGTH for row in rows)
    assert parse_tables(completed.stdout)["all"][:3] == ["3", "7", "25.0%"]


@pytest.mark.heavy
def test_full_standard_output_is_reported(files):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", CORRECT)])
    # Buffered, as by default: then Python would flush the table again at its end, and fail a second time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        completed = subprocess.run(
            make_score_command(files),
            cwd=ROOT,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
    assert completed.returncode == 1
    assert "the table cannot be printed to standard output" in completed.stderr
    assert "Exception" not in completed.stderr
    assert files.read_statuses() == [("a", 0, "passed")]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "times", "limit"), [("SIGINT", 1, "5"), ("SIGINT", 2, "300"), ("SIGTERM", 1, "5"), ("SIGKILL", 1, "300")]
)
def test_stopped_run_leaves_its_verdicts_and_no_processes(files, name, times, limit):
    files.write_inputs(
        [make_problem_row("a"), make_problem_row("b")],
        [make_solution_row("a", CORRECT, CORRECT), make_solution_row("b", SLEEPING, SLEEPING, CORRECT)],
    )
    process = subprocess.Popen(
        make_score_command(files, "--timeout", limit),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 60
        while not (files.out.exists() and files.out.read_text().count("\n") >= 2) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)  # for the sleeping programs to start
        processes = find_descendants(process.pid)
        for _ in range(times):  # the second signal ends the run without waiting for running programs
            process.send_signal(signal.Signals[name])
            time.sleep(0.3)
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert len(processes) >= 3  # the sandboxes of two workers, and programs in them
    if name == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + signal.Signals[name]
        assert (f"stopped by {name}" in err) == (times == 1)
        assert "2 of 5 verdicts are written" in err
    assert files.out.read_text().endswith("\n")
    assert files.read_statuses() == [("a", 0, "passed"), ("a", 1, "passed")]
    deadline = time.monotonic() + 60
    while left := [pid for pid in processes if is_alive(pid)]:
        assert time.monotonic() < deadline, f"processes still running: {left}"
        time.sleep(0.05)


@pytest.mark.heavy
@pytest.mark.parametrize("sharing", ["> /dev/null 2>&- <&-", ">&- 2>&-", "| true"])
def test_closed_standard_streams_do_not_matter(files, sharing):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", CORRECT)])
    command = f"set -o pipefail; {shlex.join(make_score_command(files))} {sharing}"
    completed = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert files.read_statuses() == [("a", 0, "passed")]


def run_with_descriptor_limits(files, soft, hard, *more):
    """Run the command with limits on open descriptors and return the completed process."""
    return subprocess.run(
        make_score_command(files, *more),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )


COUNT_DESCRIPTORS = """import resource
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 256
print(sum(map(int, input().split())))"""


@pytest.mark.heavy
def test_descriptor_limit_is_raised(files):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", *[COUNT_DESCRIPTORS] * 4)])
    completed = run_with_descriptor_limits(files, 40, 1024)
    assert completed.returncode == 0, completed.stderr
    assert {row["status"] for row in files.read_verdicts()} == {"passed"}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("hard", "workers", "message"),
    [
        (255, "1", "--workers 1: needs a limit of 256 open files, but 255 .*: raise the hard limit"),
        (1000, "90", "--workers 90: needs a limit of 36.. open files, but 1000 .*: use at most 24 workers, or raise"),
    ],
)
def test_low_hard_limit_of_descriptors_is_an_error(files, hard, workers, message):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", CORRECT)])
    completed = run_with_descriptor_limits(files, 64, hard, "--workers", workers)
    assert completed.returncode == 2
    assert re.search(message, completed.stderr)
    assert not files.out.exists()


@pytest.mark.heavy
def test_worker_opens_at_most_the_reserved_descriptors():
    def count_until(done):
        while not done.wait(0.001):
            counts.append(len(os.listdir("/proc/self/fd")))

    checker = {"type": "custom", "code": "def check(inp, out, exp): return True"}
    stdin_test = ProblemTest("1", "1")
    call_test = ProblemTest("1", "1", "functional")
    programs = [
        (make_problem_with_tests(stdin_test), "print(1)"),
        (make_problem_with_tests(call_test, func_name="f"), "def f(x): return x"),
        (make_problem_with_tests(stdin_test, checker=checker), "import numpy\nprint(1)"),
        (make_problem_with_tests(call_test, func_name="f", checker=checker), "import numpy\ndef f(x): return x"),
    ]
    done = threading.Event()
    counts = [len(os.listdir("/proc/self/fd"))]
    thread = threading.Thread(target=count_until, args=[done])
    with Evaluator(Limits(wall_s=60, cpu_s=60)) as evaluator:
        thread.start()
        verdicts = [evaluator.evaluate(*program) for program in programs * 3]
        done.set()
        thread.join()
    assert all(verdict.passed for verdict in verdicts), verdicts
    assert 8 <= max(counts) - counts[0] <= DESCRIPTORS_PER_WORKER


def test_command_does_not_load_heavy_packages():
    heavy = ("numpy", "pyarrow", "torch", "ray", "rich", "typer", "asyncio", "tempfile", "secrets")
    program = f"import sys, evaluator.score.__main__; print(*set({heavy}) & set(sys.modules))"
    completed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert completed.stdout == "\n"
