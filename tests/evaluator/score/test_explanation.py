"""Explanation of one program: the tests with input, expected and actual output, and what else the command does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from evaluator.score import __main__ as score
from tests.evaluator.score.fakes import make_problem_row, make_solution_row, parse_tables

ROOT = Path(__file__).parents[3]
TESTS = [("1 2\n", "3\n"), ("4 4\n", "8\n"), ("5 5\n", "10\n")]
PROGRAM = """a, b = map(int, input().split())
if a == 5: raise ValueError("five")
print(f" {a + b}" if a == 1 else "\\x1b[2J\\udc80".encode(errors="surrogateescape").decode("latin-1"))
"""


def explain(files, name, *more):
    """Run the command with ``--explain`` and without ``--out``; return the completed process."""
    arguments = files.arguments(*more)
    out = arguments.index("--out")
    command = [sys.executable, "-m", "evaluator.score", *arguments[:out], *arguments[out + 2 :], "--explain", name]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.heavy
def test_tests_are_shown_with_input_expected_actual_and_strategy(files):
    files.write_inputs([make_problem_row("a:1", tests=TESTS)], [make_solution_row("a:1", "print(3)", PROGRAM)])
    completed = explain(files, "a:1:1")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert not files.out.exists()
    title, *tests = completed.stdout.strip().split("\n\n")
    assert title.startswith("program 1 for problem a:1: wrong_answer, 1 of 3 tests passed")
    assert [test.splitlines()[1:] for test in tests] == [
        ["  input     1 2", "  expected  3", "  actual     3"],
        ["  input     4 4", "  expected  8", "  actual    \\x1b[2J\\x80"],
        ["  input     5 5", "  expected  10", "  actual    (none)"],
    ]
    for test, pattern in zip(
        tests,
        [r"0 \(public\): passed by blank_lines,", r"1 \(private\): wrong_answer", r"2 \(private\): .*ValueError: five"],
        strict=True,
    ):
        assert re.match(f"test {pattern}", test)


@pytest.mark.heavy
def test_calls_are_shown(files):
    tests = [("1\n2", "3"), ("[1]\n[2]", "[1, 2]")]
    row = make_problem_row("f", tests=tests, func_name="add")
    answer = "```python\ndef add(a, b):\n    return a + b\n```"
    files.write_inputs([row], [{"question_id": "f", "output_list": [answer]}])
    completed = explain(files, "f:0")
    assert completed.returncode == 0, completed.stderr
    assert "passed by json_equal" in completed.stdout
    assert completed.stdout.endswith("  input     [1]\n            [2]\n  expected  [1, 2]\n  actual    [1, 2]\n")


@pytest.mark.heavy
@pytest.mark.parametrize(("program", "status"), [("1 +\n", "compile_error"), (None, "no_code")])
def test_program_that_does_not_run_is_explained(files, program, status):
    row = {"question_id": "a", "output_list": ["nothing"]} if program is None else make_solution_row("a", program)
    files.write_inputs([make_problem_row("a")], [row])
    completed = explain(files, "a:0")
    assert completed.returncode == 0, completed.stderr
    assert f"program 0 for problem a: {status}, 0 of 2 tests passed" in completed.stdout
    assert completed.stdout.count("not run\n") == 2


@pytest.mark.usefixtures("failing_parser")
def test_answer_that_could_not_be_parsed_is_explained(files, capsys):
    row = {"question_id": "a", "output_list": ["", "```python\nprint(1)\n```"]}
    files.write_inputs([make_problem_row("a")], [row])
    arguments = files.arguments("--explain", "a:1")
    out = arguments.index("--out")
    del arguments[out : out + 2]
    assert score.main(arguments) == 3
    text = capsys.readouterr().out
    assert text.startswith("program 1 for problem a: sandbox_error, 0 of 2 tests passed (the parser process failed")
    assert text.count("not run\n") == 2


@pytest.mark.heavy
def test_explanation_comes_before_the_table_of_all_programs(files):
    files.write_inputs(
        [make_problem_row("a"), make_problem_row("b")],
        [make_solution_row("a", "print(3)"), make_solution_row("b", "print(3)")],
    )
    command = [sys.executable, "-m", "evaluator.score", *files.arguments("--workers", "1", "--explain", "b:0")]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert completed.returncode == 0, completed.stderr
    assert files.read_statuses() == [("a", 0, "wrong_answer"), ("b", 0, "wrong_answer")]
    assert completed.stdout.startswith("program 0 for problem b: wrong_answer, 1 of 2 tests passed")
    assert parse_tables(completed.stdout)["all"] == ["2", "2", "0.0%"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a:2", "--explain a:2: .*S.jsonl has programs 0 to 1 for problem 'a'"),
        ("none:0", "--explain none:0: .*S.jsonl has no program for problem 'none'"),
        ("bad:0", "--explain bad:0: problem 'bad' is not usable: .*no tests at all"),
    ],
)
@pytest.mark.parametrize("with_out", [False, True])
def test_program_that_cannot_be_explained_is_an_error(files, fake_evaluator, capsys, name, message, with_out):
    problems = [make_problem_row("a"), make_problem_row("bad", tests=())]
    files.write_inputs(problems, [make_solution_row("a", "passed", "passed"), make_solution_row("bad", "passed")])
    arguments = files.arguments("--explain", name)
    if not with_out:
        out = arguments.index("--out")
        del arguments[out : out + 2]
    assert score.main(arguments) == 2
    assert re.search(f"error: {message}", capsys.readouterr().err)
    assert not files.out.exists()
    assert fake_evaluator.instances == []


def test_problems_of_other_programs_are_not_reported(files):
    files.write_inputs(
        [make_problem_row("a"), make_problem_row("b")],
        [make_solution_row("a", "print(3)"), make_solution_row("unknown", "passed")],
    )
    completed = explain(files, "a:0")
    assert (completed.returncode, completed.stderr) == (0, "")
