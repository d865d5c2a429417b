"""The scoring command: a whole run, exit statuses, the order of verdicts, and what is left when it is stopped."""

import itertools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Limits, Problem, ProblemTest, Status
from evaluator.score import __main__ as score
from evaluator.score import inputs, verdict_file
from tests.evaluator.score.run_files import KEYS, Judge, cells, codes, problem, verdict

ROOT = Path(__file__).parents[3]


def test_a_run(files, judge, capsys):
    files.write(
        [problem("a", "hard", "leetcode"), problem("b", "easy", "atcoder"), problem("c", "easy", "leetcode")],
        [codes("b", "passed", "wrong_answer"), codes("a", "time_limit", "no_code"), codes("c", "passed", "passed")],
    )
    assert score.main(files.arguments()) == 0
    assert files.statuses() == [
        *(("b", 0, "passed"), ("b", 1, "wrong_answer"), ("a", 0, "time_limit")),
        *(("a", 1, "no_code"), ("c", 0, "passed"), ("c", 1, "passed")),
    ]
    row = files.verdicts()[0]
    assert tuple(row) == KEYS
    assert row | {"tests_run": 2, "tests_total": 3, "passed": True, "accepted_by": "exact", "seconds": 0.1235} == row
    out, err = capsys.readouterr()
    assert err == ""
    title, statuses, table = out.strip().split("\n\n")
    assert title.startswith("6 programs for 3 problems in ")
    assert list(cells(statuses).items())[1:] == [
        ("passed", ["3", "50.0%"]),
        ("wrong_answer", ["1", "16.7%"]),
        ("time_limit", ["1", "16.7%"]),
        ("no_code", ["1", "16.7%"]),
    ]
    assert list(cells(table).items())[1:] == [
        ("all", ["3", "6", "50.0%", "66.7%"]),
        ("difficulty easy", ["2", "4", "75.0%", "100.0%"]),
        ("difficulty hard", ["1", "2", "0.0%", "0.0%"]),
        ("platform atcoder", ["1", "2", "50.0%", "100.0%"]),
        ("platform leetcode", ["2", "4", "50.0%", "50.0%"]),
    ]
    assert judge.made[0].closed


def test_the_options_reach_the_evaluator(files, judge):
    files.write([problem("a")], [codes("a", "passed")])
    assert score.main(files.arguments()) == 0
    more = ["--workers", "3", "--timeout", "2.5", "--memory-mb", "77", "--all-tests", "--strict", "--policy", "paper"]
    assert score.main(files.arguments(*more, "--adaptive-timeout")) == 0
    usual, given = judge.made
    assert (usual.limits, usual.all_tests) == (Limits(), {False})
    assert usual.keywords == {"policy": "judge", "strict": False, "adaptive_timeout": False}
    assert (given.limits, given.workers) == (Limits(wall_s=2.5, cpu_s=2.5, memory_mb=77), 3)
    assert given.all_tests == {True}
    assert given.keywords == {"policy": "paper", "strict": True, "adaptive_timeout": True}


def test_no_sandbox(files, judge, capsys, monkeypatch):
    monkeypatch.setattr(Judge, "starts", False)
    files.write([problem("a")], [codes("a", "passed")])
    assert score.main(files.arguments()) == 2
    assert "the sandbox does not start: no zygote can be started" in capsys.readouterr().err
    assert judge.made[0].closed
    assert not files.out.exists()


def test_solutions_that_change_meanwhile(files, judge, capsys, monkeypatch):
    files.write([problem("a")], [codes("a", "passed", "passed")])
    start = score.start_evaluator

    def change(options):
        files.write([problem("a")], [codes("a", "passed")])
        return start(options)

    monkeypatch.setattr(score, "start_evaluator", change)
    assert score.main(files.arguments()) == 1
    assert "changed while it was read: 2 programs, then 1" in capsys.readouterr().err
    assert len(files.verdicts()) == 1


class Later(Future):
    """A verdict that is not there before somebody waits for it."""

    def __init__(self, judge, code):
        super().__init__()
        self.judge = judge
        self.code = code

    def result(self, timeout=None):
        while not self.done():
            self.judge.answer()
        return super().result(timeout)


class Disorderly:
    """A judge whose verdicts come in any order: ``picks`` says which of the open ones is next."""

    def __init__(self, picks):
        self.picks = itertools.cycle(picks)
        self.open = []
        self.most = 0

    def submit(self, problem, code, *, all_tests):
        self.open.append(Later(self, code))
        self.most = max(self.most, len(self.open))
        return self.open[-1]

    def answer(self):
        future = self.open.pop(next(self.picks) % len(self.open))
        future.set_result(verdict(Status.PASSED, future.code))


@given(st.integers(0, 30), st.integers(1, 9), st.lists(st.integers(0, 8), min_size=1, max_size=9))
def test_verdicts_come_in_the_order_of_the_programs(count, window, picks):
    judge: Any = Disorderly(picks)
    one = Problem(
        question_id="q",
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=(ProblemTest("", ""),),
        private_tests=(),
    )
    taken = []

    def tasks():
        for index in range(count):
            assert index - len(taken) < window  # taken from here, and not yet given back
            yield inputs.Task(one, index, str(index))

    for task, given_back in score.judged(judge, tasks(), False, window):
        assert given_back.detail == task.code
        taken.append(task.index)
    assert taken == list(range(count))
    assert judge.most <= window


def test_progress_is_for_terminals(files, judge, capsys, monkeypatch):
    files.write([problem("a")], [codes("a", "passed", "no_code")])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert score.main(files.arguments()) == 0
    shown = capsys.readouterr().err
    assert "\r1/2 programs, 100.0% passed" in shown
    assert shown.index("\r1/2") < shown.index("\r\x1b[K")
    assert "\n" not in shown


def test_the_first_signal_asks_and_ignored_ones_stay_ignored(monkeypatch):
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    hung_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    try:
        with pytest.raises(score.Stopped, match="SIGTERM"), score._stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, hung_up)
    assert ended == [130]
    assert before == {one: signal.getsignal(one) for one in before}


RIGHT = "print(sum(map(int, input().split())))"


SLEEPS = "import time\ntime.sleep(600)"


def command(files, *more):
    return [sys.executable, "-m", "evaluator.score", *files.arguments("--workers", "2", *more)]


def test_real_programs(files):
    files.write(
        [
            problem("a", "easy"),
            problem("f", tests=[("1\n2", "3")], func_name="add"),
            problem("quick", time_limit_s=0.5),
        ],
        [
            codes("a", RIGHT, "print(3)", "1 +", "raise ValueError('x' * 9999)"),
            {"question_id": "f", "output_list": ["Here:\n```python\ndef add(a, b):\n    return a + b\n```", "sorry"]},
            codes("quick", SLEEPS),
        ],
    )
    done = subprocess.run(command(files), cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    rows = files.verdicts()
    assert [(row["status"], row["first_failed"]) for row in rows] == [
        *(("passed", None), ("wrong_answer", 1), ("compile_error", None), ("runtime_error", 0)),
        *(("passed", None), ("no_code", None), ("time_limit", 0)),
    ]
    assert all(tuple(row) == KEYS for row in rows)
    assert all(len(row["detail"]) <= verdict_file.DETAIL_LENGTH for row in rows)
    assert cells(done.stdout)["all"][:3] == ["3", "7", "25.0%"]


def test_a_full_standard_output(files):
    files.write([problem("a")], [codes("a", RIGHT)])
    # Unbuffered, there is nothing left that could fail once more at the end.
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(files), cwd=ROOT, env=usual, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100
        )
    assert done.returncode == 1
    assert "standard output does not take the table" in done.stderr
    assert "Exception" not in done.stderr
    assert files.statuses() == [("a", 0, "passed")]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "times", "limit"), [("SIGINT", 1, "5"), ("SIGINT", 2, "300"), ("SIGTERM", 1, "5"), ("SIGKILL", 1, "300")]
)
def test_a_stopped_run_leaves_rows_and_no_processes(files, name, times, limit):
    files.write([problem("a"), problem("b")], [codes("a", RIGHT, RIGHT), codes("b", SLEEPS, SLEEPS, RIGHT)])
    process = subprocess.Popen(
        command(files, "--timeout", limit),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 60
        while not (files.out.exists() and files.out.read_text().count("\n") >= 2) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)  # for the sleepers to begin
        family = descendants(process.pid)
        for _ in range(times):  # the second one does not wait for the sleepers
            process.send_signal(signal.Signals[name])
            time.sleep(0.3)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert len(family) >= 3  # the sandboxes of two workers, and programs in them
    if name == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + signal.Signals[name]
        assert (f"stopped by {name}" in err) == (times == 1)
        assert "2 of 5 programs have their row" in err
    assert files.out.read_text().endswith("\n")
    assert files.statuses() == [("a", 0, "passed"), ("a", 1, "passed")]
    deadline = time.monotonic() + 60
    while left := [pid for pid in family if alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_it_starts_light():
    heavy = ("numpy", "pyarrow", "torch", "ray", "rich", "typer")
    program = f"import sys, evaluator.score.__main__; print(*set({heavy}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def stat_of(pid):
    """State and parent of a process, None when there is none."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state, int(parent)


def alive(pid):
    found = stat_of(pid)
    return found is not None and found[0] not in "ZX"


def descendants(pid):
    parents = {int(name): found[1] for name in os.listdir("/proc") if name.isdigit() and (found := stat_of(name))}
    family = set()
    last = {pid}
    while last := {child for child, parent in parents.items() if parent in last}:
        family |= last
    return family
