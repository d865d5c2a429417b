"""The scoring command: rows, tables, exit statuses, and what is left when it is stopped.

Most tests put a judge in the sandbox's place to which a program is the name of its status.
"""

import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Limits, Problem, ProblemTest, SandboxError, Status, Verdict, score
from evaluator.pass_at_k import Attempts, pass_at_k

ROOT = Path(__file__).parents[2]
KEYS = (
    *("question_id", "index", "passed", "status", "tests_passed", "tests_run", "tests_total", "first_failed"),
    *("accepted_by", "seconds", "detail"),
)


def problem(question_id, difficulty=None, platform="other", tests=(("1 2\n", "3\n"), ("4 4\n", "8\n")), **metadata):
    cases = [{"input": text, "output": output} for text, output in tests]
    return {
        "question_id": question_id,
        "platform": platform,
        "difficulty": difficulty,
        "public_test_cases": json.dumps(cases[:1]),
        "private_test_cases": json.dumps(cases[1:]),
        "metadata": json.dumps(metadata),
    }


def codes(question_id, *programs):
    return {"question_id": question_id, "code_list": list(programs)}


def verdict(status, detail=""):
    return Verdict(status, 1, 2, 3, None, "exact" if status is Status.PASSED else None, 0.123456, detail)


class Judge:
    """In the place of Evaluator. ``made`` are those that were constructed."""

    made: list["Judge"]
    starts = True

    def __init__(self, limits, workers, **keywords):
        self.limits, self.workers, self.keywords = limits, workers, keywords
        self.closed, self.all_tests = False, set()
        self.made.append(self)

    @property
    def missing(self):
        if not self.starts:
            raise SandboxError("no zygote can be started")
        return ()

    def submit(self, problem, code, *, all_tests=False):
        self.all_tests.add(all_tests)
        future = Future()
        future.set_result(verdict(Status.NO_CODE if code is None else Status(code), "detail"))
        return future

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setattr(score, "Evaluator", Judge)
    monkeypatch.setattr(Judge, "made", [], raising=False)
    return Judge


class Files:
    """The three files of a run, in one folder."""

    def __init__(self, folder):
        self.problems, self.solutions, self.out = (folder / name for name in ("P.jsonl", "S.jsonl", "V.jsonl"))

    def write(self, problems, solutions):
        for path, rows in ((self.problems, problems), (self.solutions, solutions)):
            path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return self

    def arguments(self, *more):
        paths = {"--problems": self.problems, "--solutions": self.solutions, "--out": self.out}
        return [*(str(part) for pair in paths.items() for part in pair), *more]

    def verdicts(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def statuses(self):
        return [(row["question_id"], row["index"], row["status"]) for row in self.verdicts()]


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def cells(text):
    """The rows of printed tables by their first column; columns are two blanks apart or more."""
    rows = (re.split("  +", line) for line in text.splitlines() if line)
    return {row[0]: row[1:] for row in rows}


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


def test_sandbox_errors_do_not_count(files, judge, capsys):
    rows = [codes("a", "passed", "sandbox_error", "passed"), codes("b", "sandbox_error", "sandbox_error")]
    files.write([problem("a"), problem("b")], rows)
    assert score.main(files.arguments()) == 3
    assert [row["passed"] for row in files.verdicts()] == [True, False, True, False, False]
    out, err = capsys.readouterr()
    assert cells(out)["sandbox_error"] == ["3", "60.0%"]
    assert cells(out)["all"] == ["1", "2", "100.0%", "100.0%"]
    assert "3 programs have no verdict (sandbox_error)" in err
    assert "1 problems have no other" in err


def test_rows_of_one_problem_are_joined(files, judge, capsys):
    rows = [codes("a", "passed"), codes("b", "passed"), codes("a", "no_code", "passed")]
    files.write([problem("a"), problem("b")], rows)
    assert score.main(files.arguments()) == 0
    assert files.statuses() == [("a", 0, "passed"), ("b", 0, "passed"), ("a", 1, "no_code"), ("a", 2, "passed")]
    out, err = capsys.readouterr()
    assert "1 rows are for problems that had a row before" in err
    assert "1 to 3 judged programs" in err
    assert cells(out)["all"] == ["2", "4", "83.3%"]


def test_code_is_extracted_from_answers(files, judge):
    answers = {"question_id": "a", "output_list": ["```python\npassed\n```", "no code here"]}
    files.write([problem("a")], [answers])
    judge.submit, before = lambda self, problem, code, **_: before(self, problem, code and code.strip()), judge.submit
    try:
        assert score.main(files.arguments()) == 0
    finally:
        judge.submit = before
    assert files.statuses() == [("a", 0, "passed"), ("a", 1, "no_code")]


BAD_SOLUTIONS = {
    "unknown problem": (codes("x", "passed"), "S.jsonl, row 2: .*no problem 'x' in .*P.jsonl"),
    "wrong type": (codes("a", 3), r"S.jsonl, row 2: .*code_list\[0\]: expected text, got 3"),
    "not JSON": ("{", "S.jsonl, row 2: .*not JSON"),
}


@pytest.mark.parametrize("name", BAD_SOLUTIONS)
def test_a_bad_row_is_told_and_skipped_or_fatal(files, judge, capsys, name):
    row, message = BAD_SOLUTIONS[name]
    files.write([problem("a")], [codes("a", "passed"), row, codes("a", "no_code")])
    assert score.main(files.arguments()) == 3
    assert files.statuses() == [("a", 0, "passed"), ("a", 1, "no_code")]
    assert_matches(message, capsys.readouterr().err)
    files.out.unlink()
    assert score.main(files.arguments("--strict")) == 2
    assert_matches(message.replace(", ", ": ", 1), capsys.readouterr().err)
    assert not files.out.exists()


def test_a_bad_problem_is_told_and_skipped_or_fatal(files, judge, capsys):
    files.write([problem("a"), problem("b", tests=())], [codes("a", "passed")])
    assert score.main(files.arguments()) == 0  # each program that is there got its verdict
    assert_matches("P.jsonl, row 2: skipped: .*no tests", capsys.readouterr().err)
    assert score.main(files.arguments("--strict")) == 2
    assert_matches("P.jsonl, line 2: .*no tests", capsys.readouterr().err)


def test_many_bad_rows_are_counted(files, judge, capsys):
    files.write([problem("a")], [codes("a", "passed"), *(codes(f"x{n}", "passed") for n in range(500))])
    assert score.main(files.arguments()) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == score.MESSAGES + 1
    assert lines[-1].endswith("490 more bad rows skipped (500 in all)")


def test_problems_without_solutions(files, judge, capsys):
    files.write([problem("a"), problem("b"), problem("c")], [codes("b", "passed")])
    assert score.main(files.arguments("--strict")) == 0
    out, err = capsys.readouterr()
    assert "2 of 3 problems have no solutions" in err
    assert cells(out)["all"] == ["1", "1", "100.0%"]


def refusals(files, folder):
    """Arguments that come after good ones, and what is said about them."""
    (folder / "folder.jsonl").mkdir()
    (folder / "empty.jsonl").write_text("")
    (folder / "broken.json").write_text('[{"question_id": "a", "code_list": ["passed"]}, {')
    (folder / "damaged.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00damaged")
    return {
        ("--problems", f"{folder}/none.jsonl"): "--problems .*none.jsonl: No such file",
        ("--problems", f"{folder}/folder.jsonl"): "--problems .*folder.jsonl: Is a directory",
        ("--problems", f"{folder}/problems.csv"): "neither",
        ("--problems", f"{folder}/empty.jsonl"): "row 1: .*no problem 'a'(.|\n)*no programs to judge",
        ("--problems", f"{folder}/damaged.jsonl.gz"): "--problems .*damaged.jsonl.gz: .",
        ("--solutions", f"{folder}/none.jsonl"): "--solutions .*none.jsonl: No such file",
        ("--solutions", f"{folder}/folder.jsonl"): "--solutions .*folder.jsonl: not a regular file",
        ("--solutions", "/dev/null"): "not a regular file",
        ("--solutions", f"{folder}/empty.jsonl"): "no programs to judge",
        ("--solutions", f"{folder}/broken.json"): "broken.json, after row 1: the JSON list is broken",
        ("--solutions", f"{folder}/damaged.jsonl.gz"): "damaged gzip",
        ("--out", f"{folder}/none/V.jsonl"): "--out .*none/V.jsonl: No such file",
        ("--out", f"{folder}/folder.jsonl"): "--out .*folder.jsonl: Is a directory",
        ("--out", str(files.problems)): "--out .*would overwrite an input",
        ("--out", f"{files.solutions.parent}/./S.jsonl"): "--out .*would overwrite an input",
    }


def test_what_is_refused_leaves_the_old_verdicts(files, judge, capsys, tmp_path):
    files.write([problem("a")], [codes("a", "passed")])
    inputs = files.problems.read_bytes(), files.solutions.read_bytes()
    for arguments, message in refusals(files, tmp_path).items():
        for before in (None, "of another run"):
            files.out.unlink(missing_ok=True) if before is None else files.out.write_text(before)
            assert score.main(files.arguments(*arguments)) == 2
            assert_matches(message, capsys.readouterr().err)
            assert (files.out.read_text() if files.out.exists() else None) == before
    assert inputs == (files.problems.read_bytes(), files.solutions.read_bytes())
    assert judge.made == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_output(files, judge, capsys):
    files.write([problem("a")], [codes("a", "passed")])
    files.out.touch(0o400)
    assert score.main(files.arguments()) == 2
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers: expected a whole number of at least 1, got '0'"),
        (["--workers", "two"], "--workers"),
        (["--timeout", "0"], "--timeout: expected seconds"),
        (["--timeout", "nan"], "--timeout: expected seconds"),
        (["--timeout", "inf"], "--timeout: expected seconds"),
        (["--memory-mb", "-1"], "--memory-mb"),
        (["--policy", "loose"], "--policy: invalid choice"),
        (["--work", "2"], "unrecognized arguments"),
        (["--out", "V.jsonl.gz"], "without compression"),
    ],
)
def test_impossible_arguments(files, capsys, arguments, message):
    with pytest.raises(SystemExit) as raised:
        score.main(files.arguments(*arguments))
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_no_sandbox(files, judge, capsys, monkeypatch):
    monkeypatch.setattr(Judge, "starts", False)
    files.write([problem("a")], [codes("a", "passed")])
    assert score.main(files.arguments()) == 2
    assert "the sandbox does not start: no zygote can be started" in capsys.readouterr().err
    assert judge.made[0].closed
    assert not files.out.exists()


def test_a_shorter_result_replaces_a_longer_one(files, judge):
    files.write([problem("a")], [codes("a", "passed")])
    files.out.write_text("of another run\n" * 999)
    assert score.main(files.arguments()) == 0
    assert files.statuses() == [("a", 0, "passed")]


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


# --- the window ---------------------------------------------------------------------------------------------------


class Later(Future):
    """A verdict that is not there before somebody waits for it."""

    def __init__(self, judge, code):
        super().__init__()
        self.judge, self.code = judge, code

    def result(self, timeout=None):
        while not self.done():
            self.judge.answer()
        return super().result(timeout)


class Disorderly:
    """A judge whose verdicts come in any order: ``picks`` says which of the open ones is next."""

    def __init__(self, picks):
        self.picks, self.open, self.most = itertools.cycle(picks), [], 0

    def submit(self, problem, code, *, all_tests):
        self.open.append(Later(self, code))
        self.most = max(self.most, len(self.open))
        return self.open[-1]

    def answer(self):
        future = self.open.pop(next(self.picks) % len(self.open))
        future.set_result(verdict(Status.PASSED, future.code))


@given(st.integers(0, 30), st.integers(1, 9), st.lists(st.integers(0, 8), min_size=1, max_size=9))
def test_verdicts_come_in_the_order_of_the_programs(count, window, picks):
    judge = Disorderly(picks)
    one = Problem("q", "", "", "other", None, None, "", (ProblemTest("", ""),), ())
    taken = []

    def tasks():
        for index in range(count):
            assert index - len(taken) < window  # taken from here, and not yet given back
            yield score.Task(one, index, str(index))

    for task, given_back in score.judged(judge, tasks(), False, window):
        assert given_back.detail == task.code
        taken.append(task.index)
    assert taken == list(range(count))
    assert judge.most <= window


# --- the file of verdicts -----------------------------------------------------------------------------------------


def options_of(files):
    return score.parse_options(files.arguments())


@pytest.mark.parametrize("room", [0, 1, 50, 99])
def test_a_full_disk_leaves_no_half_line(files, room):
    """The limit on a file's size stands in for the disk: the line that does not fit is first written in part."""
    row = score.verdict_row(task(), verdict(Status.PASSED))
    size = len(json.dumps(row)) + 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with score.VerdictFile(options_of(files)) as out:
        out.begin()
        out.write(row)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
        try:
            with pytest.raises(score.Broken, match=r"V\.jsonl: File too large"):
                out.write(row)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert files.verdicts() == [row]
        out.write(row)
        assert out.rows == 2
    assert files.out.read_text() == (json.dumps(row) + "\n") * 2


def task():
    one = Problem("q\ud800", "", "", "other", None, None, "", (ProblemTest("", ""),), ())
    return score.Task(one, 4, "")


def test_rows_are_lines_of_ascii_with_short_details():
    row = score.verdict_row(task(), verdict(Status.WRONG_ANSWER, "\n\x1b\u2028é" * 500))
    line = json.dumps(row)
    assert line.isascii()
    assert "\n" not in line
    assert len(row["detail"]) == score.DETAIL_LENGTH
    assert row["detail"].endswith("...")
    assert json.loads(line)["question_id"] == "q\ud800"
    whole = "x" * score.DETAIL_LENGTH
    assert score.verdict_row(task(), verdict(Status.WRONG_ANSWER, whole))["detail"] == whole


# --- tables -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=5))
def test_every_k_that_all_problems_of_a_line_allow(pairs):
    attempts = [Attempts(tried, min(tried, passed)) for tried, passed in pairs]
    most = max(attempts, key=lambda one: one.tried)
    blocks = score.pass_table({"all": Counter(attempts), "one": Counter([most])}).split("\n\n")
    tables = [cells(block) for block in blocks]
    header, every, one = ([cell for table in tables for cell in table[name][2:]] for name in ("", "all", "one"))
    assert header == [f"pass@{k}" for k in range(1, most.tried + 1)]
    fewest = min(one.tried for one in attempts)
    for k, (mean, alone) in enumerate(zip(every, one, strict=True), 1):
        assert alone == f"{pass_at_k(most.tried, most.passed, k):.1%}"
        if k <= fewest:
            exact = sum(pass_at_k(one.tried, one.passed, k) for one in attempts) / len(attempts)
            assert float(mean[:-1]) == pytest.approx(100 * exact, abs=0.051)
        else:
            assert mean == "-"


def test_nothing_to_show():
    assert cells(score.pass_table({})) == {"": ["problems", "programs", "pass@1"]}


def test_groups_come_in_order_and_print_safely(files, judge, capsys):
    names = ["hard", "unheard of", None, "easy", "\x1b[31mred", "medium"]
    rows = [problem(str(n), name, "ü") for n, name in enumerate(names)]
    files.write(rows, [codes(str(n), "passed") for n in range(len(names))])
    assert score.main(files.arguments()) == 0
    out = capsys.readouterr().out
    assert [line.split("  ")[0] for line in out.split("\n\n")[-1].splitlines()[1:]] == [
        *("all", "difficulty easy", "difficulty medium", "difficulty hard"),
        *("difficulty \\x1b[31mred", "difficulty -", "difficulty unheard of", "platform \\xfc"),
    ]
    assert out.isascii()


def test_progress_is_for_terminals(files, judge, capsys, monkeypatch):
    files.write([problem("a")], [codes("a", "passed", "no_code")])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert score.main(files.arguments()) == 0
    shown = capsys.readouterr().err
    assert "\r1/2 programs, 100.0% passed" in shown
    assert shown.index("\r1/2") < shown.index("\r\x1b[K")
    assert "\n" not in shown


# --- ends ---------------------------------------------------------------------------------------------------------


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
    assert all(len(row["detail"]) <= score.DETAIL_LENGTH for row in rows)
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
    program = f"import sys, evaluator.score; print(*set({heavy}) & set(sys.modules))"
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
    family, last = set(), {pid}
    while last := {child for child, parent in parents.items() if parent in last}:
        family |= last
    return family


def assert_matches(pattern, text):
    assert re.search(pattern, text), text
